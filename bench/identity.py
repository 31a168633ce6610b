"""A million PFCP sessions: their memory in user space, and the time to find, change and restore them.

Each is an establishment with IMSI, IMEI and MSISDN, two tunnels and one IPv4 address, read by the tracker and applied
to the store. Times are CPU times of this process; the lookup over NETCONF is wall time over SSH on the loopback.
"""

from __future__ import annotations

import ctypes
import gc
import ipaddress
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from netconf_client.connect import connect_ssh
from netconf_client.ncclient import Manager
from scapy.contrib.pfcp import PFCP

from bench import rig
from bench.figure import Figure
from gtp.events import Identity
from gtp.pfcp import build
from gtp.pfcp.tracker import PfcpTracker
from lab.signalling import Plan
from lab.soak import soak
from lab.wait import slowness
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from nf.kernel.dataplane import DataPlane
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, find
from nf.sessions.restart.keep import SOURCES, recall, remember
from nf.sessions.restart.keeper import collector_paused
from nf.sessions.restart.restore import put_back, restore
from nf.settings import Limits, Settings

MILLION, PAIRS, LOOKUPS, ROUNDS = 1_000_000, 3000, 20_000, 3
SMF, UPF, KEY = ("192.0.2.1", 8805), ("192.0.2.2", 8805), b"a key of the bench"
EVENTS_PER_S = 2000


def exchange(n: int) -> tuple[bytes, bytes]:
    """Return the request and the response that establish session *n*."""
    identity = Identity(imsi=f"00101{n:010d}", imei=f"35{n:013d}", msisdn=f"49{n:010d}")
    ue = str(ipaddress.IPv4Address(0x0A00_0000 + n))
    gnb = f"198.51.100.{n % 250 + 1}"
    plan = build.SessionPlan(SMF[0], n, identity, ue, None, (gnb, n), "internet", "1-000001")
    sequence = n & 0xFF_FFFF
    chosen = (UPF[0], n)
    return build.establishment_request(sequence, plan), build.establishment_response(sequence, n, UPF[0], n, chosen)


def _cpu_us(run: Callable[[], object], times: int) -> float:
    """Return the microseconds of CPU that one of *times* takes, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return best / times * 1e6


def _establishment() -> list[Figure]:
    pairs = [exchange(n) for n in range(1, PAIRS + 1)]
    few = pairs[: PAIRS // 30]

    def ours(store: bool) -> None:
        tracker, bindings = PfcpTracker(), BindingStore(2 * PAIRS)
        for request, response in pairs:
            tracker.feed(request, SMF, UPF, 1.0)
            for event in tracker.feed(response, UPF, SMF, 1.0):
                if store:
                    bindings.apply(event)

    scapy_us = _cpu_us(lambda: [(PFCP(request), PFCP(response)) for request, response in few], len(few))
    tracker_us, all_us = _cpu_us(lambda: ours(False), PAIRS), _cpu_us(lambda: ours(True), PAIRS)
    cases = {"scapy decodes request and response, us": scapy_us, "tracker decodes and applies both, us": tracker_us}
    cases["tracker and binding store, us"] = all_us
    cases["scapy / tracker and store"] = scapy_us / all_us
    note = "an establishment: scapy's decode of request and response against our tracker's decode and apply of both"
    return [Figure("PFCP establishment, scapy / ours", scapy_us / tracker_us, "ratio", 20, cases, note, more=True)]


def resident_mb() -> float:
    """Return the resident memory of this process in megabytes, without what earlier figures left to be used again."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def _filled() -> tuple[PfcpTracker, BindingStore, float]:
    before = resident_mb()
    tracker, store = PfcpTracker(), BindingStore(2 * MILLION, pseudonymiser=Pseudonymiser(KEY, 1))
    with collector_paused():
        for n in range(1, MILLION + 1):
            if n % 50_000 == 0:
                rig.progress(f"session {n} of {MILLION}")
            request, response = exchange(n)
            tracker.feed(request, SMF, UPF, n / EVENTS_PER_S)
            for event in tracker.feed(response, UPF, SMF, n / EVENTS_PER_S):
                store.apply(event)
    rig.progress("")
    return tracker, store, resident_mb() - before


def _lookup(store: BindingStore) -> Figure:
    chance = random.Random(1)
    some = [chance.randrange(1, MILLION + 1) for _ in range(LOOKUPS)]
    numbers = _cpu_us(lambda: [store.number_of_tunnel(UPF[0], n) for n in some], LOOKUPS)
    labels = _cpu_us(lambda: [store.label(store.number_of_tunnel(UPF[0], n)) for n in some], LOOKUPS)
    whole = _cpu_us(lambda: [store.by_tunnel(UPF[0], n) for n in some], LOOKUPS)
    cases = {"tunnel to session number, us": numbers, "tunnel to subscriber, source and DNN, us": labels}
    cases["tunnel to the whole binding, us"] = whole
    note = "tunnel to subscriber among 1,000,000 sessions, at random"
    return Figure("keyed lookup among 1 M sessions", labels, "us", 5, cases, note)


