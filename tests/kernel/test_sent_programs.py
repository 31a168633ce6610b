"""The programs on what a port sends say of a packet what those on what it receives say, and let it go on."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from nf.kernel import sent, syscall
from nf.kernel.dataplane import MAX_FRAME
from nf.kernel.ports import PROGRAM, load_role
from tests.kernel.packets import SERVER, UE, downlink, ether, tcp, uplink
from tests.kernel.rig import ROLES, Rig
from tests.kernel.table import INNER, TABLE, Row

PASS = 2  # XDP_PASS, as the rig names it
UNSPECIFIED = 0xFFFF_FFFF  # TC_ACT_UNSPEC of include/uapi/linux/pkt_cls.h: the next filter decides
ETHERNET = 14  # bytes that a test run of this hook wants at least
CONTEXT, WIRE_LENGTH = 192, 160  # bytes of struct __sk_buff, and where its wire_len is (include/uapi/linux/bpf.h)


@pytest.fixture
def out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Return the data plane, whose frames go out."""
    plane, runs = rig.plane, {}

    def run(frame: bytes, at_ns: int, role: object = None, wire: int = 0) -> int:
        plane._clock[0], plane._wire_length[0] = at_ns, wire
        if role not in runs:
            load_role(plane._programs, role, sent=True)  # type: ignore[arg-type]
            fd = sent.load(plane._programs, PROGRAM[role]).fd  # type: ignore[index]
            runs[role] = syscall.TestRun(fd, MAX_FRAME + 64)
        context = ctypes.create_string_buffer(CONTEXT)
        ctypes.memmove(ctypes.byref(context, WIRE_LENGTH), max(len(frame), wire).to_bytes(4, sys.byteorder), 4)
        runs[role]._attr.ctx_in, runs[role]._attr.ctx_size_in = ctypes.addressof(context), CONTEXT
        verdict = runs[role](frame)
        assert verdict == UNSPECIFIED
        return PASS

    monkeypatch.setattr(plane, "run", run)
    return rig


REFUSED = "an IPv6 header that is cut is truncated"  # a test run of this hook takes no such packet (net/bpf/test_run.c)
ROWS = [row for row in TABLE if len(row.frame) > ETHERNET and row.says != REFUSED]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says.replace(" ", "-"))
def test_the_table_holds(out: Rig, row: Row) -> None:
    """Each row has its reasons and its flow, and no packet is held up."""
    with out.opens(row.opens):
        outcome = out.run(row.frame, row.role)

    due = set(row.why) | ({"gtpu_gpdu", "tunnel_unknown"} if row.flow and row.flow.gtpu else set())
    due |= {"gtpu_gpdu"} if row in INNER else set()
    assert (outcome.why, outcome.flow) == (frozenset(due), row.flow)


def test_both_directions_of_a_conversation_are_one_flow(rig: Rig, out: Rig) -> None:
    """A port that receives the uplink and sends the downlink has one flow of both."""
    received = type(rig.plane).run
    for n in range(3):
        received(rig.plane, ether(uplink(tcp(seq=n))), rig.now_ns + n, ROLES["n3"])
        answer = IP(src=SERVER, dst=UE) / TCP(sport=443, dport=40000, flags="A", seq=n) / Raw(bytes(50))
        out.run(ether(downlink(answer)), "n3")

    assert out.flow()["packets"].tolist() == [3, 3]
