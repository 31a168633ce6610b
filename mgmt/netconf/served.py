"""The function that answers, and what operations are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lxml import etree

from feed.change import Mark
from mgmt.netconf.caller import Caller
from mgmt.netconf.management import ManagementState
from mgmt.netconf.nacm.access import AccessControl
from mgmt.netconf.notify.notifications import Notifications
from mgmt.netconf.params import Params
from mgmt.netconf.roster import Roster
from mgmt.netconf.state import SessionFinder, StateProvider
from mgmt.netconf.store.datastore import Datastore
from mgmt.vitals.alarms import Alarms
from nf.apply.purge import Purged
from nf.apply.vitals import Vitals
from nf.naming.explain import Ground, Question
from nf.sessions import Page

__all__ = ["Function", "Operation", "Operations", "Served"]


@dataclass(frozen=True, slots=True)
class Function:
    """The running function, as far as an operation asks it; each is called from a thread of the server.

    ``explain`` says why the flows between two ends have their application; ``mark_change`` publishes a mark;
    ``vitals`` is the state of the function's parts; ``reset_statistics`` counts an interface from now on, and says if
    it is one of the function's; ``purge_subscriber`` forgets an IMSI; ``reload_signatures`` returns how many
    applications are known, and raises SnfError. None: the function cannot.
    """

    state: StateProvider
    find_sessions: SessionFinder = lambda _: Page(0, (), None)
    explain: Callable[[Question], Sequence[Sequence[Ground]]] | None = None
    mark_change: Callable[[Mark], None] | None = None
    vitals: Callable[[], Vitals] | None = None
    reset_statistics: Callable[[str], bool] | None = None
    purge_subscriber: Callable[[str], Purged] | None = None
    reload_signatures: Callable[[], int] | None = None
    alarms: Alarms | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """The things that operations act on.

    ``kill``: for a session, end another one; says if there was one. ``management``: the server itself.
    ``gone``: says that a session waits for no answer any more. ``access`` says what a session may do of it.
    """

    datastore: Datastore
    function: Function
    kill: Callable[[int, int], bool]
    capabilities: tuple[str, ...]
    roster: Roster
    notifications: Notifications
    management: Callable[[], ManagementState] = ManagementState
    gone: Callable[[int], bool] = lambda _session: False
    access: AccessControl = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access", AccessControl(self.datastore.model, self.datastore.tree))
        self.notifications.permits = self.access.seen


Operation = Callable[[Caller, Params], list[etree._Element] | None]
"""Answers a request: the content of the reply, None for ok. Raises RpcError."""

Operations = Mapping[str, tuple[tuple[str, ...] | None, Operation]]
"""Operations by tag: the names of their parameters (None: it judges its content itself), and what answers."""
