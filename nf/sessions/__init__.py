"""Sessions of tunnels and UE addresses: bindings with source and validity, and their entries in the kernel's tables."""

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
