"""Sessions over a restart: known again when it was short, under the right key, and never somebody else's."""

from __future__ import annotations

import logging
import stat

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from gtp.pfcp.ie import tbcd
from lab.signalling import Network, Plan
from lab.soak import judge
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, PutTunnel, PutUe
from nf.sessions.restart.file import BadSnapshot, load, save
from nf.sessions.restart.keep import OLDEST_S, SOURCES, recall, remember
from nf.sessions.restart.restore import restore
from nf.settings import StaticSession
from nf.signalling.trackers import Signalling

KEY = b"the key of the pseudonyms"
ALICE, BOB = "001010000000001", "001010000000002"
UPLINK, DOWNLINK = Tunnel("192.0.2.10", 0xA1), Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK, local=False)
NOW = 1_700_000_000.0


def session(key="pfcp-1", imsi=ALICE, ue="10.45.0.2", tunnels=(UPLINK, DOWNLINK), source="pfcp"):
    identity = Identity(imsi=imsi, msisdn="4915112345678")
    return Session(key, source, identity, ue_ipv4=ue, dnn="internet", instance="internet", tunnels=tunnels)


def filled(*sessions):
    store = BindingStore(100)
    for s in sessions:
        store.apply(SessionUp(NOW, s))
    return store


def again(path, at_s=NOW + 1, key=KEY, into=None):
    """Return a store of the next process, and the changes for the kernel."""
    store, found = BindingStore(100, first=5000) if into is None else into, recall(path, key, at_s)
    if found is None:
        return store, []
    told = []
    for records in found.sessions():
        taken = restore(store, found.constants, records, SOURCES)
        told += [*taken.tunnels, *taken.ues, *taken.changes]
    return store, told


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.snapshot"


class TestFile:
    """The file is read with its key only, and only as a whole."""

    def test_it_gives_back_what_was_written(self, path):
        chunks = [("begin", 1.5), ("sessions", [b"a", b""]), {"x": None}]
        size = save(path, KEY, chunks)
        assert size == path.stat().st_size
        assert list(load(path, KEY)) == chunks

    def test_nobody_else_may_open_it(self, path):
        save(path, KEY, [1])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_no_imsi_can_be_read_in_it(self, path):
        remember(path, KEY, filled(session()), {}, NOW)
        written = path.read_bytes()
        for secret in (ALICE.encode(), tbcd(ALICE), b"4915112345678", int(ALICE).to_bytes(8, "little"), b"internet"):
            assert secret not in written

    def test_two_files_of_one_content_have_nothing_in_common(self, path):
        save(path, KEY, [[0] * 100])
        one = path.read_bytes()
        save(path, KEY, [[0] * 100])
        assert one[8:] != path.read_bytes()[8:]

    def test_another_key_reads_nothing(self, path):
        save(path, KEY, [1])
        with pytest.raises(BadSnapshot, match="damaged, or of another key"):
            list(load(path, b"another key"))

    def test_every_cut_and_every_changed_byte_is_noticed(self, path):
        save(path, KEY, [1, "two"])
        whole = path.read_bytes()
        for at in range(len(whole)):
            for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]):
                path.write_bytes(damaged)
                with pytest.raises(BadSnapshot):
                    list(load(path, KEY))

    def test_a_chunk_that_is_missing_at_the_end_is_noticed(self, path):
        save(path, KEY, [1])
        short = path.stat().st_size
        save(path, KEY, [1, 2])
        path.write_bytes(path.read_bytes()[:short])
        with pytest.raises(BadSnapshot):
            list(load(path, KEY))

    def test_what_cannot_be_written_leaves_the_old_one(self, path, monkeypatch):
        save(path, KEY, ["old"])

        def chunks():
            yield "new"
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            save(path, KEY, chunks())
        assert list(load(path, KEY)) == ["old"]
        assert list(path.parent.iterdir()) == [path]


