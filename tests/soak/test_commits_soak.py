"""Commits in numbers: SIGKILL at each step, ten thousand in one process, two orchestrators for ten minutes."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from lab.net import Net, inside
from mgmt.netconf.store.confirmed import Confirm
from mgmt.netconf.store.datastore import Datastore
from nf.service import Service
from tests.live import commits
from tests.mgmt import killed

KILLS = int(os.environ.get("SNF_KILLS", "20"))
COMMITS = int(os.environ.get("SNF_COMMITS", "10000"))
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home() -> Iterator[str]:
    with Net() as net:
        net.add("host")
        for port in ("n3", "n6"):
            net.veth(("host", port), ("host", f"far-{port}"))
        with inside(net.path("host")):
            yield net.path("host")


class TestKilled:
    """After SIGKILL at any step the configuration is the old or the new one, and the kernel agrees."""

    @pytest.mark.timeout(7200)
    @pytest.mark.parametrize("step", commits.STEPS)
    def test_a_function_at_each_step(self, home, tmp_path, step):
        for number in range(KILLS):
            assert commits.killed_at(home, tmp_path / str(number), step) == commits.EXPECTED[step]

    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("step", [*killed.STEPS, "waiting"])
    def test_confirmed_commits_at_each_step(self, tmp_path, step):
        for number in range(KILLS):
            folder = tmp_path / str(number)
            folder.mkdir()
            killed.begin(folder)
            assert killed.change(folder, step, Confirm(600, "x" if number % 2 else None)) == -signal.SIGKILL
            assert killed.after(folder) == "old"


class TestMemory:
    """Ten thousand commits of a real function leave its memory and its files as they were."""

    @pytest.mark.timeout(7200)
    def test_ten_thousand(self, home, tmp_path):
        def resident_kib() -> int:
            gc.collect()
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024

        with Service() as service:
            datastore = Datastore(tmp_path / "state", service, etree.tostring(commits.config("old")))
            session = datastore.open_session("soak")

            def commit(number: int) -> None:
                which = ("old", "new")[number % 2]
                datastore.edit(session, policies(which))
                datastore.commit(session)

            for number in range(COMMITS // 10):
                commit(number)
            before, files = resident_kib(), len(list((tmp_path / "state").iterdir()))
            for number in range(COMMITS):
                commit(number)
            after = resident_kib()
            assert datastore.revision >= COMMITS
        print(f"\n{COMMITS} commits: {before} KiB before, {after} KiB after")
        assert after - before < 4096
        assert len(list((tmp_path / "state").iterdir())) == files


def policies(which: str) -> etree._Element:
    """Return the policies of a configuration alone."""
    whole = commits.config(which)
    for child in list(whole):
        if etree.QName(child).localname != "policies":
            whole.remove(child)
    return whole


class TestRace:
    """Two orchestrators race on lock, edit, commit and kill."""

    @pytest.mark.timeout(7200)
    def test_for_ten_minutes(self):
        words = [sys.executable, "-m", "pytest", "-q", "-s", "-n0", "--show-capture=no", "tests/mgmt/test_races.py"]
        environment = {"SNF_RACE_S": "600"} | os.environ
        assert subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode == 0
