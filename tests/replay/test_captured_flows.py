"""Every capture through the kernel program, against what tshark found (expected_flows.csv).

tshark's file gives one row per tunnel pair for some captures and one row for all legs together for
others; a row that names several outer pairs is compared with the sum of ours.
"""

from __future__ import annotations

import csv
from collections import defaultdict

import pytest

KNOWN = {
    ("open5gs__testregistration.pcapng", ("58", "cafe::2", "0", "cafe::1", "0")): (
        "its G-PDU says 2096 bytes in a datagram of 200: a lying length is counted and not believed"
    ),
    ("zeek__gtp1_gn_normal_incl_fragmentation.pcap", ("6", "10.131.47.185", "1923", "79.101.110.141", "80")): (
        "tshark leaves out tunnel packets whose later outer fragments are not in the file; the first has all we need"
    ),
}
FLOW_KEY = ("proto", "src", "sport", "dst", "dport")


def expected(shared):
    with (shared / "captures" / "expected_flows.csv").open() as rows:
        return list(csv.DictReader(rows))


def numbers(row):
    return tuple(int(row[n] or 0) for n in ("pkts_fwd", "pkts_rev", "ipbytes_fwd", "ipbytes_rev"))


def sets(row, *names):
    return tuple(frozenset(filter(None, row[n].split("|"))) for n in names)


def key(row):
    return tuple(str(row[n]) for n in FLOW_KEY)


def turned(row):
    """The same flow as its other end sees it."""
    pairs = {"src": "dst", "sport": "dport"}
    swap = {**pairs, **{v: k for k, v in pairs.items()}}
    for name in list(row):
        if name.endswith("_fwd"):
            swap[name] = name[:-4] + "_rev"
            swap[name[:-4] + "_rev"] = name
    return {name: row[swap.get(name, name)] for name in row}


def on_its_legs(want, ours):
    """Our rows of the 5-tuple that lie on the outer pairs of the expected row."""
    outers = set().union(*sets(want, "outer_fwd", "outer_rev"))
    return [r for r in ours if not outers or set().union(*sets(r, "outer_fwd", "outer_rev")) <= outers]


def tcp_shown(want, ours):
    """Say (handshake time agrees, retransmissions agree); None where tshark has no figure or legs are summed."""
    mine = on_its_legs(want, ours)
    if want["proto"] != "6" or len(mine) != 1:
        return None, None
    handshake = None
    if want["tcp_irtt_ms"]:
        irtt_ms, got_ms = float(want["tcp_irtt_ms"]), mine[0]["rtt_handshake_ms"]
        handshake = got_ms != "" and abs(got_ms - irtt_ms) <= max(1, irtt_ms / 10)
    retrans = mine[0]["retrans_fwd"] + mine[0]["retrans_rev"]
    return handshake, abs(retrans - int(want["tcp_retrans"])) <= 1


def agrees(want, ours):
    """Does the sum of our rows of this 5-tuple, on the outer pairs that the expected row names, equal it?"""
    mine = on_its_legs(want, ours)
    if not mine:
        return False
    total = tuple(map(sum, zip(*(numbers(r) for r in mine), strict=True)))
    tunnel = ("teid_fwd", "teid_rev", "qfi_fwd", "qfi_rev")
    together = tuple(frozenset().union(*column) for column in zip(*(sets(r, *tunnel) for r in mine), strict=True))
    return total == numbers(want) and together == sets(want, *tunnel)


@pytest.fixture(scope="module")
def compared(replay, shared):
    """Replay all captures; returns expected tunnel rows with whether they agree, and what went wrong elsewhere."""
    by_file = defaultdict(list)
    for row in expected(shared):
        by_file[row["file"]].append(row)
    verdicts, plain, refused, tcp = [], [], {}, []
    for file in sorted(p.name for p in (shared / "captures" / "pcap").iterdir()):
        replayed = replay(shared / "captures" / "pcap" / file)
        lost = {k: v for k, v in replayed.result.skipped.items() if "refused by the kernel" in k}
        if lost:
            refused[file] = lost
        ours = defaultdict(list)
        for row in replayed.flows:
            ours[str(row["gtpu"]), key(row)].append(row)
            ours[str(row["gtpu"]), key(turned(row))].append(turned(row))
        for row in by_file[file]:
            ok = agrees(row, ours[row["gtpu"], key(row)])
            tcp.append(tcp_shown(row, ours[row["gtpu"], key(row)]))
            (verdicts if row["gtpu"] == "1" else plain).append((file, key(row), ok))
    return verdicts, plain, refused, tcp


class TestAllCaptures:
    """No capture is refused, and the flows inside tunnels are those that tshark found."""

    def test_no_frame_is_refused_by_the_kernel(self, compared):
        assert compared[2] == {}

    def test_the_tunnelled_flows_agree_in_every_column(self, compared):
        verdicts = compared[0]
        assert len(verdicts) == 76
        assert {(file, flow) for file, flow, ok in verdicts if not ok} == set(KNOWN)

    def test_plain_flows_agree_as_well(self, compared):
        plain = compared[1]
        wrong = [(file, flow) for file, flow, ok in plain if not ok]
        assert len(wrong) <= len(plain) * 3 // 100, wrong


class TestTcp:
    """Handshake time and retransmissions are those of tshark, on all rows that have them."""

    def test_the_handshake_takes_as_long(self, compared):
        """Within 1 ms or a tenth: tshark's figure is SYN to the first acknowledgement of its sender."""
        shown = [handshake for handshake, _ in compared[3] if handshake is not None]
        assert len(shown) > 200
        assert sum(shown) / len(shown) >= 0.95

    def test_as_many_segments_were_sent_again(self, compared):
        """Within one segment: tshark tells retransmissions from late ones by rules of its own."""
        shown = [retrans for _, retrans in compared[3] if retrans is not None]
        assert len(shown) > 700
        assert sum(shown) / len(shown) >= 0.95
