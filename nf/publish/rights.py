"""Rights of clients of the bus, and an account of who asked for what on a socket and was given it. No sockets here.

A right is a prefix of topics. A subscription is cut to the rights of its key: one that is narrower is given as it is,
one that is wider is given as the rights within it, and the empty one is all that the key may have. Followed streams are
never given by a prefix: `sub.v1/<nf>/<subscriber>/` goes to those who asked for exactly that. Topics that are about all
records, their alarms and whose are to be erased, come with the right to all records.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from nf.settings import Rights

__all__ = ["Asked", "cut", "followed_by"]

_FOLLOWED, _IMSI = b"sub.v1", b"imsi.v1/"
_OF_ALL = ("alarm.v1/", "purge.v1/")


def cut(asked: bytes, rights: Rights) -> tuple[bytes, ...]:
    """Return the prefixes that a subscription to *asked* gets under *rights*; none means that it is refused."""
    if asked.startswith(_FOLLOWED + b"/"):
        return (asked,) if rights.follow and _is_exact(asked) else ()
    may = [topic.encode() for topic in _with_those_of_all(rights.topics)] + [_IMSI] * rights.imsi
    if any(asked.startswith(prefix) for prefix in may):
        return (asked,)
    return tuple(prefix for prefix in may if prefix.startswith(asked))


def _with_those_of_all(topics: Sequence[str]) -> list[str]:
    wholly = [topic.removeprefix("qoe.v1/") for topic in topics if topic.startswith("qoe.v1/") and topic.count("/") < 3]
    return sorted({*topics, *(family + nf for family in _OF_ALL for nf in wholly)})


def followed_by(topic: bytes, nf_id: str) -> str | None:
    """Return the subscriber whose own topic of this function *topic* is, or None."""
    if not _is_exact(topic) or topic.split(b"/")[1] != nf_id.encode():
        return None
    return topic.split(b"/")[2].decode(errors="replace")


def _is_exact(topic: bytes) -> bool:
    kind, *rest = topic.split(b"/")
    return kind == _FOLLOWED and len(rest) == 3 and all(rest[:2]) and not rest[2]


class Asked:
    """Subscriptions of one socket by user and topic, as the messages of libzmq tell them.

    A connection that ends tells its topics without its user. While several users asked for one, whose ended is not
    known: it is kept for all of them until as many connections ended as asked. What is kept too long costs work and
    reaches nobody.
    """

    def __init__(self) -> None:
        self._times: defaultdict[bytes, dict[str, int]] = defaultdict(dict)
        self._given: dict[tuple[bytes, str], tuple[bytes, ...]] = {}
        self._gone: Counter[bytes] = Counter()
        self._of_user: Counter[tuple[str, bytes]] = Counter()
        self._topics_of: Counter[str] = Counter()
        self._prefixes: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Return the number of topics and prefixes that somebody asked for."""
        return len(self._times)

    def topics(self) -> list[bytes]:
        """Return what somebody asked for."""
        return list(self._times)

    def knows(self, topic: bytes) -> bool:
        """Say whether somebody asked for *topic*."""
        return topic in self._times

    def topics_of(self, user: str) -> int:
        """Return the number of topics that *user* asked for."""
        return self._topics_of[user]

    def holders(self, prefix: bytes) -> int:
        """Return the number of users who were given exactly *prefix*."""
        return self._prefixes[prefix]

    def given(self, user: str, topic: bytes) -> tuple[bytes, ...]:
        """Return what *user* was given for *topic*."""
        return self._given.get((topic, user), ())

    def hears(self, topic: bytes) -> bool:
        """Say whether somebody was given a prefix of *topic*."""
        return any(topic[:n] in self._prefixes for n in range(len(topic) + 1))

    def begin(self, user: str, topic: bytes, prefixes: tuple[bytes, ...]) -> None:
        """Note that *user* asked for *topic* and was given *prefixes*."""
        times = self._times[topic]
        times[user] = times.get(user, 0) + 1
        if self._given.get((topic, user)):
            return
        self._topics_of[user] += times[user] == 1
        self._given[topic, user] = prefixes
        for prefix in prefixes:
            self._of_user[user, prefix] += 1
            self._prefixes[prefix] += 1

    def end(self, user: str, topic: bytes) -> tuple[bytes, ...]:
        """Note that *user* asks for *topic* no more; return the prefixes that it has no other claim to."""
        times = self._times.get(topic, {})
        if user not in times:
            return ()
        times[user] -= 1
        lost = () if times[user] else self._forget(user, topic)
        self._settle(topic)
        return lost

    def end_unknown(self, topic: bytes) -> None:
        """Note that a connection that had asked for *topic* ended."""
        times = self._times.get(topic)
        if not times:
            return
        if len(times) == 1:
            self.end(next(iter(times)), topic)
            return
        self._gone[topic] += 1
        self._settle(topic)

    def _settle(self, topic: bytes) -> None:
        """Forget a topic when as many connections ended as asked for it."""
        times = self._times.get(topic, {})
        if times and self._gone[topic] >= sum(times.values()):
            for user in list(times):
                self._forget(user, topic)
        if not self._times.get(topic):
            self._gone.pop(topic, None)

    def _forget(self, user: str, topic: bytes) -> tuple[bytes, ...]:
        times = self._times[topic]
        del times[user]
        if not times:
            del self._times[topic]
        _less(self._topics_of, user)
        prefixes = self._given.pop((topic, user))
        for prefix in prefixes:
            _less(self._prefixes, prefix)
            _less(self._of_user, (user, prefix))
        return tuple(prefix for prefix in prefixes if (user, prefix) not in self._of_user)


def _less(counter: Counter[Any], key: Any) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
