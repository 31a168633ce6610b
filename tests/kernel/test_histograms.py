"""The distribution of delays: single samples in the kernel, rows by place on the bus, percentiles of what was sent."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feed.buckets import middle
from feed.consumer import Subscriber
from feed.records import DELAY_DISTRIBUTION_COLUMNS, DELAY_MEASURES
from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from lab.wait import comes_true
from nf.abi import NUMBERS, SNF_DELAYS
from nf.kernel.dataplane import DataPlane
from nf.pipeline.distribution import Distribution
from nf.publish import Publisher
from nf.sessions import BindingStore
from nf.settings import Export
from tests.kernel.packets import DL_TEID, GNB, UE, UL_TEID, UPF, downlink, ether, tcp, udp, uplink
from tests.kernel.rig import ROLES, Rig
from tests.kernel.test_delays import QFI, answer, ntp
from tests.kernel.test_paths import ECHO_REQUEST, ECHO_RESPONSE, RECOVERY, message

OTHER_GNB, SLICE = "10.10.0.7", "1-00000a"
US = 1_000
draw = np.random.default_rng(29281)


def session(gnb: str = GNB, slice_: str = SLICE) -> Session:
    """Return a session of one UE as PFCP tells it."""
    tunnels = Tunnel(UPF, UL_TEID, Side.UPLINK, local=True), Tunnel(gnb, DL_TEID, Side.DOWNLINK)
    return Session("a", "pfcp", Identity(imsi="001010000000001"), UE, dnn="internet", snssai=slice_, tunnels=tunnels)


class Site:
    """A data plane with both sides of a UPF, the sessions of a core, and their places."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.plane = rig, rig.plane
        self.plane.histograms.clear()
        self.plane.sessions.clear()
        self.plane.follow = True
        self.store = BindingStore(16)
        self.distribution = Distribution(self.plane, self.store)
        self.look()

    def look(self) -> None:
        self.distribution.look(self.plane.read_counters())
        self.distribution.turn()

    def tell(self, *events: Any) -> None:
        """Take events of signalling, and look after places as the function's loop does."""
        for event in events:
            self.plane.write(self.store.apply(event))
        self.distribution.turn()

    def run(self, frame: bytes, role: str, after_us: float = 1) -> None:
        self.rig.now_ns += round(after_us * US)
        self.plane.run(frame, self.rig.now_ns, ROLES[role])

    def rows(self) -> list[tuple[str, str, str, int, int]]:
        """Return what was counted since the last call."""
        columns = self.distribution.rows()
        columns = {name: column if isinstance(column, list) else column.tolist() for name, column in columns.items()}
        return list(zip(*(columns[name] for name in ("gnb", "slice", "measure", "bucket", "n")), strict=True))

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Return the delays by gNB, slice and measure."""
        found: dict[tuple[str, str, str], int] = {}
        for *place, _, n in self.rows():
            found[tuple(place)] = found.get(tuple(place), 0) + n  # type: ignore[arg-type, index]
        return found


@pytest.fixture
def site(rig: Rig) -> Iterator[Site]:
    for name in ("delays", "stamps", "sights", "transits", "paths", "echoes"):
        rig.plane._maps[name].clear()
    site = Site(rig)
    yield site
    rig.plane.follow = False
    rig.plane.sessions.clear()


def varied(frame: bytes, was: bytes) -> Callable[[bytes], bytes]:
    """Return the frame with other bytes in the place where it has *was*, once; nobody reads its check sums."""
    assert frame.count(was) == 1
    return lambda now: frame.replace(was, now)


MARK = 0x5AA5  # an IP identification that no header else has
UP = tcp("S", 0, seq=99)
UP.id = MARK
DOWN = answer()
DOWN.id = MARK


def through_the_upf(site: Site, delays_us: NDArray[np.float64]) -> None:
    """Send an uplink packet that is always followed for each delay, so long after it on N6."""
    of_n3, of_n6 = (varied(ether(p), MARK.to_bytes(2, "big")) for p in (uplink(UP, QFI), UP))
    for number, us in enumerate(delays_us.tolist()):
        site.run(of_n3(number.to_bytes(2, "big")), "n3", 10)
        site.run(of_n6(number.to_bytes(2, "big")), "n6", us)


def to_the_gnb(site: Site, delays_us: NDArray[np.float64]) -> None:
    """Send a time stamp to the gNB and its answer for each delay, beside the 4 ms that the gNB has it."""
    sent, held = ntp(3_900_000_000.25), ntp(100.0)
    stamp = sent.to_bytes(8, "big")
    down = varied(ether(downlink(answer(), QFI, QMP=1, dlSendTime=sent)), stamp)
    back = uplink(udp(), QFI, QMP=1, dlSendTimeRpt=sent, dlRecvTime=held, ulSendTime=held + ntp(0.004))
    up = varied(ether(back), stamp)
    for number, us in enumerate(delays_us.tolist()):
        new = (sent + 1000 * number).to_bytes(8, "big")
        site.run(down(new), "n3", 10)
        site.run(up(new), "n3", us + 4000)


def of_the_radio(site: Site, delays_us: NDArray[np.float64]) -> None:
    """Report each delay, of uplink, in whole milliseconds."""
    frame = varied(ether(uplink(udp(), QFI, ulDelayInd=1, ulDelayRslt=0x5AA55AA5)), bytes.fromhex("5aa55aa5"))
    for us in delays_us.tolist():
        site.run(frame(int(us // 1000).to_bytes(4, "big")), "n3")


def by_echo(site: Site, delays_us: NDArray[np.float64]) -> None:
    """Have the gNB answer an echo of the UPF after each delay."""
    asked, told = (
        varied(frame, MARK.to_bytes(2, "big"))
        for frame in (message(ECHO_REQUEST, UPF, GNB, MARK), message(ECHO_RESPONSE, GNB, UPF, MARK, RECOVERY))
    )
    for number, us in enumerate(delays_us.tolist()):
        site.run(asked(number.to_bytes(2, "big")), "n3", 10)
        site.run(told(number.to_bytes(2, "big")), "n3", us)


def quantile(rows: list[tuple[str, str, str, int, int]], measure: str, q: float) -> float:
    """Return a quantile in microseconds by nothing but the rows."""
    buckets, n = np.array(sorted((bucket, n) for *_, m, bucket, n in rows if m == measure)).T
    at = np.searchsorted(np.cumsum(n), q * n.sum())
    return float(middle(buckets[at : at + 1], "ms")[0]) * 1000


class TestPercentiles:
    """The median and the 99th percentile are those of the delays that were sent, by numpy, to 5 %."""

    @pytest.mark.parametrize(
        ("measure", "send", "median_us", "most_us"),
        [
            ("upf_ul_ms", through_the_upf, 6, 1e6),  # a UPF in hardware,
            ("upf_ul_ms", through_the_upf, 90, 1e6),  # in XDP,
            ("upf_ul_ms", through_the_upf, 1500, 1e6),  # and one that is short of time
            ("n3_rtt_ms", to_the_gnb, 700, 1e7),
            ("ran_ul_ms", of_the_radio, 40_000, 1.6e7),
            ("n3_echo_ms", by_echo, 350, 1e7),
        ],
    )
    def test_of_each_measure(
        self,
        site: Site,
        measure: str,
        send: Callable[[Site, NDArray[np.float64]], None],
        median_us: int,
        most_us: float,
    ) -> None:
        site.tell(SessionUp(session(), 1.0))
        by_echo(site, np.array([1.0]))  # from here on gNBs are named for echoes
        site.look()
        site.rows()
        delays_us = np.floor(np.minimum(draw.lognormal(np.log(median_us), 0.7, 2000), most_us * 0.99))
        delays_us = delays_us // 1000 * 1000 if send is of_the_radio else delays_us

        send(site, delays_us)

        rows = [row for row in site.rows() if row[2] == measure]
        assert sum(n for *_, n in rows) == len(delays_us)
        assert {row[:2] for row in rows} == {(GNB, "" if send is by_echo else SLICE)}
        for q in (0.5, 0.99):
            # to 5 %, and to the microsecond that times are whole in
            assert quantile(rows, measure, q) == pytest.approx(np.quantile(delays_us, q), rel=0.05, abs=1.5), q

    def test_a_delay_beyond_the_last_bucket_is_in_it(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))

        of_the_radio(site, np.array([16e6, 17e6, 4e12]))

        assert [(bucket, n) for *_, bucket, n in site.rows()] == [(334, 1), (335, 2)]


class TestPlaces:
    """A delay is counted for the gNB and the slice that its session has when it is measured."""

    def test_both_directions_of_the_radio_and_the_upf(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        site.run(ether(uplink(udp(), QFI, dlDelayInd=1, ulDelayInd=1, dlDelayRslt=12, ulDelayRslt=9)), "n3")
        of_n6, of_n3 = (varied(ether(packet), MARK.to_bytes(2, "big")) for packet in (DOWN, downlink(DOWN, QFI)))
        for number in range(400):
            site.run(of_n6(number.to_bytes(2, "big")), "n6", 10)
            site.run(of_n3(number.to_bytes(2, "big")), "n3", 100)

        counts = site.counts()

        assert counts[GNB, SLICE, "ran_ul_ms"] == counts[GNB, SLICE, "ran_dl_ms"] == 1
        (transit,) = site.plane.read_transits()[1]
        assert counts[GNB, SLICE, "upf_dl_ms"] == int(transit["n"][1]) > 0

    def test_after_a_handover_it_is_the_new_one(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        of_the_radio(site, np.full(3, 5000.0))
        moved = session(OTHER_GNB)
        site.tell(SessionMoved(moved, 2.0, gone=(session().tunnels[1],)))
        of_the_radio(site, np.full(4, 5000.0))

        assert site.counts() == {(GNB, SLICE, "ran_ul_ms"): 3, (OTHER_GNB, SLICE, "ran_ul_ms"): 4}

    def test_what_belongs_to_no_session_has_no_place(self, site: Site) -> None:
        of_the_radio(site, np.full(3, 5000.0))

        assert site.counts() == {("", "", "ran_ul_ms"): 3}

    def test_beyond_the_room_there_is_none_either_until_one_is_given_back(self, site: Site) -> None:
        room = len(site.plane.histograms)
        for number in range(1, room):
            site.distribution.places.number((f"10.9.0.{number}", ""))
        site.tell(SessionUp(session(), 1.0))
        of_the_radio(site, np.full(3, 5000.0))

        assert site.counts() == {("", "", "ran_ul_ms"): 3}
        assert site.distribution.places.refused == 1
        site.rows()  # the second time that nobody uses the others
        site.tell(SessionMoved(session(OTHER_GNB), 2.0, gone=(session().tunnels[1],)))
        of_the_radio(site, np.full(4, 5000.0))
        assert site.counts() == {(OTHER_GNB, SLICE, "ran_ul_ms"): 4}

    def test_the_place_of_a_session_that_ended_is_not_that_of_the_next(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        site.tell(SessionDown(session(), 2.0, EndReason.RELEASED))
        entries = len(site.plane.sessions)
        site.plane.write(site.store.expire(200.0))
        site.distribution.turn()

        assert len(site.plane.sessions.places()) == 0
        assert len(site.plane.sessions) < entries

    def test_an_echo_of_who_is_no_gnb_is_not_counted(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        by_echo(site, np.array([5.0]))
        site.look()
        site.rows()
        site.run(message(ECHO_REQUEST, GNB, UPF, 1), "n3")
        site.run(message(ECHO_RESPONSE, UPF, GNB, 1, RECOVERY), "n3", 50)

        assert site.rows() == []

    def test_where_nothing_is_measured_no_session_takes_room_for_one(self, rig: Rig) -> None:
        rig.plane.follow = False
        rig.plane.sessions.clear()
        store = BindingStore(16)
        distribution = Distribution(rig.plane, store)
        distribution.look(dict.fromkeys(rig.plane.read_counters(), 0))
        rig.plane.write(store.apply(SessionUp(session(), 1.0)))
        distribution.turn()
        assert len(rig.plane.sessions.places()) == 0

        rig.plane.follow = True  # and as soon as it is, those that were there before have one
        distribution.look(dict.fromkeys(rig.plane.read_counters(), 0))
        distribution.turn()
        rig.plane.follow = False
        assert len(rig.plane.sessions.places()) == 1
        rig.plane.sessions.clear()


class TestSince:
    """Rows say what was counted since those before: nothing is told twice, nothing is made up."""

    def test_nothing_is_told_twice(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        of_the_radio(site, np.full(3, 5000.0))

        assert [n for *_, n in site.rows()] == [3]
        assert site.rows() == []
        of_the_radio(site, np.full(2, 5000.0))
        assert [n for *_, n in site.rows()] == [2]

    def test_a_count_that_comes_round_goes_on(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        of_the_radio(site, np.full(1, 5000.0))
        ((*_, bucket, _),) = site.rows()
        counts = site.plane.histograms._counts
        place = site.distribution.places.number((GNB, SLICE))
        counts[place, DELAY_MEASURES.index("ran_ul_ms"), bucket] = 2**32 - 2
        site.rows()

        of_the_radio(site, np.full(5, 5000.0))

        assert [n for *_, n in site.rows()] == [5]

    def test_other_programs_go_on_where_those_before_stopped(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        of_the_radio(site, np.full(3, 5000.0))
        site.plane.swap()
        of_the_radio(site, np.full(2, 5000.0))

        assert site.counts() == {(GNB, SLICE, "ran_ul_ms"): 5}

    def test_a_process_that_takes_over_tells_what_it_saw_itself(self, site: Site) -> None:
        """The one before told some of them, and what its numbers of places mean died with it."""
        site.tell(SessionUp(session(), 1.0))
        of_the_radio(site, np.full(3, 5000.0))

        DataPlane._take_over(site.plane)
        after = Distribution(site.plane, BindingStore(16, site.plane.first_session))
        site.distribution = after
        assert site.rows() == []
        of_the_radio(site, np.full(2, 5000.0))
        assert site.counts() == {("", "", "ran_ul_ms"): 2}
        site.plane._control["first_session"] = 1


class TestOnTheBus:
    """A message of delay.v1 has the rows with the end and the length of their span."""

    def test_a_minute_of_a_site(self, site: Site) -> None:
        site.tell(SessionUp(session(), 1.0))
        delays_us = draw.lognormal(np.log(90), 0.7, 2000)
        through_the_upf(site, delays_us)
        of_the_radio(site, draw.lognormal(np.log(40_000), 0.7, 500))
        publisher = Publisher(Export(endpoint="tcp://127.0.0.1:*"), "nf1")
        publisher.start()
        try:
            with Subscriber(publisher.endpoint, ["delay.v1/nf1/"]) as bus:
                assert comes_true(lambda: publisher.subscriptions == 2, 10)  # and the heartbeat
                publisher.publish_delays(site.distribution.rows(), 1_785_000_000.0, 1_785_000_060.0)
                told = next(m for m in bus.messages(20) if m is not None)
        finally:
            publisher.stop()

        assert (told.topic, told.header.schema) == ("delay.v1/nf1/", "snf.delay.v1")
        assert told.columns.keys() == DELAY_DISTRIBUTION_COLUMNS.keys()
        assert set(told.columns["t_ms"]) == {1_785_000_060_000}
        assert set(told.columns["interval_ms"]) == {60_000}
        rows = list(zip(*(told.columns[name] for name in ("gnb", "slice", "measure", "bucket", "n")), strict=True))
        assert {row[:2] for row in rows} == {(GNB, SLICE)}
        assert sum(int(n) for *_, m, _, n in rows if m == "upf_ul_ms") == 2000
        assert quantile(rows, "upf_ul_ms", 0.5) == pytest.approx(np.quantile(delays_us, 0.5), rel=0.05)
        # Bytes of one gNB with two measures in a minute; thousandths of a percent of what 1 Mbit/s of its users are.
        assert publisher.exported_bytes < 1000


def test_measures_have_the_numbers_of_the_programs() -> None:
    names = {NUMBERS[f"DELAY_{name.removesuffix('_ms').upper()}"]: name for name in DELAY_MEASURES}

    assert names == dict(itertools.islice(enumerate(DELAY_MEASURES), SNF_DELAYS))
