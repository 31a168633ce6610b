"""The server's description of itself: its capabilities, its modules, its locks (RFC 6022, RFC 8525)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache

from lxml import etree

from mgmt.netconf.model.library import content_id, yang_library
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.roster import Counts, Roster
from mgmt.netconf.store.datastore import TARGETS, Datastore
from mgmt.netconf.xml_names import date_and_time

__all__ = ["CAPABILITIES", "MONITORING", "add_monitoring", "capabilities"]

MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"

_CAPABILITY = "urn:ietf:params:netconf:capability"
_RFC_7895 = "2016-06-21"  # revision of ietf-yang-library there
_IN_HELLO = (
    "ietf-netconf-monitoring",
    "notifications",
    "nc-notifications",
    "ietf-netconf-notifications",
    "ietf-netconf-with-defaults",
)

CAPABILITIES = (
    "urn:ietf:params:netconf:base:1.0",
    "urn:ietf:params:netconf:base:1.1",
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.0",  # some clients look for this one only
    "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
    "urn:ietf:params:netconf:capability:rollback-on-error:1.0",
    "urn:ietf:params:netconf:capability:validate:1.0",  # some clients look for this one only
    "urn:ietf:params:netconf:capability:validate:1.1",
    "urn:ietf:params:netconf:capability:xpath:1.0",
    "urn:ietf:params:netconf:capability:notification:1.0",
    "urn:ietf:params:netconf:capability:interleave:1.0",
    "urn:ietf:params:netconf:capability:with-defaults:1.0"
    "?basic-mode=explicit&also-supported=report-all,report-all-tagged,trim",
    "urn:ietf:params:netconf:capability:with-operational-defaults:1.0"
    "?basic-mode=report-all&also-supported=explicit,report-all-tagged,trim",
)


def capabilities(model: Model) -> list[str]:
    """Return the capabilities in the hello.

    Modules of YANG 1.1 are told by yang-library only (RFC 7950, 5.6.4); those of YANG 1.0 that clients look for
    are told here. The library is told in both its forms: clients
    that know RFC 7895 only, yangcli of yuma123 among them, know no module without it.
    """
    library, name = model.modules["ietf-yang-library"], content_id(model.told)
    return [
        *CAPABILITIES,
        f"{_CAPABILITY}:yang-library:1.0?revision={_RFC_7895}&module-set-id={name}",
        f"{_CAPABILITY}:yang-library:1.1?revision={library.revision}&content-id={name}",
        *(f"{m.namespace}?module={m.name}&revision={m.revision}" for m in map(model.modules.__getitem__, _IN_HELLO)),
    ]


@lru_cache(maxsize=4)
def _library(model: Model) -> tuple[etree._Element, ...]:
    return tuple(yang_library(model.told))


def add_monitoring(datastore: Datastore, tree: etree._Element, told: Iterable[str], roster: Roster) -> None:
    """Add netconf-state, yang-library and modules-state to *tree*; *told* are the capabilities of the hello."""
    model = datastore.model
    state = _add(tree, "netconf-state")
    each = _add(state, "capabilities")
    for capability in told:
        _add(each, "capability", capability)
    stores = _add(state, "datastores")
    for name in TARGETS:
        store = _add(stores, "datastore")
        _add(store, "name", name)
        owner, since = datastore.lock_owner(name)
        if owner is not None:
            lock = _add(_add(store, "locks"), "global-lock")
            _add(lock, "locked-by-session", str(owner))
            _add(lock, "locked-time", since)
    schemas = _add(state, "schemas")
    for module in model.told:
        schema = _add(schemas, "schema")
        for name, value in (
            ("identifier", module.name),
            ("version", module.revision),
            ("format", "yang"),
            ("namespace", module.namespace),
            ("location", "NETCONF"),
        ):
            _add(schema, name, value)
    _add_sessions(state, roster)
    tree.extend([copy.deepcopy(element) for element in _library(model)])


def _add_sessions(state: etree._Element, roster: Roster) -> None:
    sessions = _add(state, "sessions")
    for each in roster.sessions():
        session = _add(sessions, "session")
        _add(session, "session-id", str(each.caller.session))
        _add(session, "transport", "netconf-ssh")
        _add(session, "username", each.caller.user)
        if each.caller.peer:
            _add(session, "source-host", each.caller.peer)
        _add(session, "login-time", date_and_time(each.since))
        _add_counts(session, each.counts)
    found = roster.statistics()
    statistics = _add(state, "statistics")
    _add(statistics, "netconf-start-time", date_and_time(found.start))
    _add(statistics, "in-bad-hellos", str(found.in_bad_hellos))
    _add(statistics, "in-sessions", str(found.in_sessions))
    _add(statistics, "dropped-sessions", str(found.dropped_sessions))
    _add_counts(statistics, found.counts)


def _add_counts(parent: etree._Element, counts: Counts) -> None:
    for name, value in asdict(counts).items():
        _add(parent, name.replace("_", "-"), str(value % 2**32))  # they are of 32 bits, and wrap


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{MONITORING}}}{name}", nsmap={None: MONITORING})
    element.text = text
    return element