class TestKnownAgain:
    """A session has its tunnels, its address and its subscriber again, under a new number."""

    def test_store_and_kernel_are_as_before(self, path):
        remember(path, KEY, filled(session(), session("pfcp-2", BOB, "10.45.0.3", (Tunnel("192.0.2.10", 2),))), {}, NOW)
        store, changes = again(path)
        assert set(changes) == {
            PutTunnel("192.0.2.10", 0xA1, Side.UPLINK, 5000, "10.45.0.2"),
            PutTunnel("192.0.2.20", 0xB2, Side.DOWNLINK, 5000, "10.45.0.2"),
            PutUe("internet", "10.45.0.2", 5000),
            PutTunnel("192.0.2.10", 2, Side.UPLINK, 5001, "10.45.0.3"),
            PutUe("internet", "10.45.0.3", 5001),
        }
        (binding,) = store.by_imsi(ALICE)
        assert (binding.first_s, binding.whole) == (NOW, session())
        assert store.by_tunnel("192.0.2.10", 0xA1) is store.by_ue("internet", "10.45.0.2") is binding
        assert store.count_by_source() == {"pfcp": 2}

    def test_it_moves_and_ends_as_any_other(self, path):
        remember(path, KEY, filled(session()), {}, NOW)
        store, _ = again(path)
        moved = session(tunnels=(UPLINK, Tunnel("192.0.2.21", 0xC3, Side.DOWNLINK, local=False)))
        store.apply(SessionMoved(NOW + 2, moved, gone=(DOWNLINK,)))
        assert store.by_tunnel("192.0.2.21", 0xC3).index == 5000
        store.apply(SessionDown(NOW + 3, moved, EndReason.DELETED))
        assert len(store) == 0
        assert store.by_tunnel("192.0.2.10", 0xA1) is None

    def test_after_handovers_it_has_only_what_it_has(self, path):
        store = filled(session())
        for n in range(1, 4):
            moved = session(tunnels=(UPLINK, Tunnel("192.0.2.21", n, Side.DOWNLINK, local=False)))
            store.apply(SessionMoved(NOW + n, moved, gone=store.by_imsi(ALICE)[0].session.tunnels[1:]))
        remember(path, KEY, store, {}, NOW)
        store, changes = again(path)
        put = {(c.address, c.teid) for c in changes if isinstance(c, PutTunnel)}
        assert put == {("192.0.2.10", 0xA1), ("192.0.2.21", 3)}
        assert len(store.by_imsi(ALICE)[0].held) == 5

    def test_a_tunnel_that_another_took_stays_with_the_other(self, path):
        """Bob got Alice's tunnel from the operator: her session goes on without it."""
        store = filled(session())
        static = StaticSession("desk", imsi=BOB, ue_ipv4="10.45.0.9", uplink=(("192.0.2.10", 0xA1),))
        store.configure((), (static,), NOW + 1)
        remember(path, KEY, store, {}, NOW)
        into = BindingStore(100)
        into.configure((), (static,), NOW + 2)
        into, changes = again(path, into=into)
        assert into.by_tunnel("192.0.2.10", 0xA1).whole.identity.imsi == BOB
        assert not [c for c in changes if isinstance(c, PutTunnel) and c.teid == 0xA1]
        assert into.by_tunnel("192.0.2.20", 0xB2).whole.identity.imsi == ALICE

    def test_what_other_sources_said_is_not_taken_for_known(self, path):
        """S11 named the subscriber of a PFCP session; nobody would tell us of its end."""
        store = filled(session(imsi=""), session("gtpv2-1", ALICE, "", (UPLINK,), source="gtp-c"))
        store.apply(SessionUp(NOW, session("gtpv2-2", BOB, "10.45.0.3", (Tunnel("192.0.2.90", 5),), source="gtp-c")))
        remember(path, KEY, store, {}, NOW)
        store, _ = again(path)
        assert store.by_tunnel("192.0.2.10", 0xA1).whole == session(imsi="")
        assert store.by_imsi(ALICE) == store.by_imsi(BOB) == []
        assert len(store) == 1

    def test_it_is_found_by_its_pseudonym(self, path):
        remember(path, KEY, filled(session()), {}, NOW)
        names = Pseudonymiser(KEY, 1)
        store, _ = again(path, into=BindingStore(100, pseudonymiser=names))
        assert store.numbers_by_pseudonym(names.name(ALICE)) == [1]


