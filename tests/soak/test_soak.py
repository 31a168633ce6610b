"""Minutes of full load. `make soak` runs them; each prints what it saw."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from bench import crowd
from nf.apps.signatures import Signatures
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay
from nf.service import Service
from nf.settings import Action, Policy, Settings
from tests.live.flood import KNOWN, STRIDE, flood
from tests.live.test_life import BUMP, SESSION, UPF, uplink
from tests.live.wire import N3, N6, wire

INLINE_S, CHANGES = 60, 20
CROWD = 100_000
FLOOD_S = 40  # beyond the time in which the books of user space are filled and pruned
FLAT_BYTES = 32 << 20  # a table of numpy columns is copied once when it grows


class TestInline:
    """A bump in the wire at the full rate of one core: programs and configuration change, no packet is lost."""

    @pytest.mark.timeout(300)
    def test_no_packet_is_lost(self):
        with wire() as bump, Service() as service:
            service.apply(Settings(), BUMP)
            settings, begun = BUMP, time.monotonic()
            with bump.load(uplink()):
                for i in range(CHANGES):
                    service.plane.swap()
                    changed = replace(
                        settings,
                        policies=(Policy("web", Action.COUNT if i % 2 else Action.INSPECT, app_class="web"),),
                        sessions=(SESSION, replace(SESSION, name="two", uplink=((UPF, 0x200 + i),))),
                        interfaces=(N3, replace(N6, instance=f"internet{i}")),
                    )
                    service.apply(settings, changed)
                    settings = changed
                    time.sleep(max(0.0, begun + (i + 1) * INLINE_S / CHANGES - time.monotonic()))
            took, seen = time.monotonic() - begun, service.plane.read_counters("n3")

            print(f"\n{bump.sent()} frames in {took:.0f} s, {bump.sent() / took / 1e6:.2f} million a second")
            print(f"{CHANGES} program swaps, {CHANGES} commits, lost: {bump.sent() - bump.seen()}")
            assert bump.seen() == bump.sent() == seen["frames"] == seen["redirected"]


class TestFlood:
    """Unknown TEIDs and echoes at full rate: known subscribers exact, memory flat, events at the limit."""

    @pytest.mark.timeout(1200)
    def test_known_subscribers_are_exact_and_memory_stays_flat(self):
        seen = flood(FLOOD_S, cycles=True)

        echoes = seen.counters["gtpu_echo_request"]
        print(f"\n{seen.frames} user frames, {echoes} echoes in {seen.seconds:.0f} s")
        print(f"flows of nobody: {seen.counters['tunnel_unknown']} begun, {seen.counters['unknown_limited']} refused")
        print(f"memory of the process from cycle to cycle of its books: {seen.grown_bytes / 2**20:+.1f} MiB")
        assert seen.packets == [seen.frames // (KNOWN * STRIDE)] * KNOWN
        assert seen.announced >= seen.counters["flow_new"] - seen.counters["event_ring_full"]
        assert seen.known_announced == KNOWN
        assert seen.grown_bytes < FLAT_BYTES


class TestNames:
    """A hundred thousand flows of 120 applications, one in ten without a name."""

    @pytest.mark.timeout(600)
    def test_names_are_right_and_none_is_better_than_a_wrong_one(self, tmp_path):
        signatures = Signatures.load()
        truth = crowd.make(tmp_path / "crowd.pcap", CROWD, 1, signatures)
        replay = Replay(signatures, Pseudonymiser(bytes(32), 1), Collector())
        try:
            score = crowd.score(replay.run([tmp_path / "crowd.pcap"], [None]).flows, truth)
        finally:
            replay.close()

        print(f"\n{score}")
        assert score.precision >= 0.99
        assert score.named_wrong == 0
        assert score.unnamed_wrong <= 0.05 * score.unnamed
