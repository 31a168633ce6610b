"""Ansible's netconf_config and netconf_rpc: the blocks of docs/orchestrators.md, and a task that fails.

In ``make soak``, because Ansible is large: scripts/ansible makes it an environment of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "orchestrators.md").read_text()
FOLDER = Path("/var/cache/snf-ansible")
SHOWN = "      register: found\n\n    - ansible.builtin.debug:\n        var: found.stdout\n"
WRONG = "<action>truncate</action>"  # which needs a leaf snap-length


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def ansible() -> Path:
    subprocess.run([ROOT / "scripts" / "ansible", FOLDER], check=True)
    return FOLDER / "bin" / "ansible-playbook"


@pytest.fixture
def play(bench, ansible: Path, tmp_path: Path) -> Callable[[str], tuple[int, int, str]]:
    """Run a playbook; return the tasks that changed something, those that failed, and what was said."""
    places = {
        "192.0.2.10": "127.0.0.1",
        "=830": f"={bench.server.port}",
        "/keys/alice": str(bench.key),
    }
    inventory = re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], block("ini"))
    (tmp_path / "inventory").write_text(inventory)
    (tmp_path / "ansible.cfg").write_text(
        f"[defaults]\ncollections_path={FOLDER}/collections\nhost_key_checking=false\n"
    )

    def run(playbook: str) -> tuple[int, int, str]:
        (tmp_path / "play.yml").write_text(playbook)
        done = subprocess.run(
            [ansible, "-i", "inventory", "play.yml"],
            cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        said = done.stdout + done.stderr
        counts = re.search(r"changed=(\d+) .*failed=(\d+)", said)
        assert counts, said
        return int(counts[1]), int(counts[2]), said

    return run


class TestNetconfConfig:
    """A task says what it did, and one that fails leaves nothing behind."""

    def test_it_is_idempotent(self, bench, play):
        changed, failed, said = play(block("yaml"))
        assert (changed, failed) == (1, 0), said
        assert [policy.name for policy in bench.datastore.settings.policies] == ["ansible"]
        assert play(block("yaml"))[:2] == (0, 0)

    def test_it_says_changed_when_a_leaf_changed(self, bench, play):
        play(block("yaml"))
        assert play(block("yaml").replace("<action>count</action>", "<action>inspect</action>"))[:2] == (1, 0)
        assert bench.datastore.settings.policies[0].action.value == "inspect"

    def test_after_a_task_that_failed_the_next_one_works(self, bench, play):
        changed, failed, said = play(block("yaml").replace("<action>count</action>", WRONG))
        assert (changed, failed) == (0, 1), said
        assert "snap-length" in said
        assert bench.datastore.lock_owner("candidate")[0] is None
        assert play(block("yaml"))[:2] == (1, 0)
        assert bench.datastore.settings.policies[0].action.value == "count"

    def test_the_operation_is_answered(self, play):
        _, failed, said = play(block("yaml") + SHOWN)
        assert failed == 0, said
        assert ">0</known>" in said
