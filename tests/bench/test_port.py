"""The port of the live comparison: what arrives there, who is charged for it, and what is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from bench import core, dense, receivers, traffic
from bench.captures import load_mixed
from bench.cc import library
from bench.columns import read_pcap
from bench.dense import active_flows, flow_numbers
from bench.port import DEVICE, Port
from bench.receivers import Process, ndpi_packets, nfstream_packets, run, run_dropping
from lab.net import leftovers
from lab.wait import wait_until

NDPI = """large_ring: 67108864 bytes
Running thread 0...

nDPI Memory statistics:
\tnDPI Memory (once):      37.34 KB

Traffic statistics:
\tEthernet bytes:        285063004     (includes ethernet CRC/IFC/trailer)
\tDiscarded bytes:       0
\tIP packets:            315940        of 315945 packets total
\tIP bytes:              277480324     (avg pkt size 878 bytes)
"""  # ndpiReader 4.2
NFSTREAM = """{"flows_expired": 0, "packets_processed": 41200, "packets_ignored": 0, \
"packets_dropped_filtered_by_kernel": 0, "meters_packets_processing_balance": [41200]}
WARNING: something else
{"flows_expired": 3, "packets_processed": 50000, "packets_ignored": 2, \
"packets_dropped_filtered_by_kernel": 7, "meters_packets_processing_balance": [50000]}
"""  # nfstream 6.6


class TestWords:
    """Peers print how many packets they saw."""

    def test_ndpi_tells_all_packets_behind_those_with_ip(self):
        assert ndpi_packets(NDPI) == 315_945

    def test_ndpi_without_results_is_told_with_its_last_words(self):
        with pytest.raises(RuntimeError, match="no results: ERROR: could not open m0"):
            ndpi_packets("Using nDPI\nERROR: could not open m0\n")

    def test_nfstream_tells_again_and_again(self):
        assert nfstream_packets(NFSTREAM) == [41_200, 50_002]
        assert nfstream_packets("") == []


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dense capture of few flows."""
    path = tmp_path_factory.mktemp("dense") / "dense.pcap"
    return dense.build(path, flows=200), path


