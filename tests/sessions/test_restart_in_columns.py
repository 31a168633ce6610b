"""Sessions that are taken back in columns are those that would be taken back one by one, whatever was said of them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from gtp.events import EndReason, Identity, Place, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.sessions.restart import restore as restore_module
from nf.sessions.restart.keep import SOURCES, recall, remember
from nf.sessions.restart.restore import restore
from nf.settings import StaticSession

KEY, NOW = b"the key of the pseudonyms", 1_700_000_000.0
NAMES = Pseudonymiser(KEY, 1)
SESSIONS = 600  # more than are claimed one by one in any case
SMF = Tunnel("192.0.2.9", 7, Side.UPLINK, local=False)  # an end towards the core that many sessions send into
STATIC = StaticSession("desk", imsi="001010000009999", ue_ipv4="10.45.0.20", uplink=(("192.0.2.10", 1012),))


def imsi(n: int) -> str:
    return f"00101{n:010d}"


def session(n: int) -> Session:
    """Return a session as PFCP tells it; each *n* another, with what nearly all have and what few have."""
    identity = Identity() if n % 11 == 3 else Identity(imsi(n // 2), f"35{n:013d}" if n % 2 else "", f"49{n}")
    up, down = Tunnel("192.0.2.10", 1000 + n), Tunnel(f"198.51.100.{n % 5}", n, Side.DOWNLINK, local=False)
    instance = ("internet", "ims", "")[n % 3]
    made = Session(f"pfcp-{n}", "pfcp", identity, f"10.45.{n >> 8}.{n & 255}", "", "internet", "1-000001", instance)
    made = replace(made, tunnels=(up, down))
    match n % 20:
        case 1:
            made = replace(made, ue_ipv6=f"2001:db8:{n:x}::/64")
        case 2:
            made = replace(made, ue_ipv4="", ue_ipv6=f"2001:db8:77::{n:x}")  # several in one /64
        case 3:
            made = replace(made, tunnels=(up, SMF))
        case 4:
            made = replace(made, key=f"pfcp-{5_000_000_000 + n}")
        case 5:
            made = replace(made, routes=(f"172.16.{n % 256}.0/24",))
        case 6:
            made = replace(made, tunnels=(Tunnel(f"2001:db8:10::{n:x}", n), down))
        case 7:
            made = replace(made, ue_ipv4=f"10.99.0.{n // 80}", instance=f"apn{n % 80}")  # one address, instances
        case 8:
            made = replace(made, ue_ipv4="", tunnels=(up,))
        case 9:
            made = replace(made, identity=replace(identity, nai="a@b.example"))
        case 10:
            made = replace(made, ue_ipv6=f"2001:db8:{n:x}::/48")
        case 14:
            made = replace(made, routes=(f"172.16.{n % 256}.0/24",), place=Place("NR", "001-01-00012d", "", NOW))
        case 11 | 12:
            made = replace(made, place=Place("EUTRA", "001-01-1a2b", f"001-01-{n:07x}", NOW))
        case 13:
            made = replace(made, place=Place("NR", at_s=NOW), ue_ipv6=f"2001:db8:{n:x}::/64")
    return made


def moved(s: Session, n: int) -> Session:
    return replace(s, tunnels=(*s.tunnels[:1], Tunnel("198.51.100.200", 70_000 + n, Side.DOWNLINK, local=False)))


def network() -> BindingStore:
    """Return a store in which all kinds of things were said."""
    store, chance = BindingStore(4 * SESSIONS, pseudonymiser=NAMES), random.Random(13)
    for n in range(1, SESSIONS):
        s = session(n)
        at_s = NOW - 100 + n / 10
        store.apply(SessionUp(at_s, s))
        if chance.random() < 0.2:
            store.apply(SessionMoved(at_s + 0.5, moved(s, n), gone=s.tunnels[1:]))
        if chance.random() < 0.1:
            store.apply(SessionDown(at_s + 0.6, s, EndReason.DELETED))
        if chance.random() < 0.15:  # S11 tells of the same session, RADIUS of the same address
            told = Session(f"gtpv2-{n}", "gtp-c", Identity(imsi(n // 2)), "", "", "ims", tunnels=s.tunnels[:1])
            told = replace(told, place=Place("NBIOT", "001-01-1a2c", "", NOW + n % 2))
            store.apply(SessionUp(at_s + 0.7, replace(told, tunnels=(Tunnel("192.0.2.90", n), *told.tunnels))))
        if chance.random() < 0.05:
            store.apply(
                SessionUp(at_s + 0.8, Session(f"radius-{n}", "radius", Identity(imsi(n)), f"10.77.0.{n % 256}"))
            )
    store.configure((), (STATIC,), NOW)
    return store


def taken(store: BindingStore, columns: bool, monkeypatch: Any, into: BindingStore | None = None) -> Any:
    """Return the store of the next process, and what is told to the kernel."""
    after = BindingStore(4 * SESSIONS, first=5000, pseudonymiser=NAMES) if into is None else into
    with monkeypatch.context() as patched:
        if not columns:
            patched.setattr(restore_module, "plan_of", lambda shape, sources: None)
        back = restore(after, *store.dump(), SOURCES)
    return after, back


def state(store: BindingStore) -> dict[str, Any]:
    """Return all that can be asked of a store; sessions by their keys, for numbers differ."""
    bindings = {n: b for n in store.numbers() if (b := store.by_index(n)) is not None}
    name = {n: min(b.parts) for n, b in bindings.items()}
    ends = {(t.address, t.teid) for b in bindings.values() for t in b.held} | {("192.0.2.90", 9)}
    ues = {(s.instance, a) for b in bindings.values() for s in b.parts.values() for a in (s.ue_ipv4, s.ue_ipv6) if a}
    holder = {end: name.get(store.number_of_tunnel(*end), "") for end in ends}
    found = {ue: name[b.index] if (b := store.by_ue(*ue)) else "" for ue in ues}
    labels = {
        name[n]: (x.imsi, x.source, x.dnn, x.name, x.gnb, x.place)
        for n in bindings
        if (x := store.label(n)) is not None
    }
    people = {b.whole.identity.imsi for b in bindings.values()} - {""}
    return {
        "bindings": {name[n]: (b.session, b.whole, b.first_s, b.ue_s, b.held, b.checked) for n, b in bindings.items()},
        "tunnels": holder,
        "by tunnel": {end: name[b.index] if (b := store.by_tunnel(*end)) else "" for end in ends},
        "ues": found,
        "labels": labels,
        "by imsi": {i: sorted(name[b.index] for b in store.by_imsi(i)) for i in people},
        "by name": {i: sorted(name[n] for n in store.numbers_by_pseudonym(NAMES.name(i))) for i in people},
        "nameless": sorted(name[n] for n in store.nameless().tolist()),
        "sources": store.count_by_source(),
        "instances": sorted(store.instances()),
        "routed": store.by_ue("internet", "172.16.5.5") is not None,
        "count": len(store),
    }


@pytest.fixture(scope="module")
def before() -> BindingStore:
    return network()


class TestAsOneByOne:
    """Store and changes of the kernel's tables are the same in both ways."""

    def test_the_stores_are_equal(self, before: BindingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        (many, back), (one, _) = (taken(before, columns, monkeypatch) for columns in (True, False))
        assert len(back.tunnels) > SESSIONS
        assert len(back.ues) > SESSIONS / 2
        assert state(many) == state(one)

    def test_they_are_those_that_pfcp_told(self, before: BindingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        after, _ = taken(before, True, monkeypatch)
        told = {k: p for n in before.numbers() for k, p in before.by_index(n).parts.items() if p.source == "pfcp"}
        known = {k: p for n in after.numbers() for k, p in after.by_index(n).parts.items()}
        assert known == told
        assert len(told) > 0.8 * SESSIONS
        alone = [b for b in map(before.by_index, before.numbers()) if {p.source for p in b.said.values()} == {"pfcp"}]
        again = state(after)["bindings"]
        assert {min(b.parts): b.held for b in alone} == {min(b.parts): again[min(b.parts)][4] for b in alone}

    def test_beside_sessions_that_are_known_already(
        self, before: BindingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The operator has one's tunnel and address, one was told again, one's tunnel and address went to another."""
        stores = []
        there = {key for n in before.numbers() for key in before.by_index(n).parts}
        again, his, theirs, old = [n for n in range(20, SESSIONS, 20) if f"pfcp-{n}" in there][:4]
        for columns in (True, False):
            into = BindingStore(4 * SESSIONS, first=5000, pseudonymiser=NAMES)
            into.configure((), (STATIC,), NOW)
            into.apply(SessionUp(NOW, replace(session(again), dnn="told again")))
            thief = Session("pfcp-777777", "pfcp", Identity(imsi(777)), session(his).ue_ipv4)
            thief = replace(thief, instance=session(his).instance)
            into.apply(SessionUp(NOW, replace(thief, tunnels=session(theirs).tunnels)))
            late = replace(session(old), key="pfcp-777778", identity=Identity(imsi(778)))
            into.apply(SessionUp(NOW - 1000, late))  # older than what is taken back
            stores.append(taken(before, columns, monkeypatch, into)[0])
        assert state(stores[0]) == state(stores[1])
        many = state(stores[0])
        assert many["tunnels"]["192.0.2.10", 1012] == "netconf-desk"
        assert many["tunnels"]["192.0.2.10", 1000 + theirs] == "pfcp-777777"
        assert many["tunnels"]["192.0.2.10", 1000 + old] == f"pfcp-{old}"
        assert many["ues"][session(his).instance, session(his).ue_ipv4] == "pfcp-777777"
        assert many["bindings"][f"pfcp-{again}"][0].dnn == "told again"

    def test_a_full_store_takes_no_more(self, before: BindingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        after, back = taken(before, True, monkeypatch, BindingStore(100, pseudonymiser=NAMES))
        assert len(after) == 100
        assert {row.session for row in back.tunnels} <= set(after.numbers())

    def test_life_goes_on(self, before: BindingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        stores = [taken(before, columns, monkeypatch)[0] for columns in (True, False)]
        for n in range(1, SESSIONS, 3):
            s = session(n)
            for store in stores:
                store.apply(SessionMoved(NOW + n, moved(s, n + 1000), gone=s.tunnels[1:]))
                if n % 2:
                    store.apply(SessionDown(NOW + n + 1, moved(s, n + 1000), EndReason.DELETED))
        assert state(stores[0]) == state(stores[1])
        for store in stores:
            store.expire(NOW + 10 * SESSIONS)
        assert state(stores[0]) == state(stores[1])

    def test_names_of_another_key_are_made_anew(self, before: BindingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        names = Pseudonymiser(b"another key", 2)
        after, _ = taken(before, True, monkeypatch, BindingStore(4 * SESSIONS, pseudonymiser=names))
        some = next(b for n in after.numbers() if (b := after.by_index(n)).whole.identity.imsi)
        assert some.index in after.numbers_by_pseudonym(names.name(some.whole.identity.imsi))
        assert after.by_imsi(some.whole.identity.imsi)


class TestWritten:
    """Nothing is written that is not taken back: what other sources said is not in the file."""

    def test_sessions_of_others_are_not_in_it(self, before: BindingStore, tmp_path: Any) -> None:
        told = self.told(before, tmp_path)
        assert "radius" not in told
        assert "10.77.0." not in told
        assert "netconf" not in told
        assert STATIC.imsi not in told

    def test_of_a_joined_one_the_part_of_others_is_not(self, tmp_path: Any) -> None:
        """S11 told the IMSI and the DNN; PFCP told the tunnels."""
        store = BindingStore(10)
        pfcp = replace(session(20), identity=Identity(), routes=("172.16.0.0/24",))
        store.apply(SessionUp(NOW, pfcp))
        s11 = Session("gtpv2-1", "gtp-c", Identity(imsi(1), nai="a@b.example"), "", "2001:db8:5::/64", "secret")
        store.apply(SessionUp(NOW, replace(s11, tunnels=(Tunnel("192.0.2.90", 5), pfcp.tunnels[0]))))
        assert len(store) == 1
        told = self.told(store, tmp_path)
        for word in (imsi(1), "a@b.example", "2001:db8:5", "secret"):
            assert word not in told
        after = BindingStore(10)
        for records in recall(tmp_path / "s", KEY, NOW).sessions():
            restore(after, recall(tmp_path / "s", KEY, NOW).constants, records, SOURCES)
        (number,) = after.numbers()
        assert after.by_index(number).whole == pfcp

    def test_what_is_written_is_what_is_taken_back(
        self, before: BindingStore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remember(tmp_path / "s", KEY, before, {}, NOW)
        found = recall(tmp_path / "s", KEY, NOW)
        after = BindingStore(4 * SESSIONS, pseudonymiser=NAMES)
        for records in found.sessions():
            restore(after, found.constants, records, SOURCES)
        assert state(after) == state(taken(before, True, monkeypatch)[0])

    def told(self, store: BindingStore, folder: Any) -> str:
        """Return all values of all records of a file, as text."""
        remember(folder / "s", KEY, store, {}, NOW)
        found = recall(folder / "s", KEY, NOW)
        reader = BindingStore(1).freezer
        reader.packer.load(found.constants[0])
        text = [repr(found.constants)]
        for number, rows, _ in (record for records in found.sessions() for record in records):
            if number < 0:
                text.append(repr(reader.packer.unpack(rows)))
                continue
            shape = reader.packer.shapes[number]
            text += [repr(shape.read(rows, at)) for at in range(0, len(rows), shape.size)]
        return "\n".join(text)
