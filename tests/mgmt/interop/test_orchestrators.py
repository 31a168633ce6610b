"""Each block of docs/orchestrators.md does what it says; only address, port, user and keys are replaced."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.wait import slowness
from tests.mgmt.interop.clients import BASE, in_a_terminal

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "orchestrators.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def here(bench) -> Callable[[str], str]:
    """Replace what the page says of a place by the server of the test."""
    host_key = (bench.datastore.state_dir / "ssh_host_key.pub").read_text().split()[1]
    words = {
        "192.0.2.10": "127.0.0.1",
        "830": str(bench.server.port),
        "/keys/alice": str(bench.key),
        "AAAAC3NzaC1lZDI1NTE5AAAAIExample": host_key,
    }
    return lambda text: re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def policies(bench) -> list[str]:
    return [policy.name for policy in bench.datastore.settings.policies]


class TestNcclient:
    """The Python library of most orchestrators."""

    def test_its_block(self, bench, here):
        (block,) = blocks("python")
        run = subprocess.run([sys.executable, "-c", here(block)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert "<name>video</name>" in run.stdout
        assert policies(bench) == ["video"]


class TestNetconfConsole:
    """A command for the shell."""

    def test_its_block(self, bench, here, tmp_path):
        block = blocks("sh")[0]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        run = subprocess.run(
            ["bash", "-euc", here(block)],
            capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        assert "rpc-error" not in run.stdout
        assert "console" in run.stdout
        assert policies(bench) == ["console"]


class TestYangcli:
    """A client that is led by the modules."""

    def test_its_block(self, bench, here, tmp_path):
        (commands,) = blocks("yangcli")
        (tmp_path / "commands").write_text(commands)
        words = here(blocks("sh")[1]).replace("\\\n", " ").split()
        said = in_a_terminal(words, tmp_path)
        modules, answered, rest = said.partition("\nRPC ")
        assert answered, said
        assert re.search(r"^snf-(applications|interfaces|qoe)@[\d-]+\.yang:.*error", modules, re.M) is None, modules
        assert "rror" not in rest, rest
        assert rest.count("class video") == 2
        assert [application.name for application in bench.datastore.settings.applications] == ["campus"]


class TestOrder:
    """The requests of NSO and OpenDaylight in their order."""

    def test_each_is_answered(self, bench):
        requests = [line for block in blocks("xml") for line in block.splitlines() if line.startswith("<")]
        with bench.manager() as session:
            for number, request in enumerate(requests, 1):
                message = f'<rpc message-id="{number}" xmlns="{BASE}">{request}</rpc>'.encode()
                reply, _ = session.session.send_rpc(message).result(timeout=20 * slowness())
                assert b"rpc-error" not in reply, (request, reply)
        assert sorted(policies(bench)) == ["nso", "odl"]