class TestDense:
    """A steady state of few flows, each seen from its beginning."""

    def test_the_window_follows_the_ramp_at_an_even_pace(self, made):
        count, path = made
        times, frames = read_pcap(path)

        assert len(frames) == count.ramp + count.window
        assert (np.diff(times) >= 0).all()
        assert (times[-1] - times[count.ramp]) / 1e9 == pytest.approx(dense.WINDOW_S, rel=0.02)
        assert (times[count.ramp] - times[0]) / 1e9 == pytest.approx(
            dense.WINDOW_S * count.ramp / count.window, rel=0.02
        )

    def test_a_flow_of_the_ramp_goes_on_in_the_window(self, made):
        count, path = made
        frames = read_pcap(path)[1]
        ramp, window = ({_ends(f) for f in part} for part in (frames[: count.ramp], frames[count.ramp :]))
        asked = {_ends(f) for f in frames[: count.ramp] if f[80:82] == b"\x00\x35"}

        assert len(ramp) > len(asked) > 10
        assert ramp - asked <= window
        assert len(ramp | window) == count.flows

    def test_a_tcp_flow_begins_with_its_syn(self, made):
        first: dict[object, bytes] = {}
        for frame in read_pcap(made[1])[1]:
            first.setdefault(_ends(frame), frame)
        tcp = [frame for frame in first.values() if frame[67] == 6]

        assert len(tcp) > 20
        assert {str(Ether(frame)[GTP_U_Header][IP].payload.flags) for frame in tcp} == {"S"}

    def test_active_flows_are_counted_by_their_ends(self):
        def frame(src: bytes, dst: bytes) -> bytes:
            return bytes(70) + src * 4 + dst * 4 + src * 2 + dst * 2

        up, down, other = frame(b"a", b"b"), frame(b"b", b"a"), frame(b"a", b"c")

        numbers = flow_numbers([up, down, up, down, up, other, up, other])

        assert active_flows(numbers, 4) == 1.5
        assert active_flows(numbers, 100) == 2

    def test_a_slower_sender_needs_more_copies_for_as_many_active_flows(self):
        each_its_own = np.arange(1000)

        assert core.copies_for(each_its_own, pps=800, active=8 * 100) == 8  # 100 frames a copy
        assert core.copies_for(np.arange(1000) // 2, pps=800, active=8 * 100) == core.MOST_COPIES  # at most 400
        assert core.copies_for(np.arange(1000) % 50, pps=800, active=600) == 12  # 50 of 66 frames


def _ends(frame: bytes) -> object:
    return frozenset((frame[70:74] + frame[78:80], frame[74:78] + frame[80:82])), frame[67]


@pytest.fixture(scope="module")
def capture(made):
    return load_mixed(made[1])


@pytest.fixture(scope="class")
def port(capture):
    """A port; the tests of the class run in its namespace."""
    with Port(capture) as port:
        yield port


class TestPort:
    """Frames come whole, as many as were sent, each copy of other subscribers; nothing is left behind."""

    def test_frames_arrive_as_they_are_and_of_the_next_subscribers(self, port, capture):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap:
            tap.bind((DEVICE, 0))
            tap.settimeout(30)
            port.rewind(copies=3)
            sent = port.send(10, 5000)
            got = [tap.recv(2048) for _ in range(30)]

        assert sent.packets == 30
        for i, raw in enumerate(got):
            frame, copy = capture.frames[i // 3], i % 3
            was, tunnel = (Ether(f)[GTP_U_Header] for f in (frame, raw))
            up = tunnel.payload.payload.type == 1 if hasattr(tunnel.payload.payload, "type") else raw[55] >> 4 == 1
            side = "src" if up else "dst"
            assert len(raw) == len(frame)
            assert tunnel.teid == was.teid + copy * traffic.UES
            assert _number(getattr(tunnel[IP], side)) == _number(getattr(was[IP], side)) + copy * traffic.UES

    def test_a_program_that_drops_sees_to_it_that_nobody_else_does(self, port):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap:
            tap.bind((DEVICE, 0))
            tap.setblocking(False)

            sent = run_dropping(port, 10, 100, 5000)

            assert sent.packets == 100
            assert sent.cpu_ns > 0
            with pytest.raises(BlockingIOError):
                tap.recv(2048)

    def test_a_rate_is_kept_by_waiting(self, port):
        port.rewind()

        assert port.send(2000, 10_000).seconds >= 0.2

    def test_more_than_the_capture_has_is_refused(self, port):
        port.rewind()

        with pytest.raises(ValueError, match="frames only"):
            port.send(port.frames + 1, 5000)

    def test_our_function_sees_each_packet_and_leaves_the_port_as_it_was(self, port):
        one = run(port, "ours", 200, 1000, 5000, copies=2)

        assert (one.sent.packets, one.lost) == (2000, 0)
        assert one.process_ns > 0
        link = subprocess.run(["ip", "link", "show", DEVICE], capture_output=True, text=True, check=True)
        assert "xdp" not in link.stdout


class TestEnd:
    """A port leaves nothing, and the thread where it was."""

    def test_an_interrupted_run_leaves_nothing(self, capture):
        before = os.readlink("/proc/thread-self/ns/net"), os.sched_getaffinity(0)

        def interrupted():
            with Port(capture):
                assert os.readlink("/proc/thread-self/ns/net") != before[0]
                assert leftovers(os.getpid())
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()

        assert not leftovers(os.getpid())
        assert (os.readlink("/proc/thread-self/ns/net"), os.sched_getaffinity(0)) == before


def _number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")


class TestLargeRing:
    """A tool that opens a device by libpcap's short way gets a ring of 64 MB."""

    SCRIPT = """
import ctypes, sys
ctypes.CDLL("libpcap.so.0.8", ctypes.RTLD_GLOBAL)
opened, error = ctypes.CDLL(None).pcap_open_live, ctypes.create_string_buffer(256)
opened.restype = ctypes.c_void_p
print(bool(opened(sys.argv[1].encode(), 1536, 1, 500, error)), error.value.decode())
"""

    def opened(self, device: str) -> subprocess.CompletedProcess[str]:
        """Open a device as ndpiReader does."""
        environment = {**os.environ, "LD_PRELOAD": str(library(receivers._LARGE_RING))}
        words = [sys.executable, "-c", self.SCRIPT, device]
        return subprocess.run(words, capture_output=True, text=True, check=True, env=environment)

    def test_it_is_used(self):
        done = self.opened("lo")

        assert done.stdout.startswith("True")
        assert f"large_ring: {64 << 20} bytes" in done.stderr

    def test_a_device_that_is_not_there_is_told_as_without_it(self):
        done = self.opened("nothere0")

        assert done.stdout.startswith("False nothere0: ")
        assert not done.stderr


class TestProcess:
    """A tool is charged with its children, and ends with them."""

    SCRIPT = """
import os, sys
if os.fork() == 0:
    sum(range(10 ** 7))
    print("spent", os.getpid(), flush=True)
    while True: pass
os.wait()
"""

    def test_children_are_charged_and_end(self, tmp_path):
        process = Process("busy", tmp_path, [sys.executable, "-c", self.SCRIPT])
        wait_until(lambda: "spent" in process.said(), "the child has worked", check=process.check)
        spent = process.cpu_ns()
        process.look()
        wait_until(lambda: process.cpu_ns() > spent, "it works on")

        process.close()

        assert spent > 10_000_000
        child = Path("/proc", process.said().split()[1], "stat")
        wait_until(lambda: not child.exists() or child.read_text().split()[2] == "Z", "the child ends")

    def test_one_that_ended_is_told_with_its_last_words(self, tmp_path):
        process = Process("brief", tmp_path, [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"])
        wait_until(process.ended, "it ends")

        with pytest.raises(RuntimeError, match="brief ended with 3: no such port"):
            process.check()
        process.close()

    @pytest.mark.parametrize("gently", [False, True])
    def test_one_that_does_not_listen_is_killed(self, tmp_path, monkeypatch, gently):
        monkeypatch.setattr(receivers, "_END_S", 0.1)
        script = "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
        process = Process("deaf", tmp_path, [sys.executable, "-c", script])
        wait_until(lambda: "deaf" in process.said(), "it is deaf", check=process.check)

        process.close(gently=gently)

        assert process.ended()
        assert not Path(f"/proc/{process.pid}").exists()
