"""Operations on the datastores of NMDA: running, candidate and operational (RFC 8526).

Operational is what is in force: running with the defaults of what is not set in it, and the state. A configured node
is of origin intended there, one that has its default of origin default (RFC 8342, 5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from mgmt.netconf.budget import Budget
from mgmt.netconf.caller import Caller
from mgmt.netconf.defaults import WD_DEFAULT, WITH_DEFAULTS, with_defaults
from mgmt.netconf.filters import Nodes
from mgmt.netconf.model.library import DATASTORES
from mgmt.netconf.model.schema import Kind, SchemaNode
from mgmt.netconf.operations.reading import in_mode, operational
from mgmt.netconf.params import Params, identity
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.selecting import selected
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.store.edit import DEFAULT_OPERATIONS
from mgmt.netconf.xml_names import NC, NMDA, elements

__all__ = ["as_filter", "in_operational", "nmda"]

_NMDA = f"{{{NMDA}}}"
_DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
_ORIGIN = "urn:ietf:params:xml:ns:yang:ietf-origin"
_ORIGINS = ("intended", "dynamic", "system", "learned", "default", "unknown")  # ietf-origin; all are of origin
_OF_OPERATIONAL = ("with-origin", "origin-filter", "negated-origin-filter")


def nmda(served: Served) -> Operations:
    """Return get-data and edit-data."""
    asked = (
        "datastore",
        "subtree-filter",
        "xpath-filter",
        "config-filter",
        "max-depth",
        "max-depth",
        "with-defaults",
        WITH_DEFAULTS,
    )
    origins = ("with-origin", "origin-filter*", "negated-origin-filter*")
    return {
        f"{_NMDA}get-data": ((*asked, *origins), lambda caller, params: _get_data(served, caller, params)),
        f"{_NMDA}edit-data": (
            ("datastore", "default-operation", "config"),
            lambda caller, params: _edit_data(served, caller, params),
        ),
    }


def _edit_data(served: Served, caller: Caller, params: Params) -> None:
    if _datastore(params) != "candidate":
        raise _bad("datastore", "Candidate is the one datastore that can be edited.")
    operation = params.one_of("default-operation", DEFAULT_OPERATIONS, "merge")
    served.datastore.edit(caller.session, params.need("config"), operation, guard=served.access.guard(caller))


def _get_data(served: Served, caller: Caller, params: Params) -> list[etree._Element]:
    model, store = served.datastore.model, _datastore(params)
    wanted = as_filter(params, "subtree-filter", "xpath-filter")
    for name in _OF_OPERATIONAL:
        if store != "operational" and params.get(name) is not None:
            raise _bad(name, f"{name} is for the datastore operational.")
    if store == "operational":
        mode = with_defaults(params, _mode_given(params), "report-all")
        tree = operational(served, caller, wanted)
        tree = in_mode(served, caller, tree, "trim" if mode == "trim" else "report-all-tagged", wanted)
    else:
        mode = with_defaults(params, _mode_given(params))
        tree = in_mode(served, caller, served.datastore.read(store), mode, wanted)
    found = selected(tree, wanted, model.top, Budget(lambda: served.gone(caller.session)), _depth(params))
    kept = _Kept(_config_filter(params), _origin_filter(params), mode, params.get("with-origin") is not None)
    _prune(found, model.top, kept, ())
    if store == "operational" and kept.with_origin:
        _mark_top(found, model.top)
    prefixes: dict[str | None, str] = {None: NMDA, "or": _ORIGIN} if kept.with_origin else {None: NMDA}
    data = etree.Element(f"{_NMDA}data", nsmap=prefixes)
    data.extend(list(found))
    return [data]


def in_operational(served: Served, caller: Caller, wanted: etree._Element | None) -> etree._Element:
    """Return what a filter selects in operational, with the defaults in use."""
    tree = in_mode(served, caller, operational(served, caller, wanted), "report-all", wanted)
    return selected(tree, wanted, served.datastore.model.top, Budget(lambda: served.gone(caller.session)))


def _mode_given(params: Params) -> str:
    # Some clients, netconf-client among them, write the namespace of the grouping instead of the operation's.
    return WITH_DEFAULTS if params.get(WITH_DEFAULTS) is not None else "with-defaults"


def as_filter(params: Params, subtree: str, xpath: str) -> etree._Element | None:
    """Return the filter of a request as the operation get has it. Raises RpcError (bad-element) when there are two."""
    tree, path = params.get(subtree), params.get(xpath)
    if path is None:
        return tree
    if tree is not None:
        raise _bad(xpath, "A request has one filter.")
    return etree.Element(f"{NC}filter", nsmap=path.nsmap, attrib={"type": "xpath", "select": path.text or ""})


def _datastore(params: Params) -> str:
    name = identity(params.need("datastore"), _DS)
    if name not in DATASTORES:
        raise _bad("datastore", f"The datastores are {', '.join(DATASTORES)}.")
    return str(name)


def _depth(params: Params) -> int | None:
    text = params.text("max-depth", "unbounded")
    if text == "unbounded":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise _bad("max-depth", "max-depth is unbounded, or a number of levels from 1 to 65535.")
    return int(text)


def _config_filter(params: Params) -> bool | None:
    text = params.one_of("config-filter", ("", "true", "false"), "")
    return None if not text else text == "true"


def _origin_filter(params: Params) -> Callable[[str], bool]:
    wanted, unwanted = (_origins(params, name) for name in ("origin-filter", "negated-origin-filter"))
    if wanted and unwanted:
        raise _bad("negated-origin-filter", "A request has origins that it wants, or that it does not want.")
    return lambda origin: (not wanted or origin in wanted) and origin not in unwanted


def _origins(params: Params, name: str) -> set[str]:
    found: set[str] = set()
    for element in params.every(name):
        origin = identity(element, _ORIGIN)
        if origin != "origin" and origin not in _ORIGINS:
            raise _bad(name, "There is no such origin.")
        found |= set(_ORIGINS) if origin == "origin" else {str(origin)}
    return found


@dataclass(frozen=True, slots=True)
class _Kept:
    """The nodes of a reply: of configuration, of state (None: both); by origin; defaults as a mode wants them."""

    config: bool | None
    origin: Callable[[str], bool]
    mode: str
    with_origin: bool


def _prune(parent: etree._Element, nodes: Nodes, kept: _Kept, keys: tuple[str, ...]) -> bool:
    """Take out of *parent* what is not kept; say if anything is left beside *keys*."""
    left = False
    for child in list(elements(parent)):
        node = nodes.get(child.tag)
        if node is None:  # a filter, in the state of subscriptions
            left = True
            continue
        if node.name in keys:
            continue
        if _is_kept(child, node, kept):
            left = True
        else:
            parent.remove(child)
    return left


def _is_kept(element: etree._Element, node: SchemaNode, kept: _Kept) -> bool:
    if not node.config:
        return kept.config is not True
    if node.kind in (Kind.CONTAINER, Kind.LIST):
        if not len(element):  # cut off by max-depth: the tree has no empty ones
            return kept.config is not False and kept.origin("intended")
        inside = _prune(element, node.children, kept, node.keys)
        itself = node.kind is Kind.LIST or node.presence
        return inside or (itself and kept.config is not False and kept.origin("intended"))
    is_default = element.get(WD_DEFAULT) is not None
    if is_default and kept.mode != "report-all-tagged":
        del element.attrib[WD_DEFAULT]
    origin = "default" if is_default else "intended"
    if is_default and kept.with_origin:
        _mark(element, origin)
    return kept.config is not False and kept.origin(origin) and not (is_default and kept.mode == "explicit")


def _mark_top(tree: etree._Element, top: Nodes) -> None:
    # Nodes below inherit it (RFC 8342, 5.3.4).
    for child in elements(tree):
        if top[child.tag].config:
            _mark(child, "intended")


def _mark(element: etree._Element, origin: str) -> None:
    element.set(f"{{{_ORIGIN}}}origin", f"or:{origin}")  # the prefix is that of the element data


def _bad(name: str, message: str) -> RpcError:
    return RpcError("invalid-value", message, kind="protocol", info=[("bad-element", name)])
