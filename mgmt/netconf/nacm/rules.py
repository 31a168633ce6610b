"""The rules of access control as values, read from a configuration (module ietf-netconf-acm, RFC 8341).

A tree has been through `mgmt.netconf.store.edit`, so each value is in its canonical form and each path names nodes of
the modules.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from mgmt.netconf.xml_names import PathStep, path_steps

__all__ = ["ACM", "ANY", "Access", "Nacm", "Rule", "RuleList", "RuleType", "read_nacm"]

ACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
ANY = "*"
_N = f"{{{ACM}}}"


class Access(enum.StrEnum):
    """The bits of access-operations."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    EXEC = "exec"


class RuleType(enum.Enum):
    """The cases of the choice rule-type; ALL: a rule with none of them, which matches each request."""

    ALL = "all"
    OPERATION = "protocol-operation"
    NOTIFICATION = "notification"
    DATA = "data-node"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. *name* is that of the operation or notification; *path* is empty for all data (``/``)."""

    permit: bool
    module: str = ANY
    kind: RuleType = RuleType.ALL
    name: str = ""
    path: tuple[PathStep, ...] = ()
    access: frozenset[Access] = frozenset(Access)


@dataclass(frozen=True, slots=True)
class RuleList:
    """Rules in order, for the users of some groups; the group ``*`` are all groups."""

    groups: frozenset[str]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Nacm:
    """The container nacm, with the defaults of its module. ``configured``: groups or rules are given."""

    enabled: bool = True
    read: bool = True
    write: bool = False
    execute: bool = True
    external_groups: bool = True
    groups: tuple[tuple[str, frozenset[str]], ...] = ()
    lists: tuple[RuleList, ...] = ()

    @property
    def configured(self) -> bool:
        """Say if anybody has written rules or groups, or switched the control off."""
        return bool(self.groups or self.lists) or not self.enabled

    def groups_of(self, user: str, external: Iterable[str]) -> frozenset[str]:
        """Return the groups of a user: those that have him, and those that the transport says (3.4.4, step 4)."""
        found = frozenset(name for name, users in self.groups if user in users)
        return found | frozenset(external) if self.external_groups else found


def read_nacm(tree: etree._Element) -> Nacm:
    """Return the rules of a configuration, whose children are the top-level nodes."""
    nacm = tree.find(f"{_N}nacm")
    if nacm is None:
        return Nacm()
    return Nacm(
        enabled=nacm.findtext(f"{_N}enable-nacm", "true") == "true",
        read=_permits(nacm, "read-default", "permit"),
        write=_permits(nacm, "write-default", "deny"),
        execute=_permits(nacm, "exec-default", "permit"),
        external_groups=nacm.findtext(f"{_N}enable-external-groups", "true") == "true",
        groups=tuple(
            (group.findtext(f"{_N}name", ""), frozenset(_texts(group, "user-name")))
            for group in nacm.iterfind(f"{_N}groups/{_N}group")
        ),
        lists=tuple(
            RuleList(frozenset(_texts(each, "group")), tuple(map(_rule, each.iterfind(f"{_N}rule"))))
            for each in nacm.iterfind(f"{_N}rule-list")
        ),
    )


def _texts(parent: etree._Element, name: str) -> list[str]:
    return [leaf.text or "" for leaf in parent.iterfind(f"{_N}{name}")]


def _permits(parent: etree._Element, leaf: str, default: str) -> bool:
    return bool(parent.findtext(f"{_N}{leaf}", default) == "permit")


def _rule(entry: etree._Element) -> Rule:
    kind, name, path = RuleType.ALL, "", ""
    if (said := entry.findtext(f"{_N}rpc-name")) is not None:
        kind, name = RuleType.OPERATION, said
    elif (said := entry.findtext(f"{_N}notification-name")) is not None:
        kind, name = RuleType.NOTIFICATION, said
    elif (said := entry.findtext(f"{_N}path")) is not None:
        kind, path = RuleType.DATA, said
    bits = entry.findtext(f"{_N}access-operations", ANY)
    return Rule(
        permit=_permits(entry, "action", "deny"),
        module=entry.findtext(f"{_N}module-name", ANY),
        kind=kind,
        name=name,
        path=path_steps(path) or (),
        access=frozenset(Access if bits == ANY else map(Access, bits.split())),
    )
