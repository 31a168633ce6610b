"""Defaults in replies (RFC 6243). The basic mode is explicit: a node that a client has set is none at any value."""

from __future__ import annotations

from lxml import etree

from mgmt.netconf.model.yang_model import DEFAULT_MODES, Model
from mgmt.netconf.params import Params
from mgmt.netconf.xml_names import NC, elements, local

__all__ = ["WD_DEFAULT", "WITH_DEFAULTS", "reported", "with_defaults"]

WITH_DEFAULTS = "{urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults}with-defaults"
"""The parameter of get, get-config and copy-config."""

WD_DEFAULT = "{urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults}default"
"""The attribute that marks a default."""


def with_defaults(params: Params, name: str = WITH_DEFAULTS, default: str = "explicit") -> str:
    """Return the mode that a request asks for. Raises RpcError (invalid-value) when there is none of that name."""
    return params.one_of(name, DEFAULT_MODES, default)


def reported(model: Model, tree: etree._Element, mode: str, wanted: etree._Element | None) -> etree._Element:
    """Return *tree* as the mode wants it, as far as the filter *wanted* can select of it."""
    if mode == "explicit":
        return tree
    if wanted is not None and (wanted.get("type") or wanted.get(f"{NC}type") or "subtree") == "subtree":
        # The compiler does not read what nobody asked for.
        names = {local(child) for child in elements(wanted)}
        for child in list(elements(tree)):
            if local(child) not in names:
                tree.remove(child)
    return model.with_defaults(tree, mode)
