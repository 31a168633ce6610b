"""``snf health`` as a supervisor hears it: 0 well, 1 a check is bad, 2 nothing answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mgmt.cli.main import main
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from mgmt.vitals.health import CHECKS
from nf.apply.vitals import PortVitals, Vitals

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def vitals() -> Vitals:
    """A function whose port n3 has no link."""
    return Vitals(interval_s=1.0, ports={"n3": PortVitals("down")})


@pytest.fixture
def ask(
    datastore: Datastore, vitals: Vitals, key_pair: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Ask]:
    """Run the command against a server; return its status and all that it said."""
    users, key = tmp_path / "users", key_pair("probe")
    users.write_text(f"probe {key.with_suffix('.pub').read_text()}")
    with NetconfServer(datastore, Function(dict, vitals=lambda: vitals), port=0, users_file=users) as server:

        def run(*words: str, port: int = server.port) -> tuple[int, str]:
            capsys.readouterr()
            status = 0
            try:
                main(["health", *words, "--netconf", f"127.0.0.1:{port}", "--user", "probe", "--key", str(key)])
            except SystemExit as ended:
                status = int(ended.code or 0)
            said = capsys.readouterr()
            return status, said.out + said.err

        yield run


class TestStatus:
    """The exit status says what a supervisor needs, and the text the rest."""

    def test_a_bad_check_is_named_with_what_was_seen(self, ask: Ask) -> None:
        status, said = ask()
        assert status == 1
        bad = [line for line in said.splitlines() if "BAD" in line]
        assert len(bad) == 1
        assert bad[0].startswith("links-up")
        assert "n3 is down" in bad[0]

    def test_only_the_checks_that_are_given_decide(self, ask: Ask) -> None:
        status, said = ask("--check", "rings-read", "--check", "intervals-end", "--output", "json")
        assert status == 0
        told, _ = json.JSONDecoder().raw_decode(said)
        assert told["healthy"]
        assert [each["name"] for each in told["checks"]] == ["rings-read", "intervals-end"]

    def test_a_check_that_is_none_is_refused(self, ask: Ask) -> None:
        status, said = ask("--check", "links")
        assert status == 2
        assert all(name in said for name in CHECKS)

    def test_nothing_answers(self, ask: Ask) -> None:
        status, said = ask(port=1)
        assert status == 2
        assert "Traceback" not in said
