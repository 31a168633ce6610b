"""The lab by itself: real stacks behind a real tunnel, seen on the probe's ports, and gone afterwards."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from lab import plan
from lab.impair import CLEAN, Impairment
from lab.lab import Lab
from lab.net import inside, leftovers, sweep
from lab.wait import slowness

WEB = plan.SERVICES["web"].address


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with three subscribers; the second one chats and watches, the third one reads two sites."""
    with Lab(plan.subscribers((), ("chat", "video"), ("web", "web3"))) as running:
        running.announce_all()
        yield running


@pytest.fixture
def clean(lab: Lab) -> Iterator[Lab]:
    """The lab with a perfect radio for ue1, and again afterwards."""
    lab.radio("ue1", uplink=CLEAN, downlink=CLEAN)
    yield lab
    lab.radio("ue1", uplink=CLEAN, downlink=CLEAN)


class TestTunnel:
    """A packet of a UE reaches the data network through GTP-U and comes back."""

    def test_an_echo_returns_at_once_on_a_clean_radio(self, clean, echo_ms):
        times = echo_ms(clean, "ue1", WEB)

        assert len(times) == 5

    def test_radio_and_core_delay_add_up(self, clean, echo_ms):
        clean.radio("ue1", uplink=Impairment(delay_ms=30), downlink=Impairment(delay_ms=20))
        clean.core("ue1", downlink=Impairment(delay_ms=25))

        delayed = echo_ms(clean, "ue1", WEB)

        clean.core("ue1", downlink=CLEAN)
        assert len(delayed) == 5
        assert min(delayed) >= 75  # 30 + 20 + 25, and what a machine adds

    def test_a_dead_radio_carries_nothing_and_recovers(self, clean, echo_ms):
        clean.radio("ue1", uplink=Impairment(loss=1.0))
        assert echo_ms(clean, "ue1", WEB, count=3, wait_s=0.2) == []

        clean.radio("ue1", uplink=CLEAN)
        assert len(echo_ms(clean, "ue1", WEB, count=3)) == 3

    def test_one_subscriber_s_radio_is_not_the_other_s(self, clean, echo_ms):
        clean.radio("ue1", uplink=Impairment(delay_ms=1500))

        assert min(echo_ms(clean, "ue2", WEB)) < 1500
        assert min(echo_ms(clean, "ue1", WEB, count=1, wait_s=10)) >= 1500


class TestNames:
    """Real service names resolve to lab addresses, by the lab's own DNS only."""

    def test_a_planned_name_resolves_through_the_tunnel(self, clean):
        service = plan.SERVICES["video"]
        with inside(clean.net.path("ue1")):
            answer = dns.query.udp(dns.message.make_query(service.names[0], "A"), plan.DNS, timeout=20 * slowness())

        assert [r.to_text() for r in answer.answer[0]] == [service.address]

    def test_any_other_name_does_not_exist(self, clean):
        with inside(clean.net.path("ue1")):
            answer = dns.query.udp(dns.message.make_query("nobody.example", "A"), plan.DNS, timeout=20 * slowness())

        assert answer.rcode() == dns.rcode.NXDOMAIN


class TestTraffic:
    """Clients on the UE's own stack do what users do, and write down what they got."""

    def test_a_chat_is_answered_and_a_video_plays(self, lab, until):
        lab.start_clients("ue2")

        until(lambda: {r["kind"] for r in lab.truth("ue2") if "error" not in r} == {"chat", "video"}, "both clients")

        until(lambda: any(r.get("startup_ms") for r in lab.truth("ue2")), "the video plays")
        answers = [r["answer_ms"] for r in lab.truth("ue2") if "answer_ms" in r]
        assert min(answers) >= 16  # a round trip on this radio is 8 ms each way, or more
        lab.stop("ue2-apps")

    def test_a_user_reads_one_page_at_a_time(self, lab, until):
        """A page that loads within a second of another one is told as a part of it (nf/qoe/pages.py)."""
        lab.start_clients("ue3")

        until(lambda: sum("page_load_ms" in r for r in lab.truth("ue3")) >= 4, "four pages", seconds=60)

        lab.stop("ue3-apps")
        pages = [r for r in lab.truth("ue3") if "page_load_ms" in r]
        assert {r["kind"] for r in pages} == {"web", "web3"}
        read_s = [later["t"] - later["page_load_ms"] / 1000 - one["t"] for one, later in itertools.pairwise(pages)]
        assert min(read_s) >= 1.4  # the least pause is 1.5 s; the file has milliseconds


