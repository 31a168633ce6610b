"""The filter of a signalling socket, in classic BPF: it passes frames that `nf.signalling.trackers` may need.

It passes the ports of `nf.signalling.trackers` and all fragments of UDP and SCTP (the later ones have no ports), behind
whatever `gtp.link` reads: tags, labels, PPPoE, and two tunnels of a mirror in one another. Subscribers' packets stay
in the kernel.

An old kernel gives a socket 20 kB for its options and its filter, which takes some twelve of them in its own code.

X holds the offset of the header that is read, A the value that is looked at. Jumps go forward only.
"""

from __future__ import annotations

import functools
import struct

from gtp.link import GRE, IPV4, IPV6, VXLAN
from gtp.sctp import SCTP
from nf.signalling.trackers import PORTS

__all__ = ["assembled"]

# Instructions of classic BPF (linux/filter.h): class, size and mode in one.
_LDH_IND, _LDB_IND, _LDX_IMM, _LD_MEM, _ST = 0x48, 0x50, 0x01, 0x60, 0x02
_AND, _LSH, _ADD, _ADD_X, _TAX, _TXA = 0x54, 0x64, 0x04, 0x0C, 0x07, 0x87
_JA, _JEQ, _JSET, _RET = 0x05, 0x15, 0x45, 0x06
_LABEL = -1

_VLANS, _MPLS, _SGT, _PPPOE = (0x8100, 0x88A8, 0x9100), (0x8847, 0x8848), 0x8909, 0x8864
_BRIDGED, _ERSPAN, _ERSPAN3 = 0x6558, 0x88BE, 0x22EB
_UDP, _FRAGMENT, _EXTENSIONS = 17, 44, (0, 43, 60, 135)  # as gtp.ip reads them
_TAGS, _LABELS = 5, 3
_TUNNELS = 2  # in one another; deeper ones are not read
_FLAGS, _KIND = 0, 1  # words of the filter's memory: the first two fields of a GRE header


