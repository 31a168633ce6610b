"""Questions and answers of DNS (RFC 1035), by dnspython."""

from __future__ import annotations

from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

from nf.apps.errors import Malformed, NoName, NotThis

__all__ = ["Answer", "parse"]

_ADDRESSES = (dns.rdatatype.A, dns.rdatatype.AAAA)
_MAX_ADDRESSES = 64  # of one answer; more are no name server's


@dataclass(frozen=True, slots=True)
class Answer:
    """A message: the name asked for, and of a response the addresses with the shortest life on their way."""

    name: str  # lower case, no final dot; "" for the root
    response: bool
    rcode: int
    addresses: tuple[str, ...] = ()
    ttl_s: int = 0


def parse(message: bytes, *, tcp: bool = False) -> Answer:
    """Return what a DNS message says. Raises NotThis or Malformed."""
    if tcp:
        if len(message) < 14 or int.from_bytes(message[:2], "big") + 2 > len(message):
            raise NotThis
        message = message[2 : 2 + int.from_bytes(message[:2], "big")]
    if len(message) < 12 or message[4:6] != b"\0\x01":
        raise NotThis
    try:
        m = dns.message.from_wire(message, ignore_trailing=True, raise_on_truncation=False, continue_on_error=True)
        if not m.question:
            raise Malformed("no question")
        name = m.question[0].name.to_text(omit_final_dot=True).lower()
        found = [(rdata.address, rr.ttl) for rr in m.answer if rr.rdtype in _ADDRESSES for rdata in rr]
    except NoName:
        raise
    except (dns.exception.DNSException, ValueError, AttributeError, IndexError) as error:
        raise Malformed(type(error).__name__) from None
    ttls = [rr.ttl for rr in m.answer]
    addresses = tuple(a for a, _ in found[:_MAX_ADDRESSES])
    return Answer(name, bool(m.flags & dns.flags.QR), int(m.rcode()), addresses, min(ttls, default=0))