class TestMirror:
    """The probe's ports see what the UPF's N3 and N4 carry, in both directions."""

    def test_n3_carries_both_directions_with_a_pdu_session_container(self, clean, capture, echo_ms, tmp_path):
        with capture(clean, "n3", tmp_path / "n3.pcap") as fields:
            echo_ms(clean, "ue1", WEB, count=3)
            container = ("gtp.ext_hdr.pdu_ses_con.pdu_type", "gtp.ext_hdr.pdu_ses_con.qos_flow_id")
            rows = fields("icmp && gtp", "ip.src", *container)

        ue = clean.subscribers["ue1"].address
        uplink = f"{plan.GNB_SITES[0]},{ue}\t1\t9"
        downlink = f"{plan.UPF_N3},{WEB}\t0\t9"
        assert rows == [uplink, downlink] * 3

    def test_a_handover_moves_the_tunnel_and_ends_the_old_one(self, clean, capture, echo_ms, tmp_path):
        with (
            capture(clean, "n3", tmp_path / "n3.pcap") as on_n3,
            capture(clean, "n4", tmp_path / "n4.pcap") as on_n4,
        ):
            site = clean.handover("ue1")
            assert len(echo_ms(clean, "ue1", WEB, count=3)) == 3
            traffic = on_n3("icmp && gtp", "ip.src", "ip.dst")
            markers = on_n3("gtp.message == 254", "ip.dst")
            modified = on_n4("pfcp.msg_type == 52", "pfcp.outer_hdr_creation.ipv4")

        ue = clean.subscribers["ue1"].address
        assert site == plan.GNB_SITES[1]
        assert traffic == [f"{site},{ue}\t{plan.UPF_N3},{WEB}", f"{plan.UPF_N3},{WEB}\t{site},{ue}"] * 3
        assert markers == [plan.GNB_SITES[0]]
        assert modified == [site]

    def test_n4_tells_who_the_subscriber_is(self, clean, capture, tmp_path):
        imsi = clean.subscribers["ue1"].imsi
        with capture(clean, "n4", tmp_path / "n4.pcap") as fields:
            clean.release("ue1")
            clean.announce("ue1")
            told = fields("pfcp.msg_type == 50", "e212.imsi", "pfcp.ue_ip_addr_ipv4", "pfcp.apn_dnn")
            answered = fields("pfcp.msg_type == 51", "pfcp.cause", "pfcp.f_teid.ipv4_addr")
            ended = fields("pfcp.msg_type == 55", "pfcp.cause")
            wrong = fields("_ws.malformed || _ws.expert.severity == error", "frame.number")

        assert told[0].split("\t")[0] == imsi
        assert clean.subscribers["ue1"].address in told[0].split("\t")[1]
        assert "internet" in told[0].split("\t")[2]
        assert answered == [f"1\t{plan.UPF_N3}"]  # request accepted (TS 29.244, 8.2.1)
        assert ended == ["1"]
        assert wrong == []


_RUN = """
import signal
from lab.lab import Lab
from lab.net import interruptible
from lab.plan import subscribers
with interruptible(), Lab(subscribers(("chat",))) as lab:
    lab.announce_all()
    lab.start_clients()
    print(*(lab.pid(n) for n in ("gnb", "upf", "dn", "ue1-apps")), flush=True)
    signal.pause()
"""


class TestEnd:
    """Nothing is left of a run, whatever ends it."""

    @pytest.fixture
    def run(self) -> Iterator[subprocess.Popen[str]]:
        """A lab in a process of its own, running."""
        words = [sys.executable, "-c", _RUN]
        root = Path(__file__).parents[2]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root) as process:
            yield process
            process.kill()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_an_interrupted_run_cleans_up(self, run, until, number):
        parts = _parts(run)
        assert leftovers(run.pid) != []

        run.send_signal(number)

        assert run.wait() != 0
        assert leftovers(run.pid) == []
        until(lambda: not any(map(_alive, parts)), "all processes end")

    def test_a_killed_run_takes_its_processes_along_and_the_next_run_sweeps(self, run, until):
        """A lab that another test starts meanwhile is a next run as well, so what this one sweeps may be less."""
        parts = _parts(run)
        assert leftovers(run.pid) != []
        run.kill()
        run.wait()

        until(lambda: not any(map(_alive, parts)), "all processes end")
        sweep()
        assert leftovers(run.pid) == []


def _parts(run: subprocess.Popen[str]) -> list[int]:
    assert run.stdout
    parts = [int(word) for word in run.stdout.readline().split()]
    assert len(parts) == 4
    return parts


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
