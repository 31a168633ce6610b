"""Names and addresses of DNS messages, and the hosts of HTTP requests."""

from __future__ import annotations

import itertools
import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from nf.apps.parsers.dns import Message, Stream, parse, parse_tcp
from nf.apps.parsers.errors import Malformed, NeedMore, NoName, NotThis
from nf.apps.parsers.http import host, host_in_rest


def answer(name: str, *records: tuple[str, int, str, str], rcode: int = dns.rcode.NOERROR) -> bytes:
    """Return a response that dnspython wrote; a record is (owner, ttl, type, data)."""
    message = dns.message.make_response(dns.message.make_query(name, "A"))
    message.set_rcode(dns.rcode.Rcode(rcode))
    for owner, ttl, kind, data in records:
        message.answer.append(dns.rrset.from_text(owner, ttl, "IN", kind, data))
    return message.to_wire()


class TestDns:
    """An answer gives the addresses of the name that was asked, along its aliases."""

    def test_a_query_gives_its_name(self) -> None:
        assert parse(dns.message.make_query("www.Example.COM.", "AAAA").to_wire()) == Message(
            ("www.example.com",), response=False, rcode=0
        )

    def test_addresses_of_both_families(self) -> None:
        wire = answer(
            "example.com.", ("example.com.", 60, "A", "192.0.2.1"), ("example.com.", 30, "AAAA", "2001:db8::1")
        )

        assert parse(wire).addresses == (("192.0.2.1", 60), ("2001:db8::1", 30))

    def test_an_alias_chain_gives_its_shortest_life(self) -> None:
        wire = answer(
            "www.netflix.com.",
            ("www.netflix.com.", 300, "CNAME", "a.geo.example."),
            ("a.geo.example.", 20, "CNAME", "b.elb.example."),
            ("b.elb.example.", 60, "A", "198.51.100.7"),
        )

        message = parse(wire)

        assert message.names == ("www.netflix.com",)
        assert message.addresses == (("198.51.100.7", 20),)

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_the_order_of_records_says_nothing(self, order: tuple[int, ...]) -> None:
        """RFC 1034, 3.6: the order of RRs in a set is not significant, and need not be preserved."""
        chain = (
            ("www.netflix.com.", 300, "CNAME", "a.geo.example."),
            ("a.geo.example.", 20, "CNAME", "b.elb.example."),
            ("b.elb.example.", 60, "A", "198.51.100.7"),
            ("stranger.example.", 60, "A", "198.51.100.9"),
        )

        assert parse(answer("www.netflix.com.", *(chain[i] for i in order))).addresses == (("198.51.100.7", 20),)

    def test_aliases_in_a_circle_end(self) -> None:
        circle = (("a.example.", 60, "CNAME", "b.example."), ("b.example.", 60, "CNAME", "a.example."))

        assert parse(answer("a.example.", *circle, ("b.example.", 30, "A", "192.0.2.1"))).addresses == (
            ("192.0.2.1", 30),
        )

    def test_the_hints_of_a_service(self) -> None:
        wire = answer(
            "example.com.",
            ("example.com.", 300, "HTTPS", "1 . alpn=h3,h2 ipv4hint=192.0.2.7,192.0.2.8 ipv6hint=2001:db8::7"),
        )

        message = parse(wire)

        assert message.addresses == (("192.0.2.7", 300), ("192.0.2.8", 300), ("2001:db8::7", 300))
        assert not message.ech

    def test_keys_for_an_encrypted_hello(self) -> None:
        assert parse(answer("example.com.", ("example.com.", 300, "HTTPS", "1 . alpn=h3 ech=AAT+DQAA"))).ech

    def test_a_service_under_another_name_has_its_addresses(self) -> None:
        wire = answer(
            "example.com.",
            ("example.com.", 300, "HTTPS", "0 pool.example.net."),
            ("pool.example.net.", 20, "HTTPS", "1 . ipv4hint=192.0.2.9"),
            ("pool.example.net.", 60, "A", "192.0.2.10"),
        )

        assert parse(wire).addresses == (("192.0.2.9", 20), ("192.0.2.10", 60))

    def test_an_address_of_a_name_that_was_not_asked_is_not_taken(self) -> None:
        wire = answer("example.com.", ("other.example.", 60, "A", "192.0.2.66"))

        assert parse(wire).addresses == ()

    def test_a_denial_has_its_code_and_no_address(self) -> None:
        assert parse(answer("nowhere.example.", rcode=dns.rcode.NXDOMAIN)) == Message(("nowhere.example",), True, 3)

    def test_the_root_is_an_empty_name(self) -> None:
        assert parse(dns.message.make_query(".", "NS").to_wire()).names == ("",)

    def test_a_truncated_answer_keeps_the_whole_records(self) -> None:
        wire = answer("example.com.", ("example.com.", 60, "A", "192.0.2.1"), ("example.com.", 60, "AAAA", "::1"))

        assert parse(wire[:-3]).addresses == (("192.0.2.1", 60),)

    def test_over_tcp_a_length_stands_before(self) -> None:
        wire = answer("example.com.", ("example.com.", 60, "A", "192.0.2.1"))
        stream = struct.pack("!H", len(wire)) + wire

        assert parse_tcp(stream + b"\0\x10").addresses == (("192.0.2.1", 60),)
        with pytest.raises(NeedMore):
            parse_tcp(stream[:-1])

    @pytest.mark.parametrize("to", [0x0C, 0x0E, 0x20, 0x3FFF])
    def test_a_pointer_to_itself_forward_or_outside_is_malformed(self, to: int) -> None:
        head = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0)

        with pytest.raises(Malformed):
            parse(head + b"\x01a" * (to == 0x0C) + struct.pack("!H", 0xC000 | to) + b"\0\x01\0\x01")

    def test_a_name_of_more_than_255_bytes_is_malformed(self) -> None:
        head = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0)

        with pytest.raises(Malformed):
            parse(head + b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\x01\0\x01")

    @pytest.mark.parametrize("data", [b"", b"\0" * 11, b"\0" * 12, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
    def test_other_bytes_are_not_this(self, data: bytes) -> None:
        with pytest.raises(NotThis):
            parse(data)

    def test_every_truncation_is_a_value_or_an_error_of_the_family(self) -> None:
        wire = answer("www.example.com.", ("www.example.com.", 5, "CNAME", "e.net."), ("e.net.", 6, "A", "192.0.2.1"))
        for cut in range(len(wire)):
            try:
                message = parse(wire[:cut])
            except NoName:
                continue

            assert message.names == ("www.example.com",)
            assert message.addresses == ()


def framed(*messages: bytes) -> bytes:
    """Return messages as TCP carries them (RFC 1035, 4.2.2)."""
    return b"".join(struct.pack("!H", len(m)) + m for m in messages)


class TestDnsStream:
    """A TCP connection carries any number of messages behind each other (RFC 7766, 6.2.1)."""

    NAMES = tuple(f"host-{n}.example.com" for n in range(6))
    STREAM = framed(*(answer(f"{n}.", (f"{n}.", 60, "A", "192.0.2.1")) for n in NAMES))

    @staticmethod
    def names(*segments: tuple[int, bytes]) -> list[str]:
        stream = Stream()
        return [m.names[0] for seq, data in segments for m in stream.feed(seq, data)]

    @pytest.mark.parametrize("size", [3, 4, 59, 60, 100, 536, 4000])
    def test_in_segments_of_any_size(self, size: int) -> None:
        segments = [(2**32 - 100 + i, self.STREAM[i : i + size]) for i in range(0, len(self.STREAM), size)]

        assert self.names(*((seq % 2**32, data) for seq, data in segments)) == list(self.NAMES)

    def test_in_any_order(self) -> None:
        size = len(self.STREAM) // 4 + 1
        segments = [(7 + i, self.STREAM[i : i + size]) for i in range(0, len(self.STREAM), size)]
        for order in itertools.permutations(segments):
            assert self.names(*order) == list(self.NAMES)

    def test_each_message_once_though_segments_come_twice(self) -> None:
        segments = [(7 + i, self.STREAM[i : i + 50]) for i in range(0, len(self.STREAM), 50)]
        twice = [s for segment in segments for s in (segment, segment)] + segments

        assert self.names(*twice) == list(self.NAMES)

    def test_from_the_middle_of_a_message_the_next_segment_that_begins_one_is_found(self) -> None:
        first, rest = framed(answer("lost.example.", ("lost.example.", 60, "A", "192.0.2.9"))), self.STREAM

        assert self.names((1, first[30:]), (1 + len(first[30:]), rest)) == list(self.NAMES)

    def test_behind_a_hole_the_messages_are_read_again(self) -> None:
        whole = framed(answer("first.example.", ("first.example.", 60, "A", "192.0.2.9")))
        later = [framed(answer(f"n{i}.example.")) for i in range(40)]
        begins = [len(whole) + 500 + sum(map(len, later[:i])) for i in range(len(later))]

        found = self.names((0, whole), *zip(begins, later, strict=True))
        assert found == ["first.example", *(f"n{i}.example" for i in range(40))]

    def test_it_keeps_no_more_than_a_message_and_what_came_early(self) -> None:
        stream = Stream()
        for i in range(1000):
            list(stream.feed(i * 2000, b"\xff\xff" + bytes(1400)))

        assert len(stream.pieces) <= 24


class TestHttp:
    """A request gives its Host without the port."""

    @pytest.mark.parametrize(
        ("request_", "expected"),
        [
            (b"GET / HTTP/1.1\r\nHost: Example.com\r\n\r\n", "example.com"),
            (b"GET / HTTP/1.1\r\nhost:example.com:8080 \r\n\r\n", "example.com"),
            (b"POST /a HTTP/1.1\r\nAccept: */*\r\nHost: [2001:db8::1]:80\r\n", "2001:db8::1"),
            (b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n", "2001:db8::1"),
            (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", "example.org"),
            (b"CONNECT www.example.org:443 HTTP/1.1\r\n\r\n", "www.example.org"),
            (b"GET / HTTP/1.0\r\n\r\n", ""),
            (b"GET / HTTP/1.1\r\nX: Host: no\r\n\r\nHost: body.example\r\n", ""),
            (b"GET / HTTP/1.1\nHost: bare.example\n\n", "bare.example"),
            (b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n", "239.255.255.250"),
        ],
    )
    def test_requests(self, request_: bytes, expected: str) -> None:
        assert host(request_) == expected

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"GETTING",
            b"OPTIONS sip:a@b SIP/2.0\r\nHost: x\r\n\r\n",
            b"GET /old\r\n",
            b"\x16\x03\x01",
        ],
    )
    def test_other_protocols_are_not_this(self, data: bytes) -> None:
        with pytest.raises(NotThis):
            host(data)

    def test_every_truncation_asks_for_more_until_the_line_is_there(self) -> None:
        whole = b"GET /index.html HTTP/1.1\r\nAccept: */*\r\nHost: example.com\r\n\r\n"
        complete = whole.index(b"example.com\r\n") + len(b"example.com\r\n")
        for cut in range(1, complete):
            with pytest.raises(NeedMore):
                host(whole[:cut])

        assert host(whole[:complete]) == "example.com"

    def test_a_host_of_control_characters_is_malformed(self) -> None:
        with pytest.raises(Malformed):
            host(b"GET / HTTP/1.1\r\nHost: a\x07b\r\n\r\n")

    def test_a_head_that_never_ends_is_given_up(self) -> None:
        with pytest.raises(Malformed):
            host(b"GET /" + b"a" * 20_000)

    def test_a_later_part_of_a_head(self) -> None:
        assert host_in_rest(b"=1 HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n") == "example.com"
        with pytest.raises(NeedMore):
            host_in_rest(b"no head\r\n\r\nHost: body.example\r\n")
