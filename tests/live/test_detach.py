"""``snf detach`` takes back what a function that was killed left, and leaves a living one alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lab.net import Net, inside
from mgmt.cli.main import main
from nf.kernel import links, objects, xdp
from nf.settings import Export, Interface, Mode, Role, Settings

ROOT = Path(__file__).resolve().parents[2]
TAP = Interface("tap", Role.N6)
SETTINGS = Settings(
    interfaces=(
        Interface("upf", Role.N3, Mode.LOCAL, sent=True),
        TAP,
        Interface("ran", Role.N3, Mode.INLINE, peer="core"),
        Interface("core", Role.N3, Mode.INLINE, peer="ran"),
    ),
    export=Export(endpoint="ipc:///tmp/snf-detach.sock"),
)
CHILD = """
import sys
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from nf.service import Service
from nf.settings import Settings
from tests.live.test_detach import SETTINGS
with Service() as service:
    service.apply(Settings(), SETTINGS)
    print("ready", flush=True)
    service.run()
"""
PORTS = ("tap", "ran", "core", "upf")


@pytest.fixture
def home() -> Iterator[str]:
    with Net() as net:
        net.add("host")
        for port in PORTS:
            net.veth(("host", port), ("host", f"{port}-far"))
        with inside(net.path("host")):
            for left in links.locks().glob(f"{os.stat('/proc/self/ns/net').st_ino}-*"):
                left.unlink()  # the kernel gives a number again, and a function that was killed there left its lock
            yield net.path("host")


def state() -> dict[str, object]:
    """Say what iproute2 and ethtool know of the ports here; names in the BPF file system; locks."""
    said = json.loads(subprocess.run(["ip", "-j", "-d", "link"], capture_output=True, text=True, check=True).stdout)
    seen: dict[str, object] = {}
    for link in said:
        features = subprocess.run(["ethtool", "-k", link["ifname"]], capture_output=True, text=True, check=False).stdout
        lines = [line.strip() for line in features.splitlines() if line.startswith(("rx-vlan-offload", "generic-rec"))]
        qdiscs = subprocess.run(
            ["tc", "qdisc", "show", "dev", link["ifname"]], capture_output=True, text=True, check=True
        )
        seen[link["ifname"]] = "PROMISC" in link["flags"], link.get("promiscuity"), "xdp" in link, lines, qdiscs.stdout
    namespace = os.stat("/proc/self/ns/net").st_ino
    seen["names"] = sorted(str(path) for path in Path("/sys/fs/bpf").glob(f"supernetflow*/{namespace}-*"))
    seen["locks"] = sorted(path.name for path in Path("/run/supernetflow").glob(f"{namespace}-*"))
    return seen


def put_on_a_program() -> None:
    """Put a program of somebody else on a port."""
    code = np.zeros(2, objects.INSTRUCTION)
    code["code"], code["immediate"] = (0xB7, 0x95), (2, 0)  # r0 = XDP_PASS, exit
    fd = objects.load_program("other", code, 0)
    assert xdp.set_program(links.find(TAP).ifindex, fd, xdp.GENERIC) == ""
    os.close(fd)


@contextmanager
def function(home: str) -> Iterator[subprocess.Popen[str]]:
    """A function with a mirror port and an inline pair, which is killed in the end."""
    words = [sys.executable, "-c", CHILD, home]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            os.kill(child.pid, signal.SIGKILL)


@pytest.fixture
def detach(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``snf detach``; return what it says."""

    def run(*ports: str) -> str:
        main(["detach", *ports])
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``snf detach``, which is refused in one sentence; return it."""

    def run(*ports: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["detach", *ports])
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    return run


class TestOfTheDead:
    """After SIGKILL it makes all ports as they were before the start, and says what it took."""

    def test_all_is_as_before(self, home: str, detach: Callable[..., str], refused: Callable[..., str]):
        subprocess.run(["ip", "link", "set", "core", "promisc", "on"], check=True)  # somebody's own wish
        before = state()
        with function(home) as child:
            living = state()
            assert f"in use by another snf (process {child.pid})" in refused("tap")
            assert detach() == "Nothing is left of a function that died.\n"
            assert state() == living
        assert state() != before

        said = detach("ran")
        assert said.startswith("ran: XDP program ")
        assert "GRO of ran-far, off again" in said
        assert state()["tap"] == living["tap"]

        rest = detach()
        tap = next(line for line in rest.splitlines() if line.startswith("tap: "))
        assert "promiscuous mode" in tap
        assert "VLAN offload, on again" in tap
        assert re.search(r"^upf: .*what it sends", rest, re.MULTILINE)
        assert "names of programs and maps" in rest
        after = state()
        for port in PORTS:
            assert after[port][0] == before[port][0]
        assert after == before

        assert detach() == "Nothing is left of a function that died.\n"

    def test_also_where_somebody_took_the_program_off_before(self, home: str, detach: Callable[..., str]):
        before = state()
        with function(home):
            pass
        for port in PORTS:
            for kind in ("xdp", "xdpgeneric"):
                subprocess.run(["ip", "link", "set", port, kind, "off"], check=False)

        other = Path("/run/supernetflow") / f"{os.stat('/proc/self/ns/net').st_ino}-{links.find(TAP).ifindex}.lock"
        assert other.exists()
        put_on_a_program()

        assert "tap: promiscuous mode" in detach()
        assert state()["tap"][2], "somebody else's program stays"
        subprocess.run(["ip", "link", "set", "tap", "xdpgeneric", "off"], check=True)
        assert state() == before


class TestDamagedNotes:
    """Notes that nobody can read any more are none: what is seen on the port is taken back all the same."""

    def test_the_program_and_the_names_go(self, home: str, detach: Callable[..., str]):
        with function(home):
            pass
        for lock in Path("/run/supernetflow").glob(f"{os.stat('/proc/self/ns/net').st_ino}-*.lock"):
            lock.write_bytes(b"\x95\xff\n\x80promisc\n\x00")

        said = detach("tap", "tap") + detach()

        assert said.count("tap: ") == 1
        assert "tap: XDP program" in said
        assert not any(state()[port][2] for port in PORTS)
        assert state()["names"] == []
        assert detach() == "Nothing is left of a function that died.\n"


class TestOfOthers:
    """A port of somebody else is refused by name, and passed over without one."""

    def test_a_port_that_is_not_here(self, home: str, refused: Callable[..., str]):
        assert "No interface has the name nowhere" in refused("nowhere")

    def test_somebody_else_s_program(self, home: str, refused: Callable[..., str], detach: Callable[..., str]):
        put_on_a_program()

        assert "which is not the function's" in refused("tap")
        assert detach() == "Nothing is left of a function that died.\n"
        assert state()["tap"][2]
