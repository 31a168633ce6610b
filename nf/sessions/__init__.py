"""Who a tunnel or a UE address belongs to: bindings with source and validity, and what the kernel is told of them."""

from nf.kernel.changes import DropTunnel, DropUe, PutTunnel, PutUe, TableChange
from nf.sessions.find import Found, Page, Query, find
from nf.sessions.store import Binding, BindingStore, is_of_ue

__all__ = [
    "Binding",
    "BindingStore",
    "DropTunnel",
    "DropUe",
    "Found",
    "Page",
    "PutTunnel",
    "PutUe",
    "Query",
    "TableChange",
    "find",
    "is_of_ue",
]
