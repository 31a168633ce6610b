"""The memory that the unit is limited to follows from the sizes of the tables, as the kernel charges them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgmt.cli.memory import checks
from nf.apply import memory
from nf.kernel.programs import Programs
from nf.settings import Limits

ROOT = Path(__file__).resolve().parents[2]
SIZES = (Limits(), Limits(flows=262_144), Limits(sessions=262_144), Limits(flows=8_192, sessions=1_024))


def charged_bytes(limits: Limits) -> int:
    """Return what the kernel says of the maps and rings of a data plane (``memlock`` of fdinfo, Linux 6.4)."""
    programs = Programs(limits, replay=False, alone=True)
    try:
        fds = [each.fd for each in programs.maps.values() if each.fd >= 0]
        fds += [fd for kind in programs.rings for fd in kind]
        texts = [Path(f"/proc/self/fdinfo/{fd}").read_text() for fd in fds]
    finally:
        programs.close()
    return sum(int(each) for text in texts for each in re.findall(r"^memlock:\s*(\d+)", text, re.MULTILINE))


class TestTables:
    """The formula is at most a fifth above what the kernel charges, and never below."""

    @pytest.mark.parametrize("limits", SIZES, ids=lambda each: f"{each.flows}-{each.sessions}")
    def test_of_all_sizes(self, limits):
        charged = charged_bytes(limits)

        # The least tables are fixed ones, beside which programs and the bookkeeping of the kernel count for more.
        assert charged <= memory.table_bytes(limits) <= charged * 1.2

    def test_what_a_flow_and_a_session_add(self):
        least, flows, sessions = (
            charged_bytes(Limits(*each)) for each in ((131_072, 65_536), (393_216, 65_536), (131_072, 327_680))
        )
        formula = [
            memory.table_bytes(Limits(*each)) for each in ((131_072, 65_536), (393_216, 65_536), (131_072, 327_680))
        ]

        assert formula[1] - formula[0] == pytest.approx(flows - least, rel=0.02)
        assert formula[2] - formula[0] == pytest.approx(sessions - least, rel=0.02)


@pytest.fixture
def group() -> Iterator[Path]:
    """Return a control group of the memory controller, of either version, that a process can be put into."""
    first = Path("/sys/fs/cgroup/memory")
    if not first.is_dir():
        first = Path("/sys/fs/cgroup")
        (first / "cgroup.subtree_control").write_text("+memory")
    made = first / f"snf-test-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


REFUSED = """
from nf.apply import memory
from nf.errors import BadSettings
from nf.settings import Limits
for flows in (1_000_000, 2_000_000):
    try:
        memory.check(Limits(flows=flows))
        print(flows, "has room")
    except BadSettings as error:
        print(error)
"""


def limit(group: Path, bytes_: int) -> None:
    file = next(each for each in (group / "memory.max", group / "memory.limit_in_bytes") if each.exists())
    file.write_text(str(bytes_))


def inside(group: Path, program: str) -> str:
    """Run a program in the group and return what it prints."""
    words = ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh", sys.executable, "-c", program]
    return subprocess.check_output(words, text=True, cwd=ROOT)


class TestAllowed:
    """The function knows what its control groups let it have, and refuses what cannot have room there."""

    def test_the_limit_is_found(self, group):
        limit(group, 512 << 20)

        said = inside(group, "from nf.apply import memory; print(memory.allowed_bytes())")

        assert int(said) == 512 << 20

    def test_tables_that_have_no_room_are_refused_by_the_numbers(self, group):
        limit(group, 512 << 20)

        said = inside(group, REFUSED)

        assert said == (
            "1000000 has room\n"
            "The tables of 2,000,000 flows and 65,536 sessions take 839 MB, and the memory of this service is "
            "limited to 537 MB. Raise the limit of the unit, as snf memory says, or lower limits of flows and "
            "sessions.\n"
        )

    def test_what_may_be_too_little_is_said(self):
        assert memory.complaint(Limits(), 640 << 20) == ""
        assert memory.complaint(Limits(), None) == ""
        assert "limited to 537 MB, and 131,072 flows and 65,536 sessions may need 671 MB" in memory.complaint(
            Limits(), 512 << 20
        )


class TestUnit:
    """The unit has the limit of the sizes that the function has by default."""

    def test_it_is_what_the_formula_says(self):
        text = (ROOT / "deploy" / "systemd" / "supernetflow.service").read_text()

        assert re.findall(r"^MemoryMax=(\w+)$", text, re.MULTILINE) == [f"{memory.unit_bytes(Limits()) >> 20}M"]

    def test_the_command_prints_a_drop_in(self):
        words = [sys.executable, "-m", "mgmt.cli.main", "memory", "--unit"]
        said = subprocess.check_output(words, text=True, cwd=ROOT)

        assert said.splitlines()[1:] == ["[Service]", "MemoryMax=640M"]

    def test_the_folder_of_the_drop_in_is_made_by_what_it_tells_to_type(self):
        said = subprocess.check_output([sys.executable, "-m", "mgmt.cli.main", "memory"], text=True, cwd=ROOT)

        typed = said.partition("to set it:  ")[2].strip().split("; ")
        assert typed[0].removeprefix("mkdir -p ") == typed[1].partition(">")[2].rpartition("/")[0]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that has systemctl answer with a limit: here no service is installed."""

    def limited(to: str) -> None:
        (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho {to}\n")
        (tmp_path / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return limited


class TestService:
    """Tables that do not fit the memory of the installed service are told before a start is refused."""

    FLOWS = (
        '<network-function xmlns="urn:supernetflow:yang:snf-function">'
        "<limits><flows>{}</flows></limits></network-function>"
    )

    def checked(self, folder: Path, flows: int, *words: str) -> tuple[int, list[dict]]:
        (folder / "c.xml").write_text(f"<config>\n{self.FLOWS.format(flows)}</config>")
        (folder / "c.xml").chmod(0o600)
        command = [sys.executable, "-m", "mgmt.cli.main", "config", "check", "--output", "json", *words]
        done = subprocess.run([*command, folder / "c.xml"], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, [f for f in json.loads(done.stdout)["faults"] if "memory" in f["message"]]

    def test_tables_without_room_are_an_error_here_and_a_warning_elsewhere(self, service, tmp_path):
        service("536870912")  # 512M
        for words, status, severity in (((), 0, "warning"), (("--here",), 1, "error")):
            ended, (fault,) = self.checked(tmp_path, 2_000_000, *words)
            assert (ended, fault["severity"], fault["line"]) == (status, severity, 2)
            assert "limited to 537 MB" in fault["message"]

    def test_less_than_all_of_it_may_need_is_a_warning(self, service, tmp_path):
        service("671088640")  # 640M
        status, (fault,) = self.checked(tmp_path, 500_000, "--here")
        assert (status, fault["severity"]) == (0, "warning")

    @pytest.mark.parametrize("said", ["infinity", "18446744073709551615", "671088640"])
    def test_nothing_is_said_where_there_is_room(self, said: str, service, tmp_path):
        service(said)
        assert self.checked(tmp_path, 131_072, "--here") == (0, [])

    def test_doctor_looks_at_the_configuration_of_the_service(self, service, tmp_path):
        service("671088640")
        (tmp_path / "c.xml").write_text(f"<config>{self.FLOWS.format(500_000)}</config>")
        (small,), (large,) = ([*checks(places)] for places in ([tmp_path / "none.xml"], [tmp_path / "c.xml"]))
        assert small.ok
        assert not large.ok
        assert "500,000 flows" in large.detail
        assert "snf memory FILE --unit" in large.remedy
