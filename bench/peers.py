"""nDPI and nfstream on the captures that we run on: CPU of the process, net of its start and of reading the file.

Both are told to open GTP-U. The cost of their start and of reading is measured with a filter that lets nothing through,
in the same rounds. They are installed under build/peers, nfstream from the package index in an environment of its own,
nDPI as Debian's packages unpacked there; nothing of the system or of the project's environment changes.
On a file nobody pays for receiving a packet, which is most of what a kernel path spares: bench/peers_live.py has that.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import captures, rig
from bench.figure import Figure
from bench.ours import Capture, Cost, Ours
from nf.errors import SnfError

ROUNDS = 5
PEERS = captures.ROOT / "build" / "peers"
NFSTREAM = "nfstream==6.6.0"
_DEBS = ("libndpi-bin", "libndpi4.2", "libpcap0.8", "libgcrypt20", "libgpg-error0", "libdbus-1-3")
_NOTHING = "ip proto 200"  # a protocol number that nobody uses: everything is read and nothing is looked at
_STREAM = """
import sys
from nfstream import NFStreamer
if __name__ == "__main__":
    streamer = NFStreamer(source=sys.argv[1], decode_tunnels=True, n_meters=1, bpf_filter=sys.argv[2] or None)
    print(sum(1 for flow in streamer))
"""


def _run(command: Sequence[str | Path], **more: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise SnfError(
            f"A peer cannot be installed: {' '.join(last)}", "The bench needs apt-get and pip for its peers."
        )


def install() -> tuple[list[str], dict[str, str], list[str]]:
    """Return nDPI's command, its environment, and nfstream's command; both are fetched when they are not there."""
    ndpi, stream = PEERS / "ndpi", PEERS / "nfstream"
    if not (ndpi / "usr/bin/ndpiReader").exists():
        rig.progress("fetching nDPI")
        debs = PEERS / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", "-qq", *_DEBS], cwd=debs)
        for deb in debs.glob("*.deb"):
            _run(["dpkg", "-x", deb, ndpi])
    if not (stream / "bin/count_flows.py").exists():
        rig.progress("fetching nfstream")
        _run([sys.executable, "-m", "venv", stream])
        _run([stream / "bin/pip", "install", "-q", NFSTREAM])
        (stream / "bin/count_flows.py").write_text(_STREAM)
    rig.progress("")
    triple = f"{platform.machine()}-linux-gnu"
    library = ":".join(str(ndpi / part / triple) for part in ("usr/lib", "lib"))
    reader = [str(ndpi / "usr/bin/ndpiReader"), "-t", "-q", "-i"]
    return reader, {"LD_LIBRARY_PATH": library}, [str(stream / "bin/python"), str(stream / "bin/count_flows.py")]


def _cpu_s(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return user and system seconds of a process and of its children."""
    with open(os.devnull, "wb") as nothing:
        process = subprocess.Popen(command, stdout=nothing, stderr=nothing, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime


def _ours(ours: Ours, costs: list[Cost]) -> Callable[[], float]:
    def once() -> float:
        costs.append(ours.run())
        return (costs[-1].kernel_ns + costs[-1].user_total_ns) / 1e9

    return once


def _compare(name: str, goal: float, path: Path, capture: Capture, words: str) -> Figure:
    reader, environment, stream = install()
    ours, costs = Ours(capture), list[Cost]()
    n = len(capture.frames)
    try:
        seconds = rig.interleave(
            {
                "nDPI": lambda: _cpu_s([*reader, str(path)], environment),
                "nDPI, start and reading": lambda: _cpu_s([*reader, str(path), "-f", _NOTHING], environment),
                "nfstream": lambda: _cpu_s([*stream, str(path), ""], {}),
                "nfstream, start and reading": lambda: _cpu_s([*stream, str(path), _NOTHING], {}),
                "feed": lambda: ours.empty() / 1e9,
                "ours with feed": _ours(ours, costs),
            },
            ROUNDS,
        )
    finally:
        ours.close()
    net = {
        "nDPI": seconds["nDPI"] - seconds["nDPI, start and reading"],
        "nfstream": seconds["nfstream"] - seconds["nfstream, start and reading"],
        "ours": seconds["ours with feed"] - seconds["feed"],
    }
    cases = {f"{name}, ns a packet": value / n * 1e9 for name, value in net.items()}
    cases["ours, kernel, ns a packet"] = (min(c.kernel_ns for c in costs) - seconds["feed"] * 1e9) / n
    cases["nfstream / ours"] = net["nfstream"] / net["ours"]
    cases["nDPI / our packet path alone"] = cases["nDPI, ns a packet"] / cases["ours, kernel, ns a packet"]
    for stage in costs[0].user_ns:
        cases[f"ours, {stage}, ns a packet"] = min(c.user_ns[stage] for c in costs) / n
    for counter in ("frames", "counted", "flow_new", "handed_off"):
        cases[counter] = costs[-1].counters[counter]
    note = (
        f"{words}. CPU user and system, minimum of {ROUNDS} each; peers net of start and reading; ours: test-run time "
        "of the live program on each frame, net of the feed, and process time of drain, sweep and making messages"
    )
    return Figure(f"nDPI / ours, {name}", net["nDPI"] / net["ours"], "ratio", goal, cases, note, more=True)


def measure() -> list[Figure]:
    """Return the figures of nDPI on both captures; nfstream's are among their cases."""
    rig.one_cpu()
    path, dense = captures.made_dense()
    return [
        _compare("dense capture", 2.5, path, captures.load_mixed(path), str(dense)),
        _compare("real captures", 1.2, *captures.real()),
    ]
