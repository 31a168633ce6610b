"""The function that answers, and what operations are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lxml import etree

from feed.change import Mark
from mgmt.netconf.caller import Caller
from mgmt.netconf.params import Params
from mgmt.netconf.roster import Roster
from mgmt.netconf.state import SessionFinder, StateProvider
from mgmt.netconf.store.datastore import Datastore
from nf.naming.explain import Ground, Question
from nf.sessions import Page

__all__ = ["Function", "Operation", "Operations", "Served"]


@dataclass(frozen=True, slots=True)
class Function:
    """The running function, as far as an operation asks it; each is called from a thread of the server.

    ``explain`` says why the flows between two ends have their application; ``mark_change`` publishes a mark. None: the
    function cannot.
    """

    state: StateProvider
    find_sessions: SessionFinder = lambda _: Page(0, (), None)
    explain: Callable[[Question], Sequence[Sequence[Ground]]] | None = None
    mark_change: Callable[[Mark], None] | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """The things that operations act on. ``kill``: for a session, end another one; says if there was one."""

    datastore: Datastore
    function: Function
    kill: Callable[[int, int], bool]
    capabilities: tuple[str, ...] = ()
    roster: Roster = field(default_factory=Roster)


Operation = Callable[[Caller, Params], list[etree._Element] | None]
"""Answers a request: the content of the reply, None for ok. Raises RpcError."""

Operations = Mapping[str, tuple[tuple[str, ...], Operation]]
"""Operations by tag: the names of their parameters, and what answers."""
