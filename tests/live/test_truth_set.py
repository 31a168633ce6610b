"""A set of the lab of truth is one folder with capture, account, conditions and load; a voice is the shortest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lab.net import leftovers
from lab.truth.sets import make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "rtp"
    given = {"network": "random", "loss": "0.05", "codec": "PCMA", "seconds": "4"}
    make("rtp", 7, given, folder, tmp_path_factory.mktemp("cache"))
    return folder


class TestSet:
    """A set has all that judging an estimate takes."""

    def test_the_capture_has_the_loss_that_the_account_tells(self, made: Path) -> None:
        """Sequence numbers that tshark misses between the first and last packet are those that were left out."""
        truth = json.loads((made / "truth.json").read_text("ascii"))
        words = (
            "-d",
            "udp.port==4000,rtp",
            "-Y",
            "rtp.p_type==8 && ip.src==198.18.4.1",
            "-T",
            "fields",
            "-e",
            "rtp.seq",
        )
        done = subprocess.run(["tshark", "-r", made / "n3.pcap", *words], capture_output=True, text=True, check=True)
        seen = [int(word) for word in done.stdout.split()]
        sent = [n for _, n, _ in truth["far"]["sent"]]
        assert len(seen) > 100
        assert [n - seen[0] for n in seen] == [n - sent[0] for n in sent][: len(seen)]
        assert truth["far"]["left_out"]

    def test_the_conditions_have_seed_load_and_verdict(self, made: Path) -> None:
        about = json.loads((made / "conditions.json").read_text("ascii"))
        assert about["seed"] == 7
        assert about["void"] is (about["load"]["path"]["worst_ms"] > 5 or about["load"]["clients"]["worst_ms"] > 50)

    def test_nothing_is_left(self, made: Path) -> None:
        assert made.exists()
        assert leftovers() == []
