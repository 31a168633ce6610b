"""Clients that others wrote do what an orchestrator does, with no workaround: each step with each client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mgmt.interop.clients import (
    BASE,
    LIBRARIES,
    MONITORING,
    RUNNING,
    Console,
    Yangcli,
    dispatch,
    policy,
    schema_request,
)


def committed(bench) -> list[str]:
    return [entry.name for entry in bench.datastore.settings.policies]


def wrapped(xml: str) -> str:
    return f'<config xmlns="{BASE}">{xml}</config>'


@pytest.fixture
def modules(bench) -> list[str]:
    """Names of all modules that the server says it has (RFC 6022, 2.1.3)."""
    with bench.manager() as session:
        schemas = session.get(
            f'<filter><netconf-state xmlns="{MONITORING}"><schemas/></netconf-state></filter>'
        ).data_ele
    names = [str(element.text) for element in schemas.iter(f"{{{MONITORING}}}identifier")]
    assert {"snf-policies", "ietf-netconf-monitoring"} <= set(names)
    return names


@pytest.fixture
def host_key(bench) -> str:
    return (bench.datastore.state_dir / "ssh_host_key.pub").read_text().split()[1]


@pytest.fixture(params=LIBRARIES)
def session(request, bench, host_key) -> Iterator[Any]:
    with LIBRARIES[request.param](bench.server.port, bench.key, host_key) as session:
        yield session


@pytest.fixture
def console(bench, tmp_path: Path) -> Console:
    return Console(bench.server.port, bench.key, tmp_path)


@pytest.fixture
def yangcli(bench, tmp_path: Path) -> Yangcli:
    return Yangcli(bench.server.port, bench.key, tmp_path)


class TestLibraries:
    """ncclient and netconf-client."""

    def test_the_text_of_every_module(self, session, modules):
        for name in modules:
            text = dispatch(session, schema_request(name))
            assert f"module {name} " in text

    def test_lock_edit_validate_commit(self, session, bench):
        session.lock(target="candidate")
        session.edit_config(target="candidate", config=wrapped(policy("a")))
        session.validate(source="candidate")
        session.commit()
        session.unlock(target="candidate")
        assert committed(bench) == ["a"]
        assert "<name>a</name>" in dispatch(session, RUNNING)

    def test_kill_session_frees_the_lock_of_the_other(self, session, bench):
        with bench.manager() as victim:
            victim.lock(target="candidate")
            session.kill_session(str(victim.session_id))
            assert bench.settles(lambda: bench.datastore.lock_owner("candidate")[0] is None)
            session.lock(target="candidate")


class TestConsole:
    """netconf-console2."""

    def test_hello(self, console):
        assert ":base:1.1<" in console.run("--hello")

    def test_the_text_of_every_module(self, console, modules):
        said = console.run(*(word for name in modules for word in ("--get-schema", name)))
        assert [name for name in modules if f"module {name} " not in said] == []

    def test_lock_edit_validate_commit(self, console, bench):
        file = console.file("policy.xml", policy("a"))
        console.run("--lock", "--edit-config", file, "--validate", "candidate", "--commit", "--unlock")
        assert committed(bench) == ["a"]

    def test_kill_session(self, console, bench):
        with bench.manager() as victim:
            console.run("--kill-session", victim.session_id)
            assert bench.settles(lambda: not bench.datastore.has_session(victim.session_id))


class TestYangcli:
    """yangcli of yuma123."""

    def test_the_text_of_every_module(self, yangcli, modules):
        said = yangcli.run(*(f"get-schema identifier={name}" for name in modules))
        assert [name for name in modules if f"module {name} " not in said] == []

    def test_by_path(self, yangcli, bench):
        said = yangcli.run(
            "lock target=candidate",
            "create /policies/policy -- name=a application=youtube action=count",
            "validate source=candidate",
            "commit",
            "unlock target=candidate",
            "sget-config /policies source=running",
            "sget /policies/policy[name='a']/action",
        )
        assert "rror" not in said, said
        assert said.count("action count") == 2
        assert committed(bench) == ["a"]

    def test_kill_session(self, yangcli, bench):
        with bench.manager() as victim:
            yangcli.run(f"kill-session session-id={victim.session_id}")
            assert bench.settles(lambda: not bench.datastore.has_session(victim.session_id))
