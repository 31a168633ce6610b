"""Checks that must hold on a kernel, tried on it: in a machine that booted it, or in a namespace of this one.

Nothing is compiled here: the programs come from the cache (nf/kernel/compiled.py), the frames from a file. Each step
says that it begins and what came of it, a line of JSON each, so that whoever waits knows what for.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nf.errors import SnfError
from nf.kernel import objects
from nf.kernel.dataplane import DataPlane
from nf.kernel.programs import Programs, takes_frags
from nf.settings import Interface, Limits, Role, XdpMode

__all__ = ["CAPABILITIES", "FRAMES", "LIMIT", "REPLAY", "SMALL", "TUNNELS", "TWICE", "Doubled", "run"]

REPLAY = " (replay)"  # behind the name of a program that has the clock of a capture
LIMIT = 1_000_000  # instructions that the verifier processes (BPF_COMPLEXITY_LIMIT_INSNS of include/linux/bpf.h)
TWICE = "-DLOOPS=2"  # abi.h
FRAMES, TUNNELS = 2_000, 20
SMALL = Limits(flows=1024, sessions=256)
CAPABILITIES = ("bpf", "net_admin", "perfmon", "net_raw")
TABLE = Path("build/kernels/rows.json")  # below the project, here and in a machine
_PATIENCE_S = 120  # without another frame: emulation is slow, so a missing frame is told late and never wrongly

Say = Callable[..., None]


class Doubled(Programs):
    """A build whose loops turn twice as often as in those that run."""

    def _flags(self) -> list[str]:
        return [*super()._flags(), TWICE]


def _verify(programs: Programs) -> Iterator[tuple[str, objects.Verified | str]]:
    """Yield what the verifier says of each program: its figures, or why it refuses."""
    programs._need_sent()
    for name, compiled in programs._compiled.programs.items():
        code = programs._bound(compiled)
        try:
            yield name, objects.verified(name, code, *programs._flags_and_kind(name))
        except objects.Refused as why:
            yield name, str(why)


def verifier(say: Say, _ports: Mapping[str, str]) -> None:
    """Load every program, of live ports and of captures, and all of them with their loops doubled."""
    for build, kind in (("programs", Programs), ("doubled", Doubled)):
        for replay in (False, True):
            programs = kind(SMALL, replay=replay, alone=True)
            try:
                for name, found in _verify(programs):
                    named = name + (REPLAY if replay else "")
                    if isinstance(found, str):
                        say(verified=named, build=build, refused=found)
                    else:
                        say(verified=named, build=build, instructions=found.instructions, seconds=found.seconds)
            finally:
                programs.close()


def table(say: Say, _ports: Mapping[str, str]) -> None:
    """Run the table of packets of tests/kernel by BPF_PROG_TEST_RUN."""
    from tests.kernel.rig import Rig
    from tests.kernel.twin import Flow

    rig, wrong = Rig(), []
    rows = json.loads(TABLE.read_text())
    try:
        for row in rows:
            rig.forget()
            found = rig.run(bytes.fromhex(row["frame"]), row["role"])
            flow = Flow(*row["flow"]) if row["flow"] else None
            if (found.verdict, found.why, found.flow) != (row["verdict"], frozenset(row["why"]), flow):
                wrong.append(f"{row['says']}: {found}")
    finally:
        rig.close()
    say(check="table of packets", ok=not wrong, text=f"{len(rows) - len(wrong)} of {len(rows)} rows", wrong=wrong)


class _Records:
    """A sink that keeps what the pipeline publishes."""

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def records(self, batch: Any) -> None:
        self.batches.append(batch)

    def followed(self) -> frozenset[str]:
        return frozenset()

    def detail(self, *_: object) -> None:
        pass


def _interfaces(ports: Mapping[str, str]) -> list[Interface]:
    """Return N3 and N6 by MAC address, natively or not at all."""
    roles = (("n3", Role.N3), ("n6", Role.N6))
    return [Interface(name, role, mac=ports[name], xdp=XdpMode.NATIVE) for name, role in roles]


def _wait_for(plane: DataPlane, frames: int) -> int:
    """Return how many frames N3 has counted once there are so many, or none came for long."""
    seen, since = 0, time.monotonic()
    while seen < frames and time.monotonic() - since < _PATIENCE_S:
        now = plane.read_counters("n3")["frames"]
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.02)  # between looks
    return seen


def traffic(say: Say, ports: Mapping[str, str]) -> None:
    """Attach natively, count frames that come in at N3, and make records of them."""
    plane = DataPlane(SMALL)
    try:
        modes = [plane.attach(interface).xdp_mode for interface in _interfaces(ports)]
        say(check="native XDP", ok=modes == ["native", "native"], text=f"N3 {modes[0]}, N6 {modes[1]}")
        say(check="records", **_records(say, plane))
    finally:
        plane.close()


def _records(say: Say, plane: DataPlane) -> dict[str, Any]:
    from nf.apps.signatures import Signatures
    from nf.pipeline import Pipeline
    from nf.privacy import Pseudonymiser
    from nf.sessions import BindingStore

    sink, offset_s = _Records(), time.time() - time.monotonic()
    store, pseudonyms = BindingStore(SMALL.sessions), Pseudonymiser(bytes(32), 1)
    pipeline = Pipeline(plane, Signatures.load(()), store, pseudonyms, sink, clock_offset_s=offset_s)
    say(send=FRAMES)
    _wait_for(plane, FRAMES)
    found = plane.read_counters("n3")
    due = {"frames": FRAMES, "gtpu_gpdu": FRAMES, "counted": FRAMES, "dropped": FRAMES}
    wrong = [f"{name} {found[name]}" for name in due if found[name] != due[name]]
    packets = int(plane.read_flows()[1]["packets"].sum())
    say(
        check="frames counted",
        ok=not wrong and packets == FRAMES,
        text=f"{found['counted']:,} of {FRAMES:,}",
        wrong=[*wrong, f"{packets} packets in the flows"] if wrong or packets != FRAMES else [],
    )
    pipeline.sweep(time.time())
    rows = sum(len(batch) for batch in sink.batches)
    octets = sum(int(batch.columns["ul_bytes"].sum()) for batch in sink.batches)
    right = (rows, octets) == (TUNNELS, found["counted_octets"])
    return {"ok": right, "text": f"{rows} of {TUNNELS} rows, {octets:,} of {found['counted_octets']:,} bytes in them"}


def capabilities(say: Say, ports: Mapping[str, str]) -> None:
    """Do the same as a service does that has four capabilities, kill it, and start it again."""
    first, second = _with_few(ports, "killed"), _with_few(ports, "again")
    ok = first.returncode == -signal.SIGKILL and second.returncode == 0
    texts = [done.stdout.strip() or "\n".join(done.stderr.strip().splitlines()[-3:]) for done in (first, second)]
    say(check="four capabilities", ok=ok, text="; ".join(texts))


def _with_few(ports: Mapping[str, str], then: str) -> subprocess.CompletedProcess[str]:
    few = ",".join(f"+{name}" for name in CAPABILITIES)
    words = ["setpriv", "--bounding-set", f"-all,{few}", "--inh-caps", "-all", "--no-new-privs", sys.executable, "-B"]
    words += ["-c", "from tests.kernels import inside; inside.with_few()", json.dumps(dict(ports)), then]
    environment = {**os.environ, "PYTHONPATH": "."}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def with_few() -> None:
    """Load, attach, read and count with the capabilities that this process was left; tell what takes more."""
    ports, then = json.loads(sys.argv[-2]), sys.argv[-1]
    plane = DataPlane(SMALL)
    try:
        for interface in _interfaces(ports):
            plane.attach(interface)
        if then == "again":
            found = plane.taken_over and plane.read_counters("n3")["frames"] >= 0
            print("after SIGKILL taken over" if found else "NOTHING was taken over after SIGKILL")
            sys.exit(not found)
        plane.set_policies({})
        plane.set_suffixes({"example.org": 1})
        plane.read_flows()
        plane.read_counters()
        plane.swap()
        fd = objects.open_program(plane.attached["n3"].program_id)
        told = "a program by its number takes more" if fd < 0 else "nothing takes more"
        print(f"loaded, attached and swapped, {told}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    finally:
        plane.close()


STEPS = {
    "the verifier on every program": verifier,
    "the table of packets": table,
    "two ports, frames, records": traffic,
    "the same with four capabilities": capabilities,
}


def run(told: IO[str], ports: Mapping[str, str]) -> None:
    """Take all steps, and tell of them; *ports* are the MAC addresses of n3 and n6."""

    def say(**what: Any) -> None:
        told.write(json.dumps(what) + "\n")
        told.flush()

    say(kernel=os.uname().release, frags=takes_frags())
    for name, step in STEPS.items():
        say(phase=name)
        try:
            step(say, ports)
        except (SnfError, OSError, KeyError, ValueError) as why:
            say(check=name, ok=False, text=f"{type(why).__name__}: {why}")
    with contextlib.suppress(OSError):
        say(done=True)
