"""The rights of one user by the rules (RFC 8341, 3.4): pure, and worked out once for each node of the schema.

Two things are said by us where the RFC leaves them open. A default-deny statement holds for its node and all below it,
as libyang has it. And a container without presence is no node of its own: its content is what is created or deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode
from mgmt.netconf.nacm.rules import ANY, Access, Nacm, Rule, RuleType

__all__ = ["KeyOf", "Rights", "Verdict", "lineage"]

_NETCONF = "ietf-netconf"
_ALWAYS = (_NETCONF, "close-session")  # 3.4.4, step 3
_TOLD_TO_ALL = (("nc-notifications", "replayComplete"), ("nc-notifications", "notificationComplete"))  # 3.4.6, step 3
_NEVER_BY_DEFAULT = ((_NETCONF, "kill-session"), (_NETCONF, "delete-config"))  # 3.4.4, step 11

KeyOf = Callable[[int, str], str | None]
"""Value of a key of the node at a depth of the path; 0 is the top-level node."""

_Conditions = tuple[tuple[int, str, str], ...]  # (depth, key, value)


def lineage(node: SchemaNode) -> tuple[SchemaNode, ...]:
    """Return the nodes from the top to *node*."""
    above: list[SchemaNode] = [node]
    while (parent := above[-1].parent) is not None:
        above.append(parent)
    return tuple(reversed(above))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for instances of a node: the first of *when* whose conditions are met, else *otherwise*."""

    when: tuple[tuple[_Conditions, bool], ...]
    otherwise: bool

    def at(self, key_of: KeyOf) -> bool:
        """Say if access to one instance is permitted."""
        for conditions, permit in self.when:
            if all(key_of(depth, key) == value for depth, key, value in conditions):
                return permit
        return self.otherwise


@dataclass(eq=False, slots=True)
class Rights:
    """The rights of a user who is in *groups*. ``unlimited``: of a recovery session, or without access control."""

    nacm: Nacm
    groups: frozenset[str] = frozenset()
    recovery: bool = False
    hidden: tuple[tuple[etree._Element, ...], frozenset[str]] | None = None  # values that errors hide, of these trees
    _verdicts: dict[tuple[SchemaNode, Access], Verdict] = field(default_factory=dict)
    _whole: dict[tuple[SchemaNode, Access], bool] = field(default_factory=dict)

    @property
    def unlimited(self) -> bool:
        """Say if each request is permitted (3.4.4, steps 1 and 2)."""
        return self.recovery or not self.nacm.enabled

    def _rules(self) -> list[Rule]:
        """Return the rules that are for the user, in order; none for one without groups (step 5)."""
        lists = [each for each in self.nacm.lists if self.groups and (ANY in each.groups or each.groups & self.groups)]
        return [rule for each in lists for rule in each.rules]

    def may_execute(self, module: str, name: str, deny_all: bool = False) -> bool:
        """Say if an operation may be called (3.4.4). ``deny_all``: default-deny-all stands in its rpc."""
        if self.unlimited or (module, name) == _ALWAYS:
            return True
        found = self._named(RuleType.OPERATION, Access.EXEC, module, name)
        if found is not None:
            return found
        return not deny_all and (module, name) not in _NEVER_BY_DEFAULT and self.nacm.execute

    def may_be_told(self, module: str, name: str, deny_all: bool = False) -> bool:
        """Say if a notification may be sent (3.4.6). ``deny_all``: default-deny-all stands in it."""
        if self.unlimited or (module, name) in _TOLD_TO_ALL:
            return True
        found = self._named(RuleType.NOTIFICATION, Access.READ, module, name)
        return found if found is not None else not deny_all and self.nacm.read

    def _named(self, kind: RuleType, access: Access, module: str, name: str) -> bool | None:
        for rule in self._rules():
            typed = rule.kind is RuleType.ALL or (rule.kind is kind and rule.name in (ANY, name))
            if typed and rule.module in (ANY, module) and access in rule.access:
                return rule.permit
        return None

    def verdict(self, node: SchemaNode, access: Access) -> Verdict:
        """Return what holds for access to instances of a data node (3.4.5)."""
        found = self._verdicts.get((node, access))
        if found is None:
            found = self._verdicts[node, access] = self._judge(node, access)
        return found

    def _judge(self, node: SchemaNode, access: Access) -> Verdict:
        if self.unlimited:
            return Verdict((), True)
        when: list[tuple[_Conditions, bool]] = []
        for rule in self._rules():
            if rule.module not in (ANY, node.module.name) or access not in rule.access:
                continue
            conditions = self._matches(rule, node)
            if conditions == ():
                return Verdict(tuple(when), rule.permit)
            if conditions is not None:
                when.append((conditions, rule.permit))
        return Verdict(tuple(when), self._default(node, access))

    def _default(self, node: SchemaNode, access: Access) -> bool:
        if access is Access.READ:
            return not node.deny_all and self.nacm.read
        if access is Access.EXEC:
            return not node.deny_all and self.nacm.execute
        return not node.deny_all and not node.deny_write and self.nacm.write

    def _matches(self, rule: Rule, node: SchemaNode) -> _Conditions | None:
        """Return what the keys of an instance have to be for a rule to match, None when it does not."""
        if rule.kind is RuleType.ALL:
            return ()
        above = lineage(node)
        if rule.kind is not RuleType.DATA or len(rule.path) > len(above):
            return None
        conditions = []
        for depth, (wanted, here) in enumerate(zip(rule.path, above, strict=False)):
            if (wanted.module, wanted.name) != (here.module.name, here.name):
                return None
            conditions += [(depth, key, value) for key, value in wanted.keys]
        return tuple(conditions)

    def whole(self, node: SchemaNode, access: Access) -> bool:
        """Say if access is permitted to each instance of a node and everything below it."""
        known = self._whole.get((node, access))
        if known is None:
            verdict = self.verdict(node, access)
            known = not verdict.when and verdict.otherwise
            known = known and all(self.whole(child, access) for child in node.children.values())
            self._whole[node, access] = known
        return known

    def none(self, node: SchemaNode, access: Access) -> bool:
        """Say if access is denied to each instance of a node."""
        verdict = self.verdict(node, access)
        return not verdict.when and not verdict.otherwise

    def may_touch(self, node: SchemaNode, access: Access, key_of: KeyOf) -> bool:
        """Say if access to one instance is permitted; a container without presence is none."""
        if node.kind is Kind.CONTAINER and not node.presence and access is not Access.READ:
            return True
        return self.verdict(node, access).at(key_of)
