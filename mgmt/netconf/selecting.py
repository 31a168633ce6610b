"""The parameter ``filter`` of an operation, applied to a tree (RFC 6241, 6 and 8.9)."""

from __future__ import annotations

from lxml import etree

from mgmt.netconf.budget import Budget
from mgmt.netconf.filters import Nodes, filter_subtree, filter_xpath, levels
from mgmt.netconf.rpcerror import RpcError, missing_attribute
from mgmt.netconf.xml_names import NC

__all__ = ["selected"]


def selected(
    tree: etree._Element,
    wanted: etree._Element | None,
    top: Nodes,
    budget: Budget | None = None,
    depth: int | None = None,
) -> etree._Element:
    """Return what the filter *wanted* selects in *tree*, all of it without one; of each selected node *depth* levels.

    Raises RpcError when it is none, or takes more than the budget.
    """
    if wanted is None:
        return tree if depth is None else levels(tree, top, depth)
    kind = wanted.get("type") or wanted.get(f"{NC}type") or "subtree"
    select = wanted.get("select") or wanted.get(f"{NC}select")
    if kind == "subtree":
        return filter_subtree(tree, wanted, top, budget or Budget(), depth)
    if kind != "xpath":
        info = [("bad-attribute", "type"), ("bad-element", "filter")]
        raise RpcError("bad-attribute", "A filter is of type subtree or xpath.", kind="protocol", info=info)
    if select is None:
        raise missing_attribute("select", "filter", "An XPath filter needs the attribute select.", "protocol")
    return filter_xpath(tree, select, wanted.nsmap, top, budget or Budget(), depth)