class _Code:
    """Instructions as (operation, operand, label if true, label if false)."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, int, str, str]] = []

    def add(self, op: int, k: int = 0) -> None:
        self.lines.append((op, k, "", ""))

    def label(self, name: str) -> None:
        self.lines.append((_LABEL, 0, name, ""))

    def go(self, name: str) -> None:
        self.lines.append((_JA, 0, name, ""))

    def when(self, op: int, k: int, name: str) -> None:
        """Go to *name*, which is 255 instructions away at most, when A is, or has a bit of, *k*."""
        self.lines.append((op, k, name, ""))

    def forward(self, octets: int) -> None:
        """Move X; the value of A is lost."""
        self.add(_TXA)
        self.add(_ADD, octets)
        self.add(_TAX)


def _ethernet(code: _Code, layer: int) -> None:
    """Add the code for an Ethernet header at X: each tag moves X on, so that the ethertype is always at 12."""
    code.label(f"{layer} ethernet")
    for tags in range(_TAGS + 1):
        code.add(_LDH_IND, 12)
        code.when(_JEQ, IPV4, f"{layer} to ipv4")
        code.when(_JEQ, IPV6, f"{layer} to ipv6")
        if tags == _TAGS:
            break
        for kind in _VLANS:
            code.when(_JEQ, kind, f"{layer} tag {tags}")
        code.when(_JEQ, _SGT, f"{layer} group tag {tags}")
        code.go(f"{layer} other")
        code.label(f"{layer} group tag {tags}")  # twice as long as the others
        code.forward(4)
        code.label(f"{layer} tag {tags}")
        code.forward(4)
    code.label(f"{layer} other")
    for kind in _MPLS:
        code.when(_JEQ, kind, f"{layer} mpls")
    code.when(_JEQ, _PPPOE, f"{layer} pppoe")
    code.go(f"{layer} drop")
    code.label(f"{layer} pppoe")
    code.forward(8)
    code.add(_LDH_IND, 12)
    code.when(_JEQ, 0x0021, f"{layer} to ipv4")
    code.when(_JEQ, 0x0057, f"{layer} to ipv6")
    code.go(f"{layer} drop")


def _mpls(code: _Code, layer: int, inner: str) -> None:
    """Add the code for a label 14 bytes behind X."""
    code.label(f"{layer} mpls")
    for _ in range(_LABELS):
        code.add(_LDB_IND, 14 + 2)
        code.add(_AND, 1)
        code.add(_ST, _FLAGS)
        code.forward(4)
        code.add(_LD_MEM, _FLAGS)
        code.when(_JEQ, 1, f"{layer} bottom")
    code.go(f"{layer} drop")
    code.label(f"{layer} bottom")
    code.add(_LDB_IND, 14)
    code.add(_AND, 0xF0)
    code.when(_JEQ, 0x40, f"{layer} to ipv4")
    code.when(_JEQ, 0x60, f"{layer} to ipv6")
    code.add(_LDH_IND, 14)
    code.when(_JEQ, 0, f"{layer} control word")
    code.forward(14)
    code.go(inner)
    code.label(f"{layer} control word")
    code.forward(14 + 4)
    code.go(inner)


def _ip(code: _Code, layer: int, inner: str) -> None:
    code.label(f"{layer} to ipv4")
    code.forward(14)
    code.label(f"{layer} ipv4")
    code.add(_LDB_IND, 9)
    code.add(_ST, _KIND)
    for proto in (SCTP, _UDP):
        code.when(_JEQ, proto, f"{layer} fragment")
    code.when(_JEQ, GRE, f"{layer} options")
    code.go(f"{layer} drop")
    code.label(f"{layer} fragment")
    code.add(_LDH_IND, 6)
    code.when(_JSET, 0x3FFF, f"{layer} accept")  # more fragments, or an offset
    code.label(f"{layer} options")
    code.add(_LDB_IND, 0)
    for op, k in ((_AND, 15), (_LSH, 2), (_ADD_X, 0), (_TAX, 0)):
        code.add(op, k)
    code.add(_LD_MEM, _KIND)
    code.when(_JEQ, GRE, f"{layer} gre")
    code.go(f"{layer} ports")
    code.label(f"{layer} to ipv6")
    code.forward(14)
    code.label(f"{layer} ipv6")
    code.add(_LDB_IND, 6)
    code.add(_ST, _KIND)
    for kind in (_FRAGMENT, *_EXTENSIONS):
        code.when(_JEQ, kind, f"{layer} accept")  # seldom: the reader looks behind them
    code.forward(40)
    code.add(_LD_MEM, _KIND)
    code.when(_JEQ, GRE, f"{layer} gre")
    for proto in (SCTP, _UDP):
        code.when(_JEQ, proto, f"{layer} ports")
    code.go(f"{layer} drop")
    code.label(f"{layer} ports")
    for at in (0, 2):
        code.add(_LDH_IND, at)
        for port in PORTS:
            code.when(_JEQ, port, f"{layer} accept")
    code.when(_JEQ, VXLAN, f"{layer} vxlan")
    code.go(f"{layer} drop")
    code.label(f"{layer} vxlan")
    code.forward(8 + 8)
    code.go(inner)


def _gre(code: _Code, layer: int, inner: str) -> None:
    """Add the code for a GRE header at X: each field that a flag adds moves X on."""
    code.label(f"{layer} gre")
    for at, word in ((0, _FLAGS), (2, _KIND)):
        code.add(_LDH_IND, at)
        code.add(_ST, word)
    code.add(_LD_MEM, _FLAGS)
    code.when(_JSET, 0x4007, f"{layer} drop")  # routing, or another version
    code.forward(4)
    for flag in (0x8000, 0x2000, 0x1000):
        code.add(_LD_MEM, _FLAGS)
        code.when(_JSET, flag, f"{layer} has {flag}")
        code.go(f"{layer} past {flag}")
        code.label(f"{layer} has {flag}")
        code.forward(4)
        code.label(f"{layer} past {flag}")
    code.add(_LD_MEM, _KIND)
    code.when(_JEQ, _BRIDGED, inner)
    for kind, name in ((_ERSPAN, "erspan"), (_ERSPAN3, "erspan3"), (IPV4, "gre ipv4"), (IPV6, "gre ipv6")):
        code.when(_JEQ, kind, f"{layer} {name}")
    for kind in _MPLS:
        code.when(_JEQ, kind, f"{layer} gre mpls")
    code.go(f"{layer} drop")
    code.label(f"{layer} erspan")
    code.add(_LD_MEM, _FLAGS)
    code.when(_JSET, 0x1000, f"{layer} erspan2")
    code.go(inner)
    code.label(f"{layer} erspan3")
    code.add(_LDB_IND, 11)
    code.add(_ST, _FLAGS)
    code.forward(12)
    code.add(_LD_MEM, _FLAGS)
    code.when(_JSET, 1, f"{layer} erspan2")  # the platform's part has eight bytes as well
    code.go(inner)
    code.label(f"{layer} erspan2")
    code.forward(8)
    code.go(inner)
    for name in ("ipv4", "ipv6"):
        code.label(f"{layer} gre {name}")
        code.go(f"{layer + 1} {name}" if layer < _TUNNELS else f"{layer} drop")
    code.label(f"{layer} gre mpls")
    code.add(_TXA)
    code.add(_ADD, 0xFFFF_FFF2)  # -14: labels follow an ethertype
    code.add(_TAX)
    code.go(f"{layer + 1} mpls" if layer < _TUNNELS else f"{layer} drop")


def _program(bare: bool) -> list[tuple[int, int, str, str]]:
    code = _Code()
    code.add(_LDX_IMM, 0)
    if bare:
        code.add(_LDB_IND, 0)
        code.add(_AND, 0xF0)
        code.when(_JEQ, 0x40, "0 ipv4")
        code.when(_JEQ, 0x60, "0 ipv6")
        code.go("0 drop")
    for layer in range(_TUNNELS + 1):
        inner = f"{layer + 1} ethernet" if layer < _TUNNELS else f"{layer} drop"
        _ethernet(code, layer)
        _mpls(code, layer, inner)
        _ip(code, layer, inner)
        _gre(code, layer, inner)
        code.label(f"{layer} drop")
        code.add(_RET, 0)
        code.label(f"{layer} accept")
        code.add(_RET, 0xFFFF_FFFF)
    return code.lines


@functools.cache
def assembled(bare: bool = False) -> bytes:
    """Return the filter as `struct sock_filter[]`; *bare*: for packets that have no Ethernet header."""
    places: dict[str, int] = {}
    code: list[tuple[int, int, str, str]] = []
    for op, k, yes, no in _program(bare):
        if op == _LABEL:
            places[yes] = len(code)
        else:
            code.append((op, k, yes, no))
    out = b""
    for at, (op, k, yes, no) in enumerate(code):
        true, false = (places[name] - at - 1 if name else 0 for name in (yes, no))
        out += struct.pack("=HBBI", op, 0, 0, true) if op == _JA else struct.pack("=HBBI", op, true, false, k)
    return out
