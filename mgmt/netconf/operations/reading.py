"""Operations that read: configuration, state, and the modules themselves (RFC 6241, 7.1 and 7.7; RFC 6022)."""

from __future__ import annotations

from lxml import etree

from mgmt.netconf.budget import Budget
from mgmt.netconf.caller import Caller
from mgmt.netconf.defaults import WITH_DEFAULTS, reported, with_defaults
from mgmt.netconf.find_sessions import session_numbers
from mgmt.netconf.management import add_management
from mgmt.netconf.monitoring import MONITORING, add_monitoring
from mgmt.netconf.notify.told import add_streams
from mgmt.netconf.params import Params
from mgmt.netconf.revisions import add_revisions
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.selecting import selected
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.state import add_sessions, add_state
from mgmt.netconf.xml_names import BASE, NC
from nf.sessions import Query

__all__ = ["in_mode", "operational", "reading"]

_NM = f"{{{MONITORING}}}"


def reading(served: Served) -> Operations:
    """Return get, get-config and get-schema."""
    return {
        f"{NC}get": (("filter", WITH_DEFAULTS), lambda caller, params: _get(served, caller, params)),
        f"{NC}get-config": (
            ("source", "filter", WITH_DEFAULTS),
            lambda caller, params: _get_config(served, caller, params),
        ),
        f"{_NM}get-schema": (("identifier", "version", "format"), lambda _caller, params: _get_schema(served, params)),
    }


def _get(served: Served, caller: Caller, params: Params) -> list[etree._Element]:
    wanted = params.get("filter")
    return [_data(served, caller, operational(served, caller, wanted), wanted, with_defaults(params))]


def operational(served: Served, caller: Caller, wanted: etree._Element | None) -> etree._Element:
    """Return running and the state, of sessions those that the filter names by key; `in_mode` leaves out of it."""
    datastore, function = served.datastore, served.function
    tree = datastore.read("running")
    add_state(datastore.model, tree, function.state())
    add_monitoring(datastore, tree, served.capabilities, served.roster)
    add_management(datastore.model, tree, served.management())
    add_revisions(datastore, tree, lambda path: served.access.reads(caller, path))
    served.access.add_counters(tree)
    add_streams(tree, served.notifications)
    for number in session_numbers(wanted, datastore.model.namespace("snf-subscribers")):
        add_sessions(datastore.model, tree, function.find_sessions(Query(number=number)))
    return tree


def _get_config(served: Served, caller: Caller, params: Params) -> list[etree._Element]:
    tree = served.datastore.read(params.named_datastore("source"))
    return [_data(served, caller, tree, params.get("filter"), with_defaults(params))]


def in_mode(
    served: Served, caller: Caller, tree: etree._Element, mode: str, wanted: etree._Element | None
) -> etree._Element:
    """Return what the caller may see of *tree* with defaults as a mode wants them.

    The default of a node that he may not read would say that it is not set.
    """
    return served.access.prune(caller, reported(served.datastore.model, tree, mode, wanted))


def _data(
    served: Served, caller: Caller, tree: etree._Element, wanted: etree._Element | None, mode: str
) -> etree._Element:
    model, budget = served.datastore.model, Budget(lambda: served.gone(caller.session))
    data = etree.Element(f"{NC}data", nsmap={None: BASE})
    data.extend(list(selected(in_mode(served, caller, tree, mode, wanted), wanted, model.top, budget)))
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
