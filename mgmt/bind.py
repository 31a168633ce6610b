"""From a validated tree to `nf.settings.Settings`.

A value that is not in the tree has the default of `nf.settings`; a test holds those equal to the
defaults of the modules. Rules over all entries that YANG cannot state cheaply are checked here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from mgmt import published_keys
from mgmt.keys import public_key
from nf.errors import BadSettings
from nf.qoe.models import PROFILES
from nf.qoe.profiles import constants
from nf.sessions import lines
from nf.settings import (
    Action,
    Application,
    CallHome,
    Consumer,
    Curve,
    Degradation,
    Degradations,
    Encapsulation,
    Export,
    Interface,
    Limits,
    LineGateway,
    Listener,
    Management,
    Mode,
    Monitor,
    Policy,
    Privacy,
    QoeProfile,
    QoeThreshold,
    Rights,
    Role,
    Settings,
    StaticSession,
    SubscriberGroup,
    User,
    XdpMode,
)

__all__ = ["bind"]

Node = Mapping[str, Any]
_ALL = "all"  # default of the leaf subscriber-group


def bind(tree: Node, sessions: Sequence[StaticSession] = ()) -> Settings:
    """Return the settings of a tree as `mgmt.netconf.model.yang_model.Model.validate` gives it (JSON of RFC 7951).

    *sessions* are static sessions that are not in it, because they are as they were.
    Raises BadSettings with the path of what is valid alone but not with the rest.
    """
    function = tree.get("snf-function:network-function", {})
    policies = tree.get("snf-policies:policies", {})
    subscribers = tree.get("snf-subscribers:subscribers", {})
    sessions = _ordered([*sessions, *map(_session, subscribers.get("static-session", []))])
    _check_tunnels(sessions)
    return Settings(
        nf_id=function.get("name", Settings().nf_id),
        interfaces=_ordered(map(_interface, _captured(tree))),
        sessions=sessions,
        line_gateways=_gateways(subscribers.get("line-gateway", [])),
        pfcp_peers=tuple(sorted(subscribers.get("pfcp-peer", []))),
        groups=_ordered(map(_group, policies.get("subscriber-group", []))),
        policies=_ordered(map(_policy, policies.get("policy", []))),
        monitor=_monitor(policies.get("monitor")),
        applications=_ordered(map(_application, tree.get("snf-applications:applications", {}).get("application", []))),
        export=_export(tree, function.get("name", Settings().nf_id)),
        privacy=_privacy(tree),
        profiles=_profiles(tree.get("snf-qoe:qoe", {})),
        thresholds=_thresholds(tree.get("snf-alarms:qoe-alarms", {})),
        degradations=_degradations(tree.get("snf-alarms:subscriber-alarms", {})),
        management=_management(tree.get("snf-management:management", {})),
        naming_workers=function.get("naming-workers", 0),
        limits=Limits(
            **_given(
                function.get("limits", {}),
                flows="flows",
                sessions="sessions",
                unknown_flows_per_s="unknown-flow-rate",
                shards="shards",
            )
        ),
    )


def _ordered(items: Any) -> tuple[Any, ...]:
    return tuple(sorted(items, key=lambda item: item.name))


def _given(node: Node, **leaves: str) -> dict[str, Any]:
    """Return the leaves that are present under the names of the settings: setting=leaf."""
    return {setting: node[leaf] for setting, leaf in leaves.items() if leaf in node}


def _captured(tree: Node) -> list[Node]:
    """Return the interfaces that have a capture container and are enabled (RFC 8343)."""
    entries = tree.get("ietf-interfaces:interfaces", {}).get("interface", [])
    return [e for e in entries if "snf-interfaces:capture" in e and e.get("enabled", True)]


def _interface(entry: Node) -> Interface:
    capture = entry["snf-interfaces:capture"]
    return Interface(
        name=entry["name"],
        role=Role(capture["role"]),
        mode=Mode(capture.get("mode", "mirror")),
        mac=capture.get("mac-address", "").lower(),
        xdp=XdpMode(capture.get("xdp-mode", "auto")),
        encapsulation=_encapsulation(capture.get("encapsulation", "auto")),
        sent=capture.get("directions", "received") == "both",
        **_given(capture, peer="peer", instance="network-instance", force="force"),
    )


def _encapsulation(text: str) -> Encapsulation | None:
    """Return the bits of the leaf: no bit for "none", None for "auto"."""
    if text == "auto":
        return None
    kinds = Encapsulation.NONE
    for name in text.split():
        kinds |= Encapsulation[name.replace("-", "_").upper()]
    return kinds


def _session(entry: Node) -> StaticSession:
    up, down = _line(entry["line"]) if "line" in entry else ((), ())
    return StaticSession(
        name=entry["name"],
        uplink=_tunnels(entry.get("uplink", [])) + up,
        downlink=_tunnels(entry.get("downlink", [])) + down,
        prefixes=tuple(str(ip_network(prefix, strict=False)) for prefix in sorted(entry.get("prefix", []))),
        line="line" in entry,
        **_given(
            entry,
            imsi="imsi",
            ue_ipv4="ue-ipv4",
            ue_ipv6="ue-ipv6",
            dnn="dnn",
            instance="network-instance",
            subscriber="subscriber",
        ),
    )


def _line(node: Node) -> tuple[tuple[lines.End, ...], tuple[lines.End, ...]]:
    """Return the tunnels, up and down, that the programs take a line for."""
    numbers = (node.get(leaf, 0) for leaf in ("s-vlan", "c-vlan", "pppoe-session"))
    up, down = lines.ends(node["gateway"], *numbers)
    return (up,), (down,)


def _gateways(entries: Sequence[Node]) -> tuple[LineGateway, ...]:
    owner: dict[str, str] = {}
    for entry in entries:
        for mac in entry["mac-address"]:
            other = owner.setdefault(mac.lower(), entry["name"])
            if other != entry["name"]:
                raise BadSettings(
                    f"The address is also one of gateway {other}.",
                    f"/snf-subscribers:subscribers/line-gateway[name='{entry['name']}']/mac-address[.='{mac}']",
                    "An Ethernet address is one gateway's.",
                )
    return _ordered(
        LineGateway(
            entry["name"],
            tuple(sorted(mac.lower() for mac in entry["mac-address"])),
            **_given(entry, pppoe_sessions="pppoe-sessions"),
        )
        for entry in entries
    )


def _tunnels(entries: Sequence[Node]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((e["address"], e["teid"]) for e in entries))


def _check_tunnels(sessions: Sequence[StaticSession]) -> None:
    """Refuse a tunnel that two sessions have: quadratic as a must, so not in the modules."""
    owner: dict[tuple[str, int], str] = {}
    for session in sessions:
        for direction, tunnels in (("uplink", session.uplink), ("downlink", session.downlink)):
            for end in tunnels:
                if end in owner and lines.is_line(end[0]):
                    raise BadSettings(
                        f"The line is also that of session {owner[end]}.",
                        f"/snf-subscribers:subscribers/static-session[name='{session.name}']/line",
                        "Tags, and the PPPoE session where its gateway counts that, are one line's.",
                    )
                if end in owner:
                    raise BadSettings(
                        f"The tunnel is also one of session {owner[end]}.",
                        f"/snf-subscribers:subscribers/static-session[name='{session.name}']/"
                        f"{direction}[address='{end[0]}'][teid='{end[1]}']",
                        "A receiver gives a TEID to one session at a time.",
                    )
                owner[end] = session.name


def _policy(entry: Node) -> Policy:
    return Policy(
        name=entry["name"],
        action=Action(entry["action"]),
        **_given(entry, application="application", app_class="application-class", snap_length="snap-length"),
        group="" if entry.get("subscriber-group", _ALL) == _ALL else entry["subscriber-group"],
    )


def _group(entry: Node) -> SubscriberGroup:
    return SubscriberGroup(
        name=entry["name"],
        dnns=tuple(sorted(entry.get("dnn", []))),
        imsi_prefixes=tuple(sorted(entry.get("imsi-prefix", []))),
    )


def _monitor(node: Node | None) -> Monitor | None:
    return None if node is None else Monitor(node["interface"], node.get("decapsulate", False))


def _application(entry: Node) -> Application:
    domains = tuple(sorted(domain.lower() for domain in entry.get("domain", [])))
    prefixes, ports = (tuple(sorted(entry.get(leaf, []))) for leaf in ("prefix", "port"))
    return Application(entry["name"], entry["class"], domains, prefixes, ports, entry.get("confidence", 100))


def _export(tree: Node, nf_id: str) -> Export:
    node = tree.get("snf-export:exporter", {})
    named = {e["name"]: e["secret-key"] for e in tree.get("snf-keys:keys", {}).get("curve-key", [])}
    path = "/snf-export:exporter"
    return Export(
        curve=_curve(node.get("curve"), named, nf_id, path),
        further=_ordered(
            Listener(
                name=entry["name"],
                curve=_curve(entry.get("curve"), named, nf_id, f"{path}/listener[name='{entry['name']}']"),
                **_given(
                    entry,
                    endpoint="endpoint",
                    high_water_mark="high-water-mark",
                    snapshot_endpoint="snapshot-endpoint",
                ),
            )
            for entry in node.get("listener", [])
        ),
        **_given(
            node,
            endpoint="endpoint",
            high_water_mark="high-water-mark",
            interval_ms="interval",
            batch_rows="batch-rows",
            batch_ms="batch-interval",
            snapshot_endpoint="snapshot-endpoint",
        ),
    )


def _curve(node: Node | None, named: Mapping[str, str], nf_id: str, path: str) -> Curve | None:
    if node is None:
        return None
    secret_key = node["secret-key"] if "secret-key" in node else named[node["secret-key-name"]]
    clients = [entry["public-key"] for entry in node.get("consumer", [])] + node.get("client", [])
    for key in (node["public-key"], secret_key, *clients):
        published_keys.refuse(key, f"{path}/curve")
    consumers = []
    for entry in node.get("consumer", []):
        topics = tuple(sorted(entry.get("topic", [])))
        for topic in topics:
            if topic.split("/")[1] not in ("", nf_id):
                raise BadSettings(
                    f"The topic is one of another function; the name of this one is {nf_id}.",
                    f"{path}/curve/consumer[public-key='{entry['public-key']}']/topic[.='{topic}']",
                    f"Give qoe.v1/{nf_id}/ with or without a class, or leave the name out.",
                )
        rights = Rights(topics=topics, follow=entry.get("follow", False), imsi=entry.get("imsi", False))
        consumers.append(Consumer(entry["public-key"], rights))
    return Curve(
        secret_key=secret_key,
        public_key=node["public-key"],
        clients=tuple(sorted(node.get("client", []))),
        consumers=tuple(sorted(consumers, key=lambda consumer: consumer.key)),
    )


def _profiles(node: Node) -> tuple[QoeProfile, ...]:
    """Return the classes that are not judged by the published model alone, and what is another one there."""
    found = []
    for app_class, leaves in sorted(node.items()):
        published = constants(PROFILES[app_class])
        given = sorted(_constants({leaf: value for leaf, value in leaves.items() if leaf != "by-bytes"}))
        changed = tuple((path, value) for path, value in given if value != published[path])
        found.append(QoeProfile(app_class, changed, tuple(sorted(leaves.get("by-bytes", ())))))
    return tuple(profile for profile in found if profile.constants or profile.by_bytes)


def _thresholds(node: Node) -> tuple[QoeThreshold, ...]:
    found = (
        QoeThreshold(e["name"], float(e["score"]), **_given(e, percent="share", least="least-scores"))
        for e in node.get("class", [])
    )
    return tuple(sorted(found, key=lambda each: each.app_class))


def _degradations(node: Node) -> Degradations:
    found = [
        Degradation(
            app_class=entry["name"] if kind == "class" else "",
            application=entry["name"] if kind == "application" else "",
            score=float(entry["score"]),
            clear_score=float(entry.get("clear-score", entry["score"])),
            **_given(entry, raise_s="raise-after", clear_s="clear-after", least_bps="least-rate"),
        )
        for kind in ("class", "application")
        for entry in sorted(node.get(kind, []), key=lambda entry: str(entry["name"]))
    ]
    return Degradations(tuple(found), **_given(node, most="most"))


def _constants(node: Node) -> Iterator[tuple[str, float]]:
    """Return the constants that are given, by their paths in the profile; a decimal is a text (RFC 7951, 6.1)."""
    for leaf, value in node.items():
        name = leaf.replace("-", "_")
        if isinstance(value, Mapping):
            yield from ((f"{name}.{path}", constant) for path, constant in _constants(value))
        else:
            yield name, float(value) if isinstance(value, str) else value


def _privacy(tree: Node) -> Privacy:
    node = tree.get("snf-privacy:privacy", {})
    listed = (entry["imsi"] for entry in tree.get("snf-opt-out:opt-outs", {}).get("subscriber", []))
    return Privacy(
        key=_key(tree, "key"),
        previous_key=_key(tree, "previous-key"),
        opted_out=tuple(sorted({*node.get("opt-out", []), *listed})),
        **_given(node, epoch="epoch", export_imsi="export-imsi"),
    )


def _key(tree: Node, leaf: str) -> bytes:
    """Return a key of the pseudonyms: as it is, or from the keys by its name."""
    node = tree.get("snf-privacy:privacy", {})
    text, path = node.get(leaf, ""), f"/snf-privacy:privacy/{leaf}"
    if (name := node.get(f"{leaf}-name")) is not None:
        named = {entry["name"]: entry["value"] for entry in tree["snf-keys:keys"]["symmetric-key"]}
        text, path = named[name], f"{path}-name"
    if leaf == "key":  # the one before it may be published: names go on
        published_keys.refuse(text, path)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadSettings("The key is not base64.", f"/snf-privacy:privacy/{leaf}") from None


def _management(node: Node) -> Management:
    return Management(
        users=_ordered(map(_user, node.get("user", []))),
        call_home=_ordered(map(_call_home, node.get("call-home", {}).get("client", []))),
        **_given(
            node.get("server", {}),
            sessions="max-sessions",
            unauthenticated="max-unauthenticated",
            per_source="max-unauthenticated-per-source",
            login_s="login-time",
            least_login_s="least-login-time",
            idle_s="idle-time",
        ),
    )


def _call_home(entry: Node) -> CallHome:
    return CallHome(entry["name"], entry["address"], **_given(entry, port="port", longest_wait_s="max-wait"))


def _user(entry: Node) -> User:
    keys = []
    for key in entry["authorized-key"]:
        try:
            keys.append(public_key(key["algorithm"], key["key-data"]))
        except ValueError as error:
            where = f"/snf-management:management/user[name='{entry['name']}']/authorized-key[name='{key['name']}']"
            said, remedy = error.args
            raise BadSettings(f"This is {said}", f"{where}/key-data", remedy) from None
    return User(entry["name"], tuple(sorted(keys)))
