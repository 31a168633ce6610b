"""Two packages on one host: commands of the history go on in the collector's environment, those of the probe do not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgmt.cli import beside
from nf.errors import SnfError
from tests.test_house import ROOT

# A process in which the history is not installed, and the environment of the collector is the folder that is given.
_PROBE = """
import sys
from pathlib import Path
from mgmt.cli import beside
beside._COLLECTOR = Path(sys.argv.pop(1))
beside.find_spec = lambda name: None
from mgmt.cli.main import main
main()
"""
_OWNER = 65_534  # nobody


@pytest.fixture
def collector(tmp_path: Path) -> Path:
    """Return a folder as that of the package, whose command says how it was called."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/snf"
    command.write_text('#!/bin/sh\necho "collector: $@"\nexit 7\n')
    command.chmod(0o755)
    return tmp_path


def probe(collector: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PROBE, str(collector), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


class TestHandedOver:
    """A command of the history is the collector's, with its words and its exit status."""

    def test_with_its_words(self, collector: Path) -> None:
        done = probe(collector, "query", "worst", "--by", "gnb")

        assert (done.returncode, done.stdout) == (7, "collector: query worst --by gnb\n")

    def test_without_a_collector_it_says_which_package(self, tmp_path: Path) -> None:
        done = probe(tmp_path, "query", "worst")

        said = "The history is not installed here. Install supernetflow-collector, or pip install"
        assert (done.returncode, said in done.stderr) == (2, True)

    def test_never_to_itself(self, collector: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A collector that is damaged would call itself for ever."""
        monkeypatch.setattr(beside, "_COLLECTOR", collector)
        monkeypatch.setattr(beside, "find_spec", lambda _: None)
        monkeypatch.setattr(sys, "prefix", str(collector))

        with pytest.raises(SnfError, match="not installed here"):
            beside.needed()


class TestProbe:
    """The environment of the collector has nothing that the kernel is asked with, and says so."""

    def test_refused_there_alone(self, collector: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(beside, "_COLLECTOR", collector)
        beside.probe_needed()

        monkeypatch.setattr(sys, "prefix", str(collector))
        with pytest.raises(SnfError, match=r"The probe is not installed here\. Install supernetflow\."):
            beside.probe_needed()


class TestOwner:
    """Files that root has written in a folder of the service are the service's."""

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as name:  # pytest's folders are their user's alone
            os.chown(name, _OWNER, _OWNER)
            yield Path(name)

    def test_of_an_erasing(self, folder: Path) -> None:
        command = [sys.executable, "-m", "mgmt.cli.main", "collect", "erase", "nobody", "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

        assert (done.returncode, done.stdout) == (0, "0 rows in 0 files were erased.\n"), done.stderr
        assert [file.stat().st_uid for file in folder.iterdir()] == [_OWNER]