class TestNotUsed:
    """Nobody is known in case of doubt, and the log says why."""

    @pytest.mark.parametrize("age_s", [OLDEST_S + 1, -1.0])
    def test_an_old_one(self, path, caplog, age_s):
        remember(path, KEY, filled(session()), {}, NOW)
        with caplog.at_level(logging.WARNING):
            store, changes = again(path, NOW + age_s)
        assert (len(store), changes) == (0, [])
        assert "learned anew" in caplog.text

    def test_one_of_another_key(self, path, caplog):
        remember(path, KEY, filled(session()), {}, NOW)
        with caplog.at_level(logging.WARNING):
            store, _ = again(path, key=b"new")
        assert len(store) == 0
        assert "another key" in caplog.text
        assert ALICE not in caplog.text

    def test_one_of_the_version_before(self, path, caplog):
        remember(path, KEY, filled(session()), {}, NOW)
        whole = bytearray(path.read_bytes())
        whole[4] = 2  # behind the four letters of its kind
        path.write_bytes(whole)
        with caplog.at_level(logging.WARNING):
            store, changes = again(path)
        assert (len(store), changes) == (0, [])
        assert f"{path} is of another version of this function. Sessions are learned anew." in caplog.text

    def test_none(self, path, caplog):
        assert recall(path, KEY, NOW) is None
        assert not caplog.text


class TestSignallingGoesOn:
    """A network does not wait for us: the process dies in the middle, and in the end everybody is who he is."""

    def test_killed_half_way(self, path):
        network = Network(Plan(sessions=300, rate_hz=400, seconds=12, loss=0.02, jitter_s=0.003, handovers=0.6))
        signalling, store, half = Signalling(), BindingStore(1000), False
        for at_s, datagram in network.mirrored():
            if at_s > 6 and not half:
                half, known = True, len(store)
                remember(path, KEY, store, {"n4": signalling.pfcp}, at_s)
                found = recall(path, KEY, at_s + 0.01)
                signalling, store = Signalling(), BindingStore(1000, first=2000)
                for records in found.sessions():
                    restore(store, found.constants, records, SOURCES)
                signalling.pfcp.restore(found.trackers["n4"])
                assert len(store) == len(signalling.pfcp) == known
            for event in signalling.feed(datagram, at_s):
                store.apply(event)
        verdict = judge(store, network)
        assert (verdict.wrong, verdict.stale) == (0, 0)
        assert verdict.right > 800
        assert verdict.absent <= 3 * 2, "an exchange that was under way when the process died is lost"


class TestTie:
    """Two sessions got one tunnel or address at the same second: the first that is taken back keeps it."""

    @pytest.mark.parametrize(("first", "second"), [(ALICE, BOB), (BOB, ALICE)])
    @pytest.mark.parametrize(("later_s", "stays"), [(0.0, True), (1.0, False)])
    def test_only_a_later_one_takes_it(self, first, second, later_s, stays):
        stores = [filled(session("pfcp-1", first)), BindingStore(100)]
        stores[1].apply(SessionUp(NOW + later_s, session("pfcp-2", second, "10.45.0.9")))
        after = BindingStore(100, first=5000)
        for before in stores:
            restore(after, *before.dump(), SOURCES)
        holder = after.by_tunnel(UPLINK.address, UPLINK.teid)
        assert holder is not None
        assert holder.session.identity.imsi == (first if stays else second)

    @pytest.mark.parametrize(("first", "second"), [(ALICE, BOB), (BOB, ALICE)])
    @pytest.mark.parametrize(("later_s", "stays"), [(0.0, True), (1.0, False)])
    def test_only_a_later_one_takes_the_address(self, first, second, later_s, stays):
        elsewhere = (Tunnel("192.0.2.10", 0xA9),)
        stores = [filled(session("pfcp-1", first)), BindingStore(100)]
        stores[1].apply(SessionUp(NOW + later_s, session("pfcp-2", second, tunnels=elsewhere)))
        after = BindingStore(100, first=5000)
        for before in stores:
            restore(after, *before.dump(), SOURCES)
        holder = after.by_ue("internet", "10.45.0.2")
        assert holder is not None
        assert holder.session.identity.imsi == (first if stays else second)
