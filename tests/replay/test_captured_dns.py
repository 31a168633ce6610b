"""DNS response times of captures, through the kernel, against tshark's dns.time."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nf.kernel.dataplane import DataPlane

CAPTURES = ("ndpi__android.pcap", "ndpi__telegram.pcap", "ndpi__wechat.pcap", "ndpi__signal.pcap",
            "ndpi__conncheck.pcap", "ndpi__whatsapp_login_call.pcap")  # fmt: skip


def of_tshark(capture: Path) -> dict[int, list[float]]:
    """Return the response times in us that tshark finds over UDP, by the client's port."""
    words = ["tshark", "-r", str(capture), "-Y", "udp.port == 53 && dns.time && !icmp", "-T", "fields"]
    done = subprocess.run([*words, "-e", "udp.dstport", "-e", "dns.time"], capture_output=True, text=True, check=False)
    found = defaultdict(list)
    for line in done.stdout.splitlines():
        port, seconds = line.split("\t")
        found[int(port)].append(1e6 * float(seconds))
    return found


@pytest.mark.parametrize("name", CAPTURES)
class TestTimes:
    """Each flow to a resolver, but for those with a query that was sent again: tshark times them from the first."""

    def test_answers_and_how_long_they_took(
        self, name: str, shared: Path, replay: Callable[..., Any], plane: DataPlane
    ) -> None:
        due = of_tshark(shared / "captures" / "pcap" / name)
        replay(shared / "captures" / "pcap" / name)
        compared = 0
        for key, flow in zip(*plane.read_flows(), strict=True):
            ports, dns = (int(key["port_a"].byteswap()), int(key["port_b"].byteswap())), flow["transport"]["dns"]
            if key["proto"] != 17 or 53 not in ports or dns["again"]:
                continue
            times = due[max(ports)]
            assert (int(dns["answers"]), int(dns["timed"])) == (len(times), len(times)), ports
            assert int(dns["sum_us"]) == pytest.approx(sum(times), abs=2 * len(times)), ports
            compared += len(times)
        assert compared >= 0.8 * sum(map(len, due.values()))

    def test_the_records_tell_them(self, name: str, shared: Path, replay: Callable[..., Any]) -> None:
        batches = replay(shared / "captures" / "pcap" / name, interval_s=1e6).batches
        told = np.concatenate([b.columns["dns_ms"] for b in batches])

        assert np.nanmin(told) > 0
        assert np.nanmax(np.concatenate([b.columns["dns_failed"] for b in batches])) <= 1
