"""Random rule lists over the modules of the function, and a configuration that they are about."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from xml.sax.saxutils import quoteattr

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode, list_keys
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.nacm.prune import prune
from mgmt.netconf.nacm.rights import Rights
from mgmt.netconf.nacm.rules import Access, Nacm, read_nacm
from mgmt.netconf.store.edit import apply_edit, empty_tree
from tests.mgmt import nacm_reading as reading
from tests.mgmt.nacm_reading import Deny, Step

ACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
USERS = ("alice", "bob", "carol")
GROUPS = ("noc", "audit", "lab")
ACCESS = ("create", "read", "update", "delete", "exec")
# The statements of nacm in the modules, as a reader of them finds them: the node, and the letter of the statement.
STATEMENTS = {
    "/nacm": "all",
    "/subscribers": "all",
    "/exporter/curve/secret-key": "all",
    "/keys": "all",
    "/opt-outs": "all",
    "/privacy": "write",
    "/privacy/key": "all",
    "/privacy/previous-key": "all",
    "/privacy/opt-out": "all",
}
OPERATIONS = (
    ("ietf-netconf", "get", Deny()),
    ("ietf-netconf", "close-session", Deny()),
    ("ietf-netconf", "kill-session", Deny()),
    ("ietf-netconf", "delete-config", Deny()),
    ("ietf-netconf", "edit-config", Deny()),
    ("snf-subscribers", "find-sessions", Deny(all=True)),
)
NOTIFICATIONS = (
    ("ietf-netconf-notifications", "netconf-config-change", Deny()),
    ("nc-notifications", "replayComplete", Deny()),
    ("snf-subscribers", "secret-event", Deny(all=True)),
)
CONFIG = """<config>
 <policies xmlns="urn:supernetflow:yang:snf-policies">
  <policy><name>alice</name><application>youtube</application><action>inspect</action></policy>
  <policy><name>b</name><application-class>web</application-class><action>truncate</action>
   <snap-length>128</snap-length></policy>
  <subscriber-group><name>bob</name><dnn>internet</dnn><dnn>ims</dnn></subscriber-group>
 </policies>
 <subscribers xmlns="urn:supernetflow:yang:snf-subscribers">
  <static-session><name>s1</name><imsi>001010000000001</imsi><ue-ipv4>10.45.0.2</ue-ipv4>
   <uplink><address>192.0.2.7</address><teid>4097</teid></uplink></static-session>
  <static-session><name>carol</name><ue-ipv4>10.45.0.3</ue-ipv4></static-session>
  <pfcp-peer>192.0.2.0/24</pfcp-peer>
 </subscribers>
 <exporter xmlns="urn:supernetflow:yang:snf-export"><interval>2000</interval></exporter>
 <privacy xmlns="urn:supernetflow:yang:snf-privacy"><key>AAECAwQFBgcICQoLDA0ODw==</key><epoch>3</epoch>
  <opt-out>001010000000099</opt-out></privacy>
 <keys xmlns="urn:supernetflow:yang:snf-keys">
  <symmetric-key><name>carol</name><value>AAECAwQFBgcICQoLDA0ODw==</value></symmetric-key></keys>
 <opt-outs xmlns="urn:supernetflow:yang:snf-opt-out"><subscriber><imsi>001010000000098</imsi></subscriber></opt-outs>
