"""docs/first-port.md as a person with only that page follows it: each command of it, with real traffic on the ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.net import Net, inside
from lab.wait import wait_until
from tests.deploy.page import Block, blocks
from tests.deploy.person import PORTS, Shell, crosses, traffic

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-port.md"
# The person's machine: the files of this one, with changes that are gone in the end.
MACHINE = """
mount -t tmpfs none {folder}
for place in etc var root; do
    mkdir {folder}/$place {folder}/$place.work
    mount -t overlay -o lowerdir=/$place,upperdir={folder}/$place,workdir={folder}/$place.work none /$place
done
export HOME=/root
unset XDG_CONFIG_HOME SNF_CLIENT
exec bash --norc
"""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with Net() as net:
        net.add("host")
        net.add("far")
        for port in PORTS:
            net.veth(("host", port), ("far", f"{port}-far"), mtu=9000)
        with inside(net.path("far")):
            for port in PORTS:
                subprocess.run(["ethtool", "-K", f"{port}-far", "gro", "on"], check=True, capture_output=True)
            yield net.path("host")


class Person(Shell):
    """A shell on the machine, and a second one for what goes on."""

    def __init__(self, host: str, folder: Path) -> None:
        words = ["nsenter", f"--net={host}", "unshare", "--mount", "--propagation", "private", "bash", "-c"]
        super().__init__([*words, MACHINE.format(folder=folder)], ROOT)
        self.running: subprocess.Popen[str] | None = None
        self.log = folder.with_suffix(".log")

    def types(self, block: Block) -> str:
        return self.leaves(block) if "background" in block.marks else super().types(block)

    def leaves(self, block: Block) -> str:
        """Type a command in a second shell of the machine, where it goes on; return what it says when it is ready."""
        words = ["nsenter", f"--target={self.process.pid}", "--net", "--mount", "--wd=.", "bash", "-c"]
        with self.log.open("w") as log:
            environment = os.environ | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}
            self.running = subprocess.Popen(
                [*words, f"exec {block.text}"], cwd=ROOT, stdout=log, stderr=log, env=environment, text=True
            )
        wait_until(lambda: "NETCONF on" in self.log.read_text() or self.running.poll() is not None, "it answers", 60)
        assert self.running.poll() is None, self.log.read_text()
        return self.log.read_text()

    def stops(self) -> None:
        """Press Ctrl-C in the second shell."""
        assert self.running is not None
        self.running.send_signal(signal.SIGINT)
        assert self.running.wait(60) == 0, self.log.read_text()

    def close(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.kill()
            self.running.wait()
        super().close()


@pytest.fixture
def person(host: str, tmp_path: Path) -> Iterator[Person]:
    (tmp_path / "machine").mkdir()
    made = Person(host, tmp_path / "machine")
    yield made
    made.close()


class TestPage:
    """A person with a clone gets rows of the own subscribers, a pair that forwards, and a clean machine."""

    def test_each_command_in_its_order(self, person: Person, host: str, shared: Path):
        with traffic(shared):
            for block in blocks(PAGE, "clone"):
                if block.heading == "Stop":
                    person.stops()
                person.types(block)
                if block.heading == "An inline pair":
                    wait_until(lambda: crosses("enp6s0-far", "enp7s0-far"), "frames cross the pair")

        said = person.said
        assert "startup.xml can be used: enp3s0 (n3 mirror), enp4s0 (n4 mirror)" in said["Configure"]
        # The captures have five UEs, known by PFCP: each has rows, under a name of 32 digits that a table shortens.
        rows = [line.split() for line in said["First rows"].splitlines()]
        assert len({row[0][:8] for row in rows if row and re.fullmatch("[0-9a-f]{8,32}", row[0])}) == 5
        assert "5 shown of 5 sessions" in said["First rows"]
        assert re.search(r"\+.*enp6s0.*inline", said["An inline pair"])
        assert "Nothing is left of a function that died." in said["Stop"]
        with inside(host):
            links = subprocess.run(["ip", "-d", "link"], capture_output=True, text=True, check=True).stdout
        assert "prog/xdp" not in links
        assert "PROMISC" not in links

    def test_a_person_with_the_package_has_what_is_named_to_install_start_stop_upgrade_and_remove(self):
        typed = {block.heading: block.text for block in blocks(PAGE, "package") if "package" in block.marks}
        assert set(typed) == {"Install", "Start", "Stop", "Upgrade", "Remove"}
        assert not re.search(r"^(make|snf run)", "".join(b.text for b in blocks(PAGE, "package")), re.MULTILINE)
