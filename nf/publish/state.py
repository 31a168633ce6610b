"""The current state of the feed, for those who join late: the last messages, as they were sent.

    records and other figures   those of the last WINDOW_S, MOST_BYTES of all topics together
    the heartbeat               the last one
    marks of change             the last MOST_MARKS
    what is to be erased        all since the state began, MOST_ERASED_BYTES
    alarms                      those that stand, as rows; the message is made when somebody asks

Messages are kept in their frames, where a record has some 22 bytes, and not as rows. Followed streams and IMSIs are
never kept. Rows of a subscriber who is to be forgotten are taken out.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import zstandard

from feed import wire
from feed.records import Columns

__all__ = ["MOST_BYTES", "WINDOW_S", "State"]

log = logging.getLogger(__name__)

WINDOW_S = 30.0  # `snf watch` forgets a row without a record for so long; a batch waits 10 s by default
MOST_BYTES = 16 << 20  # at 22 bytes a record (docs/feed.md, Size) some 700,000
MOST_ERASED_BYTES = 4 << 20  # 100,000 who opted out (snf-opt-out) under two keys of 16 bytes are 3.2 MB
MOST_MARKS = 16
_MOST_NAMES = 256  # that are looked for in messages: more are an opt-out in bulk, and all records go
_MOST_REWRITTEN = 32  # messages of a subscriber; one of 1,000 rows takes 15 ms, and the heart beats each second
_PSEUDONYM_DIGITS = 32  # packed as 16 bytes in a message (`feed.columns`)

Frames = Sequence[bytes]
_NEVER, _ALARMS = (b"sub.v1", b"imsi.v1"), b"alarm.v1"
_OF_SUBSCRIBERS = b"qoe.v1"


@dataclass(slots=True)
class _Kept:
    """Messages of one kind, the oldest first; within *most* bytes and *last* messages."""

    most: int
    last: int | None = None
    messages: deque[tuple[float, Frames]] = field(default_factory=deque)
    size: int = 0

    def put(self, at_s: float, frames: Frames) -> None:
        self.messages.append((at_s, frames))
        self.size += sum(map(len, frames))
        while self.size > self.most or (self.last is not None and len(self.messages) > self.last):
            self._drop()

    def leave(self, before_s: float) -> None:
        while self.messages and self.messages[0][0] < before_s:
            self._drop()

    def _drop(self) -> None:
        self.size -= sum(map(len, self.messages.popleft()[1]))

    def rewrite(self, change: Callable[[Frames], Frames | None]) -> None:
        """Replace each message, the newest first, by what *change* makes of it; None is none."""
        changed = [(at_s, new) for at_s, old in reversed(self.messages) if (new := change(old)) is not None]
        self.messages = deque(reversed(changed))
        self.size = sum(len(frame) for _, frames in self.messages for frame in frames)


class State:
    """The messages that late joiners are given. Times are of a monotonic clock; the publisher's thread alone has it."""

    def __init__(self) -> None:
        self._window = _Kept(MOST_BYTES)
        self._others = {
            b"health.v1": _Kept(MOST_BYTES, last=1),
            b"change.v1": _Kept(MOST_BYTES, last=MOST_MARKS),
            b"purge.v1": _Kept(MOST_ERASED_BYTES),
        }

    @property
    def octets(self) -> int:
        """Bytes of what is kept."""
        return self._window.size + sum(kept.size for kept in self._others.values())

    @staticmethod
    def tells(topic: bytes) -> bool:
        """Say whether late joiners are told of *topic*."""
        return topic.partition(b"/")[0] not in _NEVER

    def keep(self, frames: Frames, now_s: float) -> None:
        """Keep a message of a topic that late joiners are told of; alarms are given as those that stand."""
        if frames[0].startswith(_ALARMS):
            return
        self._others.get(frames[0].partition(b"/")[0], self._window).put(now_s, frames)
        self._window.leave(now_s - WINDOW_S)

    def messages(self, prefixes: Collection[bytes], now_s: float) -> Iterator[Frames]:
        """Yield the messages of topics that begin with one of *prefixes*, of each topic the oldest first."""
        self._window.leave(now_s - WINDOW_S)
        for kept in (*self._others.values(), self._window):
            for _, frames in kept.messages:
                if any(frames[0].startswith(prefix) for prefix in prefixes):
                    yield frames

    def erase(self, names: Collection[str]) -> None:
        """Take the rows of these subscribers out; a message without rows stays, so that its number is not missed.

        Of more than a few messages the older ones go as a whole.
        """
        if len(names) > _MOST_NAMES:
            self._window = _Kept(MOST_BYTES)
            return
        needles, rewritten = [_packed(name) for name in names], 0

        def without(frames: Frames) -> Frames | None:
            nonlocal rewritten
            if not frames[0].startswith(_OF_SUBSCRIBERS):
                return frames
            plain = zstandard.ZstdDecompressor().decompress(frames[2])
            if not any(needle in plain for needle in needles):
                return frames
            rewritten += 1
            return _without(frames, names) if rewritten <= _MOST_REWRITTEN else None

        self._window.rewrite(without)


def _packed(name: str) -> bytes:
    try:
        return bytes.fromhex(name) if len(name) == _PSEUDONYM_DIGITS else name.encode()
    except ValueError:
        return name.encode()


def _without(frames: Frames, names: Collection[str]) -> Frames:
    message = wire.decode(frames)
    stay = np.array([name not in names for name in message.columns["subscriber"]], np.bool_)
    columns: Columns = {
        name: [value for value, stays in zip(column, stay, strict=True) if stays]
        if isinstance(column, list)
        else column[stay]
        for name, column in message.columns.items()
    }
    return wire.encode(frames[0], message.header, columns)
