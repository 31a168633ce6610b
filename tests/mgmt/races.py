"""Orchestrators that race on lock, edit, commit and kill, and the account of what each was promised.

Each one reads a counter from running under locks and commits one more. A commit that was answered has to be in the
counter; one whose session was killed meanwhile may be. A confirmed commit that is cancelled must not be.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

from lxml import etree
from netconf_client.error import NetconfClientException, RpcError
from netconf_client.ncclient import Manager

from tests.mgmt.conftest import Bench
from tests.mgmt.raw import names, wrapped

__all__ = ["Tally", "race"]

E = "urn:supernetflow:yang:snf-export"
_FILTER = f'<filter><exporter xmlns="{E}"><high-water-mark/></exporter></filter>'
BEGIN = 1
ENDED = "The session has ended."  # said to one that was killed, whose request had come before its connection went


@dataclass
class Tally:
    """The commits that were answered, those that may have been made, and what else happened."""

    done: int = 0
    perhaps: int = 0
    denied: int = 0
    cancelled: int = 0
    kills: int = 0
    wrong: list[str] = field(default_factory=list)


def set_to(number: int) -> etree._Element:
    return wrapped(f'<exporter xmlns="{E}"><high-water-mark>{number}</high-water-mark></exporter>')


def read(client: Manager) -> int:
    found = names(client.get_config(source="running", filter=_FILTER).data_ele, "high-water-mark")
    return int(found[0]) if found else BEGIN


class _Orchestrator(threading.Thread):
    def __init__(self, bench: Bench, until_s: float, sessions: dict[int, int], seed: int) -> None:
        super().__init__()
        self.tally = Tally()
        self._bench, self._until_s, self._sessions, self._rng = bench, until_s, sessions, random.Random(seed)
        self._me = seed

    def run(self) -> None:
        while time.monotonic() < self._until_s:
            self._committing = False
            try:
                # A session that is killed is waited for as long as this.
                with self._bench.manager(timeout_s=2) as client:
                    self._sessions[self._me] = int(client.session_id)
                    for _ in range(self._rng.randint(1, 6)):
                        self._turn(client)
            except RpcError as error:
                if error.message != ENDED:
                    self.tally.wrong.append(f"{error.tag}: {error.message}")
            except (NetconfClientException, OSError, EOFError, TimeoutError):
                self.tally.perhaps += self._committing  # killed

    def _turn(self, client: Manager) -> None:
        if self._rng.random() < 0.15:
            self._kill(client)
            return
        locked = []
        for target in ("running", "candidate"):
            try:
                client.lock(target)
                locked.append(target)
            except RpcError as error:
                if error.tag != "lock-denied":
                    raise
                self.tally.denied += 1
        if len(locked) == 2:
            self._add_one(client)
        for target in locked:
            client.unlock(target)

    def _add_one(self, client: Manager) -> None:
        client.edit_config(set_to(read(client) + 1), target="candidate")
        if self._rng.random() < 0.2:
            client.commit(confirmed=True, confirm_timeout=600)
            if self._rng.random() < 0.5:
                client.dispatch("<cancel-commit/>")
                self.tally.cancelled += 1
                return
        self._committing = True
        client.commit()
        self._committing = False
        self.tally.done += 1

    def _kill(self, client: Manager) -> None:
        others = [session for who, session in self._sessions.items() if who != self._me]
        if others:
            try:
                client.kill_session(str(self._rng.choice(others)))
                self.tally.kills += 1
            except RpcError as error:
                if error.tag != "invalid-value":  # it has gone already
                    raise


def race(bench: Bench, seconds: float, orchestrators: int = 2) -> tuple[Tally, int]:
    """Run the race so long; return the account of all, and the counter in the end."""
    until_s, sessions = time.monotonic() + seconds, dict[int, int]()
    runners = [_Orchestrator(bench, until_s, sessions, seed) for seed in range(orchestrators)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    all_of_them = Tally()
    for runner in runners:
        for name in ("done", "perhaps", "denied", "cancelled", "kills", "wrong"):
            setattr(all_of_them, name, getattr(all_of_them, name) + getattr(runner.tally, name))
    with bench.manager() as client:
        return all_of_them, read(client) - BEGIN