</config>"""

Instance = tuple[tuple[Step, ...], SchemaNode, etree._Element]


def sample(model: Model) -> etree._Element:
    """Return the tree that the rules are about."""
    reading.NAMESPACES.update({m.name: m.namespace for m in model.modules.values()})
    return apply_edit(model, empty_tree(), etree.fromstring(CONFIG))[0]


def instances(model: Model, tree: etree._Element) -> list[Instance]:
    """Return the nodes of a tree with their steps, parents first."""

    def below(nodes: dict[str, SchemaNode], parent: etree._Element, above: tuple[Step, ...]) -> Iterator[Instance]:
        for child in parent:
            node = nodes[child.tag]
            keys = list_keys(node, child) if node.kind in (Kind.LIST, Kind.LEAF_LIST) else ()
            steps = (*above, Step(node.module.name, node.name, keys))
            yield steps, node, child
            yield from below(node.children, child, steps)

    return list(below(model.top, tree, ()))


def deny_of(steps: tuple[Step, ...]) -> Deny:
    """Return the statements in a node and around it."""
    names = ["/" + "/".join(s.name for s in steps[: n + 1]) for n in range(len(steps))]
    found = {STATEMENTS[name] for name in names if name in STATEMENTS}
    return Deny("all" in found, "write" in found)


def rule_lists(rng: random.Random, found: list[Instance]) -> str:
    """Return a container nacm."""
    flags = "".join(
        f"<{name}>{rng.choice(values)}</{name}>"
        for name, values in (
            ("enable-nacm", ("true",) * 9 + ("false",)),
            ("read-default", ("permit", "deny")),
            ("write-default", ("permit", "deny")),
            ("exec-default", ("permit", "deny")),
            ("enable-external-groups", ("true", "false")),
        )
        if rng.random() < 0.5
    )
    groups = "".join(
        f"<group><name>{g}</name>{''.join(f'<user-name>{u}</user-name>' for u in USERS if rng.random() < 0.4)}</group>"
        for g in GROUPS
        if rng.random() < 0.7
    )
    lists = "".join(
        f"<rule-list><name>l{i}</name>"
        + "".join(f"<group>{g}</group>" for g in (*GROUPS, "*") if rng.random() < 0.4)
        + "".join(_rule(rng, found, j) for j in range(rng.randrange(5)))
        + "</rule-list>"
        for i in range(rng.randrange(4))
    )
    return f'<nacm xmlns="{ACM}">{flags}<groups>{groups}</groups>{lists}</nacm>'


def _rule(rng: random.Random, found: list[Instance], number: int) -> str:
    kind = rng.choice(("none", "rpc", "notification", "path", "path", "path"))
    steps, _, _ = rng.choice(found)
    others = [s for s, _, _ in found if [e.name for e in s] == [e.name for e in steps]]
    what = {
        "none": lambda: "",
        "rpc": lambda: f"<rpc-name>{rng.choice(('*', *(o[1] for o in OPERATIONS)))}</rpc-name>",
        "notification": lambda: (
            f"<notification-name>{rng.choice(('*', *(n[1] for n in NOTIFICATIONS)))}</notification-name>"
        ),
        "path": lambda: _path(rng, steps, others),
    }[kind]()
    modules = ("*", steps[-1].module, "ietf-netconf", "snf-subscribers", "snf-policies")
    module = f"<module-name>{rng.choice(modules)}</module-name>" if rng.random() < 0.5 else ""
    bits = " ".join(sorted(a for a in ACCESS if rng.random() < 0.5)) or "*"
    access = f"<access-operations>{bits}</access-operations>" if rng.random() < 0.7 else ""
    action = rng.choice(("permit", "deny"))
    return f"<rule><name>r{number}</name>{module}{what}{access}<action>{action}</action></rule>"


def _path(rng: random.Random, steps: tuple[Step, ...], others: list[tuple[Step, ...]]) -> str:
    if rng.random() < 0.1:
        return "<path>/</path>"
    steps = steps[: rng.randrange(1, len(steps) + 1)]
    modules = {s.module for s in steps}
    prefixes = {module: f"p{i}" for i, module in enumerate(sorted(modules))}
    text = ""
    for depth, s in enumerate(steps):
        keys = () if rng.random() < 0.5 else rng.choice((steps, *others))[depth].keys
        text += f"/{prefixes[s.module]}:{s.name}" + "".join(_predicate(rng, prefixes[s.module], *k) for k in keys)
    spaces = " ".join(f"xmlns:{p}={quoteattr(reading.NAMESPACES[m])}" for m, p in prefixes.items())
    return f"<path {spaces}>{text}</path>"


def _predicate(rng: random.Random, prefix: str, key: str, value: str) -> str:
    value = rng.choice((f"'{value}'", f'"{value}"'))
    return f"[{key if key == '.' else f'{prefix}:{key}'}={value}]"


def compare(model: Model, tree: etree._Element, found: list[Instance], rng: random.Random) -> int:
    """Make a random nacm, and compare each access of a random user with the reading; return how many there were."""
    xml = rule_lists(rng, found)
    said = reading.parse(xml)
    nacm: Nacm = read_nacm(apply_edit(model, empty_tree(), etree.fromstring(f"<config>{xml}</config>"))[0])
    user = rng.choice(USERS)
    external = frozenset(g for g in GROUPS if rng.random() < 0.3)
    rights = Rights(nacm, nacm.groups_of(user, external))
    who = (said, user, external)

    for module, name, deny in OPERATIONS:
        assert rights.may_execute(module, name, deny.all) == reading.may_execute(*who, module, name, deny), (xml, name)
    for module, name, deny in NOTIFICATIONS:
        assert rights.may_be_told(module, name, deny.all) == reading.may_hear(*who, module, name, deny), (xml, name)
    readable: set[tuple[Step, ...]] = set()
    for steps, node, _ in found:
        key_of = _key_of(steps)
        for access in ACCESS:
            expected = reading.may_access(*who, steps, access, deny_of(steps))
            assert rights.verdict(node, Access(access)).at(key_of) == expected, (xml, user, external, steps, access)
        above = not steps[:-1] or steps[:-1] in readable
        if above and reading.may_access(*who, steps, "read", deny_of(steps)):
            readable.add(steps)
    assert _left(model, rights, tree) == _shown(found, readable), (xml, user, external)
    return len(OPERATIONS) + len(NOTIFICATIONS) + len(found) * len(ACCESS)


def _key_of(steps: tuple[Step, ...]) -> Callable[[int, str], str | None]:
    return lambda depth, key: dict(steps[depth].keys).get(key)


def _left(model: Model, rights: Rights, tree: etree._Element) -> list[tuple[Step, ...]]:
    import copy

    reply = copy.deepcopy(tree)
    prune(rights, reply, model.top)
    return [steps for steps, _, _ in instances(model, reply)]


def _shown(found: list[Instance], readable: set[tuple[Step, ...]]) -> list[tuple[Step, ...]]:
    """Return what a reply has: what may be read, but entries without a key and containers without content."""
    keyless = {
        steps
        for steps, node, _ in found
        if node.kind is Kind.LIST
        and not all((*steps, Step(node.module.name, key)) in readable for key, _ in steps[-1].keys)
    }
    shown = [s for s, _, _ in found if s in readable and not any(s[: n + 1] in keyless for n in range(len(s)))]
    while True:
        empty = {
            s
            for s, node, e in found
            if node.kind is Kind.CONTAINER and not node.presence and len(e) and s in shown
            if not any(other[: len(s)] == s and len(other) > len(s) for other in shown)
        }
        if not empty:
            return shown
        shown = [s for s in shown if s not in empty]
