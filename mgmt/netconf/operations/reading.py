"""Operations that read: configuration, state, and the modules themselves (RFC 6241, 7.1 and 7.7; RFC 6022)."""

from __future__ import annotations

from lxml import etree

from mgmt.netconf.filters import filter_subtree, filter_xpath
from mgmt.netconf.find_sessions import session_numbers
from mgmt.netconf.monitoring import MONITORING, add_monitoring
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError, missing_attribute
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.state import add_sessions, add_state
from mgmt.netconf.xml_names import BASE, NC
from nf.sessions import Query

__all__ = ["reading"]

_NM = f"{{{MONITORING}}}"


def reading(served: Served) -> Operations:
    """Return get, get-config and get-schema."""
    return {
        f"{NC}get": (("filter",), lambda _caller, params: _get(served, params)),
        f"{NC}get-config": (("source", "filter"), lambda _caller, params: _get_config(served, params)),
        f"{_NM}get-schema": (("identifier", "version", "format"), lambda _caller, params: _get_schema(served, params)),
    }


def _get(served: Served, params: Params) -> list[etree._Element]:
    datastore, function = served.datastore, served.function
    tree = datastore.read("running")
    add_state(datastore.model, tree, function.state())
    add_monitoring(datastore, tree, served.capabilities, served.roster)
    wanted = params.get("filter")
    for number in session_numbers(wanted, datastore.model.namespace("snf-subscribers")):
        add_sessions(datastore.model, tree, function.find_sessions(Query(number=number)))
    return [_data(served, tree, wanted)]


def _get_config(served: Served, params: Params) -> list[etree._Element]:
    tree = served.datastore.read(params.named_datastore("source"))
    return [_data(served, tree, params.get("filter"))]


def _data(served: Served, tree: etree._Element, wanted: etree._Element | None) -> etree._Element:
    top = served.datastore.model.top
    if wanted is not None:
        kind = wanted.get("type") or wanted.get(f"{NC}type") or "subtree"
        select = wanted.get("select") or wanted.get(f"{NC}select")
        if kind == "subtree":
            tree = filter_subtree(tree, wanted, top)
        elif kind != "xpath":
            info = [("bad-attribute", "type"), ("bad-element", "filter")]
            raise RpcError("bad-attribute", "A filter is of type subtree or xpath.", kind="protocol", info=info)
        elif select is None:
            raise missing_attribute("select", "filter", "An XPath filter needs the attribute select.", "protocol")
        else:
            tree = filter_xpath(tree, select, wanted.nsmap, top)
    data = etree.Element(f"{NC}data", nsmap={None: BASE})
    data.extend(list(tree))
    return data


def _get_schema(served: Served, params: Params) -> list[etree._Element]:
    name = (params.need("identifier").text or "").strip()
    kind = params.text("format", "yang").rpartition(":")[2]
    text = None
    if kind in ("yang", "yin"):
        text = served.datastore.model.schema_text(name, params.text("version"), kind == "yin")
    if text is None:
        raise RpcError("invalid-value", "There is no module of this name, revision and format.", app_tag="data-missing")
    data = etree.Element(f"{_NM}data", nsmap={None: MONITORING})
    data.text = text
    return [data]
