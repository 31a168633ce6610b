"""The sessions that a request asks for: parameters of find-sessions, keys in a filter of get."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lxml import etree

from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.xml_names import elements, local
from nf.sessions import Query

__all__ = ["session_numbers", "session_query"]

_KEYED = re.compile(r"/(?:[\w.-]+:)?session\s*\[\s*(?:[\w.-]+:)?number\s*=\s*(?:'(\d+)'|\"(\d+)\"|(\d+))\s*\]")
_MOST = 1000  # entries that one filter can ask for
_NUMBERS = frozenset({"teid", "after", "limit"})
_NAMES = {"network-instance": "instance"}


def session_query(model: Model, parameters: Mapping[str, etree._Element]) -> Query:
    """Return the query of an rpc find-sessions. Raises RpcError (invalid-value) with the parameter."""
    nodes = model.inputs[f"{{{model.namespace('snf-subscribers')}}}find-sessions"]
    given: dict[str, str | int] = {}
    for name, element in parameters.items():
        try:
            value = model.canonical(nodes[name], element)
        except RpcError as error:
            raise RpcError("invalid-value", error.message, info=[("bad-element", name)]) from None
        given[_NAMES.get(name, name.replace("-", "_"))] = int(value) if name in _NUMBERS else value
    return Query(**given)  # type: ignore[arg-type]


def session_numbers(wanted: etree._Element | None, namespace: str | None) -> list[int]:
    """Return the numbers of sessions that a filter names by key, at most a thousand."""
    if wanted is None:
        return []
    select = wanted.get("select")
    if select is not None:
        texts = [next(filter(None, found)) for found in _KEYED.findall(select)]
    else:
        texts = [(leaf.text or "").strip() for leaf in _keys(wanted, namespace)]
    numbers = [int(t) for t in dict.fromkeys(texts) if t.isascii() and t.isdigit() and len(t) <= 10]
    return [n for n in numbers if n][:_MOST]


def _keys(wanted: etree._Element, namespace: str | None) -> Iterator[etree._Element]:
    """Yield the key leaves of a subtree filter."""
    found = [wanted]
    for name in ("subscribers", "state", "session", "number"):
        found = [c for each in found for c in elements(each) if local(c) == name and _is_of(c, namespace)]
    yield from found


def _is_of(element: etree._Element, namespace: str | None) -> bool:
    # A filter without namespace matches every namespace (RFC 6241, 6.2.1).
    own = etree.QName(element).namespace
    return own == namespace or own is None or own.startswith("urn:ietf:params:xml:ns:netconf:base")
