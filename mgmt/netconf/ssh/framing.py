"""The framing of NETCONF over SSH (RFC 6242, 4): bytes in, messages out. No sockets.

    1.0   a message ends with ``]]>]]>``; both hellos are sent so
    1.1   ``\\n#LENGTH\\n`` and so many bytes, ..., then ``\\n##\\n``; after hellos that both have :base:1.1

Errors:

    FramingError           the bytes are no frame; the session has to end (RFC 6242, 4.2)
    ├── MessageTooBig      a message is larger than the limit
    └── CutShort           the peer ended in the middle of a message
"""

from __future__ import annotations

import re

__all__ = ["MAX_MESSAGE_BYTES", "CutShort", "Decoder", "FramingError", "MessageTooBig", "encode"]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A configuration of 10 000 static sessions is 2.4 MB of XML; more than some times that is no request."""

_END = b"]]>]]>"
_END_OF_CHUNKS = b"\n##\n"
_MAX_CHUNK = 4_294_967_295  # RFC 6242, 4.2: chunk-size
# Ten digits at most, the first not zero.
_CHUNK = re.compile(rb"\n#([1-9][0-9]{0,9})\n")
_CHUNK_START = re.compile(rb"\n?\Z|\n#(?:[1-9][0-9]{0,9}|#)?\Z")


class FramingError(Exception):
    """The bytes are no frame."""


class MessageTooBig(FramingError):
    """A message is larger than the limit."""


class CutShort(FramingError):
    """The peer ended in the middle of a message."""


class Decoder:
    """Turns the bytes of a peer into messages. Set ``chunked`` when both sides have agreed on 1.1."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self.chunked = False
        self._limit = limit
        self._buffer = bytearray()
        self._message = bytearray()  # chunks of the message that has begun
        self._searched = 0  # of the buffer, for the end of a 1.0 message
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Take bytes as they came; `next_message` says what they hold."""
        self._buffer += data

    def next_message(self) -> bytes | None:
        """Return the next whole message, None when more bytes are needed. Raises FramingError."""
        return self._next_chunked() if self.chunked else self._next_marked()

    def at_end(self) -> None:
        """Say that no more bytes come. Raises CutShort in the middle of a message."""
        # Some clients end their last message with a newline.
        if self._begun or self._buffer.strip():
            raise CutShort(f"the peer ended {len(self._message) + len(self._buffer)} bytes into a message")

    def _next_marked(self) -> bytes | None:
        end = self._buffer.find(_END, self._searched)
        if end > self._limit or (end < 0 and len(self._buffer) > self._limit + len(_END)):
            raise MessageTooBig(f"a message is larger than {self._limit} bytes")
        if end < 0:
            self._searched = max(0, len(self._buffer) - len(_END) + 1)
            return None
        message = bytes(self._buffer[:end])
        del self._buffer[: end + len(_END)]
        self._searched = 0
        return message

    def _next_chunked(self) -> bytes | None:
        while True:
            if self._begun and self._buffer.startswith(_END_OF_CHUNKS):
                del self._buffer[: len(_END_OF_CHUNKS)]
                message, self._message, self._begun = bytes(self._message), bytearray(), False
                return message
            head = _CHUNK.match(self._buffer)
            if head is None:
                # No chunk yet: either the beginning of a header, or nothing that can become one.
                if not _CHUNK_START.match(self._buffer):
                    raise FramingError("a chunk does not begin with its length")
                return None
            size = int(head[1])
            if size > _MAX_CHUNK or len(self._message) + size > self._limit:
                raise MessageTooBig(f"a message is larger than {self._limit} bytes")
            if len(self._buffer) < head.end() + size:
                return None
            self._begun = True
            self._message += self._buffer[head.end() : head.end() + size]
            del self._buffer[: head.end() + size]


def encode(message: bytes, chunked: bool) -> bytes:
    """Return a message as it goes on the wire."""
    return b"\n#%d\n%b%b" % (len(message), message, _END_OF_CHUNKS) if chunked else message + _END
