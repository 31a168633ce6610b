"""The programs on the kernels that they are for: ``python -m tests.kernels [6.1] [6.12] [here]``, all without a name.

6.1 and 6.12 are Debian 12's, booted in QEMU; *here* is the kernel at hand, in namespaces. On each: every program
loads with half of the verifier's limits to spare, natively on two ports, the table of packets holds, frames are
counted one by one, records come out, and four capabilities are enough. Exit 1 when anything of it does not.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.net import LabError, Net, interruptible
from nf.errors import SnfError
from nf.kernel import compiled, source
from tests.kernels import archive, debian, inside
from tests.kernels.machine import MACS, Machine
from tests.kernels.report import Report

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = ROOT / "build/kernels"  # results that a second run need not make again
HERE = "here"
PACKAGES = (  # of the environment, that what runs inside imports
    *("numpy", "numpy.libs", "cryptography", "cffi", "_cffi_backend*", "publicsuffixlist", "hpack", "certifi"),
    *("msgpack", "zstandard", "dns"),
)
PROGRAMS = ("/usr/sbin/ip", "/usr/bin/setpriv", "/usr/bin/mount")
SOURCES = ("feed", "nf", "gtp", "bpf", "tests/kernels")
SINGLE = ("tests/kernel/rig.py", "tests/kernel/twin.py", "tests/kernel/wrappings.py")


def frames() -> Iterator[bytes]:
    """Yield the GTP-U frames that a gNB sends: packets of some UEs in turn, of all lengths."""
    from scapy.layers.inet import IP, UDP
    from scapy.packet import Raw

    from tests.kernel.packets import SERVER, ether, gtpu, outer, psc

    dice = random.Random(29_281)
    for number in range(inside.FRAMES):
        ue = number % inside.TUNNELS
        inner = IP(src=f"10.45.1.{ue + 1}", dst=SERVER) / UDP(sport=40_000 + ue, dport=443)
        tunnel = outer() / gtpu(teid=0x1000 + ue, E=1, next_ex=0x85) / psc(1)
        yield ether(tunnel / inner / Raw(dice.randbytes(dice.randrange(1, 1200))))


def rows() -> list[dict[str, Any]]:
    """Return the table of packets as values."""
    from tests.kernel.table import INNER, TABLE

    found = []
    for row in TABLE:
        tunnelled = row in INNER or (row.flow and row.flow.gtpu)
        why = set(row.why) | ({"gtpu_gpdu"} if tunnelled else set())
        why |= {"tunnel_unknown"} if row.flow and row.flow.gtpu else set()
        flow = list(row.flow) if row.flow else None
        found.append(
            {"says": row.says, "frame": row.frame.hex(), "role": row.role, "why": sorted(why), "flow": flow}
            | {"verdict": row.verdict}
        )
    return found


# -- what goes into the machine ---------------------------------------------


def _root() -> Path:
    """Return the archive of Python and its packages, made when there is none for this environment."""
    told = [sys.version, *PACKAGES, *PROGRAMS, (ROOT / "constraints/all.txt").read_text()]
    told += [Path(archive.__file__).read_text()]
    path = KEPT / f"root-{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}.cpio"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        for old in KEPT.glob("root-*.cpio"):
            old.unlink()
        partly = path.with_suffix(".part")
        partly.write_bytes(archive.python(PACKAGES, PROGRAMS).pack())
        partly.rename(path)
    return path


def _sources(path: Path, cache: Path) -> None:
    """Write the archive of what may be another one each time: the project, its compiled programs, the table."""
    made = archive.Archive()
    for name in SOURCES:
        if name != "bpf":
            compileall.compile_dir(ROOT / name, quiet=2)
        for file in archive.tree(ROOT / name):
            made.file(file, f"/srv/snf/{file.relative_to(ROOT)}")
    for name in SINGLE:
        made.file(ROOT / name, f"/srv/snf/{name}")
    made.data(f"/srv/snf/{inside.TABLE}", json.dumps(rows()).encode())
    for file in cache.glob("*.snf"):
        made.data(f"/srv/cache/{file.name}", file.read_bytes())
    made.data("/init", (Path(__file__).parent / "first.py").read_bytes(), 0o755)
    path.write_bytes(made.pack())


def _compile(cache: Path) -> None:
    """Compile all that is loaded later, where that is not done: for live ports and captures, once with longer loops.

    All these kernels take frames of several buffers (Linux 5.18).
    """
    os.environ["SNF_CACHE"] = str(cache)
    for replay in (False, True):
        for loops in ([], [inside.TWICE]):
            flags = [*source.flags(replay=replay), "-DXDP_FRAGS", *loops]
            compiled.compiled(flags)
            compiled.compiled([*flags, source.SENT])


# -- the kernels -------------------------------------------------------------


def _listen(told: Iterator[dict[str, Any]], send: Callable[[], None], report: Report) -> None:
    for what in told:
        if "send" in what:
            send()
        report.hear(what)


def _boot(series: str, cache: Path, report: Report) -> None:
    report.phase(f"Debian's kernel {series}")
    kernel = debian.kernel(series, KEPT)
    report.phase("the machine's files")
    with tempfile.NamedTemporaryFile(prefix="snf-kernel-", suffix=".cpio") as file:
        path = Path(file.name)
        _sources(path, cache)
        report.phase(f"booting {kernel.release}")
        words = f"n3={MACS[0]} n6={MACS[1]}"
        with Machine(kernel, [_root(), path], words) as machine:

            def send() -> None:
                for frame in frames():
                    machine.ports[0].send(frame)

            _listen(machine.told(), send, report)
            if not report.done:
                report.failed(f"the machine ended before its work was done. Its last words:\n{machine.last_words()}")


@contextmanager
def _namespace() -> Iterator[tuple[Net, dict[str, str]]]:
    """Make two ports, the far ends of which are in a namespace of their own."""
    with Net() as net:
        net.add("probe", "far")
        for name in ("n3", "n6"):
            net.veth(("probe", name), ("far", name))
        told = json.loads(net.run("probe", "ip", "-json", "link", "show"))
        yield net, {link["ifname"]: link["address"] for link in told}


def _here(cache: Path, report: Report) -> None:
    report.phase("namespaces")
    table = ROOT / inside.TABLE
    with _namespace() as (net, macs):

        def far_end() -> socket.socket:
            port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            port.bind(("n3", 0))
            return port

        with net.call("far", far_end) as port:

            def send() -> None:
                for frame in frames():
                    port.send(frame)

            ports = {name: macs[name] for name in ("n3", "n6")}
            words = f"import sys; from tests.kernels import inside; inside.run(sys.stdout, {ports!r})"
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text(json.dumps(rows()))
            try:
                with subprocess.Popen(
                    [*net.prefix("probe"), sys.executable, "-B", "-c", words],
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                    env={**os.environ, "SNF_CACHE": str(cache)},
                ) as process:
                    assert process.stdout
                    _listen((json.loads(line) for line in process.stdout), send, report)
            finally:
                table.unlink()
    if not report.done:
        report.failed("what ran in the namespace ended before its work was done; see above")


def main() -> int:
    """Return 0 when all holds on each kernel."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels", description=__doc__)
    parser.add_argument("kernel", nargs="*", metavar="KERNEL", help=f"of: {', '.join(debian.PACKAGES)}, {HERE}")
    names = parser.parse_args().kernel or [*debian.PACKAGES, HERE]
    if unknown := set(names) - {*debian.PACKAGES, HERE}:
        parser.error(f"no kernel is named {', '.join(sorted(unknown))}; there are {', '.join(debian.PACKAGES)}, {HERE}")
    reports = []
    cache = KEPT / "compiled"
    with interruptible():
        begun = time.monotonic()
        print("compiling ...", end=" ", flush=True)
        _compile(cache)
        print(f"{time.monotonic() - begun:.1f} s", flush=True)
        for name in names:
            report = Report(name)
            reports.append(report)
            try:
                _here(cache, report) if name == HERE else _boot(name, cache, report)
            except (LabError, SnfError, OSError) as why:
                report.failed(str(why))
            report.end()
    for report in reports:
        report.show()
    return 0 if all(report.ok for report in reports) else 1


sys.exit(main())
