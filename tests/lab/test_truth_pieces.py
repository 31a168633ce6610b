"""The pieces of the lab of truth that need neither a browser nor a namespace."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from pathlib import Path

import pytest

from lab.impair import Impairment
from lab.truth import schedule
from lab.truth.capture import KEEP_BYTES, WHOLE_PACKETS, cut, packets
from lab.truth.choice import choose
from lab.truth.meter import Meter, judged, void
from lab.truth.sets import described

BASE = Impairment(delay_ms=10, rate_bps=4e6)


class TestSchedule:
    """Conditions over time are steps of one segment each."""

    def test_an_outage_ends_as_it_was_before(self) -> None:
        steps = schedule.outage(BASE, 20, 30)
        assert [s.at_s for s in steps] == [20, 30]
        assert steps[0].downlink is not None
        assert steps[0].downlink.rate_bps == schedule.FLOOR_BPS
        assert steps[1].downlink == BASE

    def test_a_fall_goes_down_by_steps_and_rises_at_once(self) -> None:
        steps = schedule.fall_and_rise(BASE, 500_000, 10, 40)
        rates = [s.downlink.rate_bps for s in steps if s.downlink]
        assert rates == pytest.approx([2e6, 1e6, 5e5, 4e6])

    def test_a_delay_of_one_segment_is_shared_by_its_directions(self) -> None:
        begin, end = schedule.impaired("core", 5, 9, Impairment(delay_ms=80), Impairment())
        assert [way.delay_ms for way in (begin.downlink, begin.uplink) if way] == [40, 40]
        assert end.downlink == Impairment()

    def test_a_segment_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no segment"):
            schedule.Step(0, "moon")

    def test_a_trace_is_scaled_to_its_mean_and_held_above_nothing(self, tmp_path: Path) -> None:
        archive = tmp_path / "traces.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            text = b"0\n10\n20\n30\n"
            info = tarfile.TarInfo("t")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        measured = schedule.trace_rates(archive, "t")
        assert measured == [0, 10e6, 20e6, 30e6]
        steps = schedule.trace(BASE, measured, 2e6, 4, seed=1)
        rates = sorted(s.downlink.rate_bps for s in steps if s.downlink)
        assert rates == pytest.approx([schedule.FLOOR_BPS, 4e6 / 3, 8e6 / 3, 4e6])


class TestLoad:
    """A set says how late the host was, and is void above the limit."""

    def test_the_largest_delay_of_a_second_is_kept(self) -> None:
        meter = Meter()
        for late_ms in (0.2, 7.0, 1.0):
            meter.add(100.5, 0.001 + late_ms / 1000)
        assert meter.plain()["worst_ms_by_second"] == {"100": 7.0}

    def test_seconds_outside_of_the_set_do_not_count(self) -> None:
        load = judged({"worst_ms_by_second": {"100": 50.0, "101": 2.0, "103": 9.0}}, 101.2, 102.9)
        assert (load["worst_ms"], load["over_limit"]) == (2.0, [])

    @pytest.mark.parametrize(("path", "clients", "is_void"), [(4.9, 49, False), (5.1, 1, True), (1, 51, True)])
    def test_the_limit_is_five_ms_of_the_packet_path(self, path: float, clients: float, is_void: bool) -> None:
        assert void({"path": {"worst_ms": path}, "clients": {"worst_ms": clients}}) is is_void

    def test_a_set_without_a_measurement_is_void(self) -> None:
        assert void({})
        assert void({w: judged({"worst_ms_by_second": {}}, 0, 9) for w in ("path", "clients")})


class TestConditions:
    """A seed says all that a set is made of, and a choice that is given goes before it."""

    @pytest.mark.parametrize("kind", ["video", "call", "rtp", "game", "cloud", "page", "download"])
    def test_a_seed_chooses_the_same_twice(self, kind: str) -> None:
        assert choose(kind, 5, {"network": "clean"}) == choose(kind, 5, {"network": "clean"})
        assert choose(kind, 5, {"network": "clean"}) != choose(kind, 6, {"network": "clean"})

    def test_a_given_choice_is_taken(self) -> None:
        assert choose("rtp", 3, {"codec": "EVS"}).options["codec"] == "EVS"
        options = choose("video", 3, {"player": "shaka", "http": "3", "network": "outage"}).options
        assert (options["player"], options["http"]) == ("shaka", 3)

    def test_an_impairment_is_of_one_segment_for_a_third_of_the_set(self) -> None:
        made = choose("game", 3, {"network": "clean", "seconds": "30", "impair": "core:delay:80"})
        assert [(s.at_s, s.segment) for s in made.steps] == [(10, "core"), (20, "core")]
        assert made.options["impair"] == "core:delay:80"

    def test_a_lossy_radio_keeps_its_rate_and_delay(self) -> None:
        made = choose("game", 3, {"network": "clean", "impair": "radio:loss:0.03"})
        lossy = made.steps[0].downlink
        assert lossy is not None
        assert (lossy.loss, lossy.rate_bps, lossy.delay_ms) == (0.03, made.downlink.rate_bps, made.downlink.delay_ms)

    def test_the_file_of_conditions_is_json_with_seed_load_and_verdict(self) -> None:
        load = {w: judged({"worst_ms_by_second": {"5": 1.0}}, 0, 9) for w in ("path", "clients")}
        about = described(choose("video", 3, {"network": "outage"}), [{"t": 1.0}], load)
        assert json.loads(json.dumps(about))["void"] is False
        assert about["seed"] == 3


class TestCut:
    """Media payload is cut off, lengths on the wire stay."""

    def test_first_packets_stay_whole_and_later_ones_keep_their_length(self, tmp_path: Path) -> None:
        frame = bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x06" + bytes(2) + bytes(range(12)) + bytes(1000)
        full = tmp_path / "full"
        record = struct.pack("<IIII", 7, 5, len(frame), len(frame)) + frame
        full.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 2048, 1) + record * (WHOLE_PACKETS + 2))
        cut(full, tmp_path / "cut")
        found = list(packets(tmp_path / "cut"))
        assert [len(octets) for _, _, octets in found] == [len(frame)] * WHOLE_PACKETS + [KEEP_BYTES] * 2
        assert {(us, length) for us, length, _ in found} == {(7_000_005, len(frame))}

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "no").write_bytes(b"not a capture of packets")
        with pytest.raises(ValueError, match="no capture"):
            list(packets(tmp_path / "no"))