def _netconf(store: BindingStore) -> Figure:
    names = Pseudonymiser(KEY, 1)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        private = Ed25519PrivateKey.generate()
        key, users = folder / "key", folder / "users"
        openssh = serialization.PrivateFormat.OpenSSH
        key.write_bytes(private.private_bytes(serialization.Encoding.PEM, openssh, serialization.NoEncryption()))
        key.chmod(0o600)
        public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        users.write_text(f"bench {public.decode()}\n")
        server = NetconfServer(
            Datastore(folder / "state", _Nothing()),
            Function(lambda: {}, lambda query: find(store, query, names)),
            port=0,
            users_file=users,
        )
        with (
            server,
            connect_ssh(host="127.0.0.1", port=server.port, username="bench", key_filename=str(key)) as session,
        ):
            client = Manager(session=session, timeout=60 * slowness())
            took_ms = [_asked_ms(client, f"<imsi>00101{n:010d}</imsi>") for n in range(1, 200)]
            prefix = names.name("001010000000007")[:8]
            cases = {"by the first 8 digits of a name, ms": _asked_ms(client, f"<subscriber>{prefix}</subscriber>")}
        server.stop()
    cases |= {"by IMSI, median of 199, ms": statistics.median(took_ms), "the slowest, ms": max(took_ms)}
    note = "find-sessions by IMSI over SSH on the loopback, among 1,000,000 sessions"
    return Figure("NETCONF lookup among 1 M sessions", statistics.median(took_ms), "ms", 20, cases, note)


class _Nothing:
    def apply(self, _old: Settings, _new: Settings) -> None:
        """Take any configuration."""

    prepare = restore = apply

    def verify(self, _old: Settings, _new: Settings) -> tuple[str, ...]:
        return ()


def _asked_ms(client: Manager, parameter: str) -> float:
    space = "urn:supernetflow:yang:snf-subscribers"
    began = time.perf_counter()
    reply = client.dispatch(f'<find-sessions xmlns="{space}">{parameter}</find-sessions>')
    took = time.perf_counter() - began
    text = reply.xml if isinstance(reply.xml, bytes) else reply.xml.encode()
    if text.count(b"<number>") != 1 and b":number>" not in text:
        raise RuntimeError("the session was not found")
    return took * 1e3


def _restart(tracker: PfcpTracker, store: BindingStore) -> Figure:
    with tempfile.TemporaryDirectory() as text:
        path = Path(text) / "sessions.snapshot"
        began = time.process_time()
        size = remember(path, KEY, store, {"n4": tracker}, 1.0)
        cases = {"writing, s": time.process_time() - began, "file, MB": size / 1e6}
        plane = DataPlane(Limits(flows=4096, sessions=MILLION))
        try:
            with collector_paused():
                begun, wall = time.process_time(), time.perf_counter()
                found = recall(path, KEY, 2.0)
                if found is None:
                    raise RuntimeError("the file was not read")
                again, kernel_s = BindingStore(2 * MILLION, pseudonymiser=Pseudonymiser(KEY, 1)), 0.0
                for records in found.sessions():
                    taken = restore(again, found.constants, records, SOURCES)
                    began = time.process_time()
                    put_back(plane, taken)
                    kernel_s += time.process_time() - began
                stored = time.process_time()
                PfcpTracker().restore(found.trackers["n4"])
                done, took = time.process_time(), time.perf_counter() - wall
            if len(again) != MILLION or plane.refused_entries:
                raise RuntimeError(f"{len(again)} sessions, {plane.refused_entries} entries refused")
        finally:
            plane.close()
    cases |= {"file and store, s": stored - begun - kernel_s, "kernel table, s": kernel_s}
    cases |= {"tracker, s": done - stored, "wall time, s": took}
    note = "1,000,000 sessions from the file into store, kernel table and tracker; compiling the programs is not in it"
    return Figure("start with 1 M sessions", done - begun, "s", 6, cases, note)


def _events() -> Figure:
    verdict = soak(Plan(sessions=20_000, rate_hz=1500, seconds=20, loss=0.05, jitter_s=0.005, restarts=1))
    if verdict.wrong:
        raise RuntimeError(f"{verdict.wrong} bindings are wrong")
    share = verdict.busy_s / verdict.events * EVENTS_PER_S * 100
    cases = {"messages an event": verdict.messages / verdict.events, "CPU an event, us": share / EVENTS_PER_S * 1e4}
    note = "attach, handover and detach of the generator with 5 % loss and reordering and a restart, read and applied"
    return Figure("2,000 session events a second", share, "% CPU", 50, cases, note)


def measure() -> list[Figure]:
    """Return the figures of identity."""
    figures = [*_establishment(), _events()]
    tracker, store, memory_mb = _filled()
    cases = {"bytes a session": memory_mb * 1e6 / MILLION}
    note = "resident memory that tracker and binding store add"
    figures.append(Figure("user space, 1 M sessions", memory_mb, "MB", 1000, cases, note))
    return [*figures, _lookup(store), _netconf(store), _restart(tracker, store)]
