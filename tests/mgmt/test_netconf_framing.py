"""RFC 6242: how messages are cut out of a stream of bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgmt.netconf.ssh.framing import CutShort, Decoder, FramingError, MessageTooBig, encode

# RFC 6242, 4.2: the example of a chunked message.
RFC_CHUNKS = (
    b"\n#4\n<rpc"
    b'\n#18\n message-id="102"\n'
    b'\n#79\n     xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">\n  <close-session/>\n</rpc>'
    b"\n##\n"
)
RFC_MESSAGE = (
    b'<rpc message-id="102"\n     xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">\n  <close-session/>\n</rpc>'
)


def messages(decoder: Decoder, pieces: list[bytes]) -> list[bytes]:
    found = []
    for piece in pieces:
        decoder.feed(piece)
        while (message := decoder.next_message()) is not None:
            found.append(message)
    return found


def decoder(*, chunked: bool, limit: int = 1000) -> Decoder:
    made = Decoder(limit)
    made.chunked = chunked
    return made


@pytest.mark.clause("RFC 6242, 4.2", "R-78282")
class TestChunks:
    """Version 1.1: chunks with their length, and an end."""

    def test_the_example_of_the_standard_is_read(self):
        assert messages(decoder(chunked=True), [RFC_CHUNKS]) == [RFC_MESSAGE]

    def test_bytes_may_come_one_at_a_time(self):
        assert messages(decoder(chunked=True), [bytes([b]) for b in RFC_CHUNKS * 2]) == [RFC_MESSAGE] * 2

    @pytest.mark.parametrize(
        "bad",
        [
            b"<rpc/>",
            b"\n#0\n",
            b"\n#01\na",
            b"\n#-1\na",
            b"\n#x\n",
            b"\n#12345678901\n",
            b"\n##\n",
            b"\n#\n",
            b"\n# 4\n<rpc",
        ],
        ids=repr,
    )
    def test_what_is_no_chunk_ends_the_session(self, bad):
        with pytest.raises(FramingError):
            messages(decoder(chunked=True), [bad])

    def test_a_length_above_the_limit_is_refused_before_its_bytes_come(self):
        with pytest.raises(MessageTooBig):
            messages(decoder(chunked=True), [b"\n#4294967295\n"])

    def test_many_small_chunks_do_not_pass_the_limit_together(self):
        with pytest.raises(MessageTooBig):
            messages(decoder(chunked=True, limit=99), [b"\n#10\n0123456789" * 10])


@pytest.mark.clause("R-04158", "R-33946")
class TestMarks:
    """Version 1.0: a mark after each message."""

    def test_two_messages_in_one_read(self):
        assert messages(decoder(chunked=False), [b"<a/>]]>]]><b/>]]>]]>"]) == [b"<a/>", b"<b/>"]

    def test_a_mark_may_be_cut_anywhere(self):
        whole = b"<a>]]></a>]]>]]>"
        for cut in range(len(whole)):
            assert messages(decoder(chunked=False), [whole[:cut], whole[cut:]]) == [b"<a>]]></a>"]

    def test_a_message_above_the_limit_is_refused(self):
        with pytest.raises(MessageTooBig):
            messages(decoder(chunked=False, limit=10), [b"x" * 17])


class TestChange:
    """The framing changes after the hellos, also when the next message is there already."""

    def test_what_follows_the_hello_is_read_by_the_new_framing(self):
        reader = decoder(chunked=False)
        reader.feed(b"<hello/>]]>]]>" + RFC_CHUNKS)
        assert reader.next_message() == b"<hello/>"
        reader.chunked = True
        assert reader.next_message() == RFC_MESSAGE


class TestEnd:
    """A peer that goes away in the middle of a message is told from one that is done."""

    @pytest.mark.parametrize("cut", range(1, len(RFC_CHUNKS)))
    def test_a_cut_message_is_cut_short_at_every_byte(self, cut):
        reader = decoder(chunked=True)
        assert messages(reader, [RFC_CHUNKS[:cut]]) == []
        # A newline alone is what some clients send after their last message.
        if cut > 1:
            with pytest.raises(CutShort):
                reader.at_end()

    def test_the_end_after_a_message_is_fine(self):
        reader = decoder(chunked=True)
        messages(reader, [RFC_CHUNKS])
        reader.at_end()


class TestRoundTrip:
    """An encoded message is decoded as it was, wherever the bytes are cut."""

    @given(
        sent=st.lists(st.binary(min_size=1, max_size=60).filter(lambda m: b"]]>" not in m), max_size=5),
        chunked=st.booleans(),
        cuts=st.lists(st.integers(0, 400), max_size=6),
    )
    def test_cuts_do_not_matter(self, sent, chunked, cuts):
        sent = [b"<" + m.rstrip(b"]") + b">" for m in sent]
        data = b"".join(encode(m, chunked) for m in sent)
        edges = sorted({0, len(data), *(min(c, len(data)) for c in cuts)})
        pieces = [data[a:b] for a, b in pairwise(edges)]
        assert messages(decoder(chunked=chunked), pieces) == sent

    @given(noise=st.binary(max_size=200), chunked=st.booleans())
    def test_noise_is_a_message_or_an_error_and_ends(self, noise, chunked):
        try:
            messages(decoder(chunked=chunked), [noise])
        except FramingError:
            return
