"""An operator's settings of names: a new key with an overlap, opted-out subscribers, and the table of names."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys

import numpy as np
import pytest

from feed.records import RecordBatch
from gtp.events import Identity, Session, SessionUp, Tunnel
from nf.pipeline import Pipeline
from nf.privacy import OPTED_OUT, Pseudonymiser
from nf.sessions import BindingStore, Query, find

ALICE, BOB = "001010000000001", "001010000000002"
OLD, NEW = b"old key of sixteen", b"new key of sixteen"


def under(key: bytes, imsi: str) -> str:
    return hmac.new(key, imsi.encode(), hashlib.sha256).hexdigest()[:32]


def session(n: int, imsi: str, source: str = "pfcp") -> Session:
    return Session(f"{source}-{n}", source, Identity(imsi=imsi), f"10.45.0.{n}", tunnels=(Tunnel("192.0.2.10", n),))


class TestNewKey:
    """Names change with the key; for a time the old ones are understood."""

    def test_the_old_name_leads_to_the_new_one(self):
        names = Pseudonymiser(NEW, 2, OLD)
        assert names.name(ALICE) == under(NEW, ALICE)
        assert names.current(under(OLD, ALICE)) == under(NEW, ALICE)
        assert names.current(under(OLD, BOB)) == under(OLD, BOB), "he was not named since"

    def test_without_the_old_key_nothing_is_known_of_old_names(self):
        names = Pseudonymiser(NEW, 2)
        names.name(ALICE)
        assert names.current(under(OLD, ALICE)) == under(OLD, ALICE)

    def test_sessions_are_found_by_either(self):
        names = Pseudonymiser(NEW, 2, OLD)
        store = BindingStore(10, pseudonymiser=Pseudonymiser(OLD, 1))
        store.apply(SessionUp(1.0, session(1, ALICE)))
        store.use(names)
        names.name(ALICE)
        for name in (under(OLD, ALICE), under(NEW, ALICE), under(NEW, ALICE)[:8]):
            assert [f.subscriber for f in find(store, Query(subscriber=name), names).found] == [under(NEW, ALICE)]

    def test_the_name_is_the_same_from_every_source(self):
        names, store = Pseudonymiser(NEW, 2), BindingStore(10)
        for n, source in enumerate(("pfcp", "gtpv2", "radius", "netconf"), 1):
            store.apply(SessionUp(1.0, session(n, ALICE, source)))
        assert {store.subscriber(b.index, names) for b in store.by_imsi(ALICE)} == {under(NEW, ALICE)}
        assert len(store.by_imsi(ALICE)) == 4


class TestOptOut:
    """Nothing is published of a subscriber who opted out."""

    def test_they_share_a_name_that_says_nothing(self):
        names = Pseudonymiser(NEW, 2, OLD, (ALICE,))
        assert (names.name(ALICE), names.name(BOB)) == (OPTED_OUT, under(NEW, BOB))
        assert names.current(under(OLD, ALICE)) == under(OLD, ALICE)
        assert names.named() == {BOB: under(NEW, BOB)}

    def test_their_rows_leave_the_records(self):
        pipeline = object.__new__(Pipeline)
        pipeline.pseudonymiser = Pseudonymiser(NEW, 2, opted_out=(ALICE,))
        rows = {"subscriber": [OPTED_OUT, "b", OPTED_OUT], "ul_bytes": np.array([1, 2, 3], np.uint64)}
        alone = {"subscriber": [OPTED_OUT], "ul_bytes": np.array([9], np.uint64)}
        batches = [RecordBatch("web", 0.0, 1.0, rows), RecordBatch("video", 0.0, 1.0, alone)]
        (kept,) = pipeline._without_opted_out(batches)
        assert kept.columns["subscriber"] == ["b"]
        assert kept.columns["ul_bytes"].tolist() == [2]


class TestWhoIsWho:
    """Each name is told once, and all of them when asked for."""

    def test_new_ones_and_all(self):
        names = Pseudonymiser(NEW, 2)
        names.name(ALICE)
        assert names.named() == {ALICE: under(NEW, ALICE)}
        assert names.named() == {}
        names.name(BOB)
        assert names.named() == {BOB: under(NEW, BOB)}
        assert set(names.named(again=True)) == {ALICE, BOB}


class TestMemoryOfTheProcess:
    """The process writes no core dump."""

    @pytest.mark.parametrize("what", ["resource.getrlimit(resource.RLIMIT_CORE)[0]", "libc.prctl(3, 0, 0, 0, 0)"])
    def test_none_is_written(self, what):
        text = (
            "import ctypes, resource; from nf.kernel.process import no_core_dumps; libc = ctypes.CDLL(None);"
            f"resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY)); no_core_dumps(); print({what})"
        )
        run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        assert run.stdout == "0\n"
