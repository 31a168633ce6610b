"""Clients that others wrote do what an orchestrator does, with no workaround: each step with each client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ncclient.operations import RPCError
from netconf_client.error import RpcError
from netconf_client.ncclient import Manager

from lab.wait import slowness
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

CREATE = "create /applications/application -- name=a class=video domain=a.example.com confidence=90"


def confirmed_commit(session: Any, seconds: int) -> None:
    """Commit so that it has to be confirmed; the libraries name the time differently."""
    name = "confirm_timeout" if isinstance(session, Manager) else "timeout"
    session.commit(confirmed=True, **{name: str(seconds)})


def xml_of(notification: Any) -> str:
    text = notification.notification_xml
    return text.decode() if isinstance(text, bytes) else str(text)


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


@pytest.mark.clause("R-59610")
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

    def test_a_confirmed_commit_that_is_confirmed(self, session, bench):
        session.edit_config(target="candidate", config=wrapped(policy("a")))
        confirmed_commit(session, 600)
        assert committed(bench) == ["a"]
        session.commit()
        with pytest.raises((RPCError, RpcError)):  # nothing waits for a confirmation any more
            session.cancel_commit()
        assert committed(bench) == ["a"]

    def test_a_confirmed_commit_that_times_out(self, session, bench):
        session.edit_config(target="candidate", config=wrapped(policy("a")))
        confirmed_commit(session, 1)
        assert bench.settles(lambda: committed(bench) == [])
        session.get_config(source="running")

    def test_notifications_of_another_session(self, session, bench):
        session.create_subscription()
        with bench.manager() as other:
            other.edit_config(target="candidate", config=wrapped(policy("a")))
            other.commit()
            number = str(other.session_id)
        heard = [xml_of(session.take_notification(timeout=20 * slowness())) for _ in range(2)]
        (change,) = [event for event in heard if "netconf-config-change" in event]
        assert f"<session-id>{number}</session-id>" in change


@pytest.mark.clause("R-59610")
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

    def test_a_confirmed_commit_that_is_confirmed(self, console, bench):
        file = console.file("policy.xml", policy("a"))
        said = console.run("--timeout", 600, "--edit-config", file, "--commit", "confirmed", "--commit")
        assert "rpc-error" not in said
        assert committed(bench) == ["a"]

    def test_a_confirmed_commit_that_is_not(self, console, bench):
        # It cannot give a persist, so the end of its session undoes the commit where the time-out has not.
        file = console.file("policy.xml", policy("a"))
        said = console.run("--timeout", 1, "--edit-config", file, "--commit", "confirmed")
        assert "rpc-error" not in said
        assert bench.settles(lambda: committed(bench) == [])
        assert [calls[1].policies[0].name for calls in bench.recorder.calls if calls[1].policies] == ["a"]

    def test_notifications(self, console):
        file = console.file("policy.xml", policy("a"))
        said = console.run("--create-subscription", "--edit-config", file, "--commit", "--sleep", 1)
        assert "netconf-config-change" in said

    def test_kill_session(self, console, bench):
        with bench.manager() as victim:
            console.run("--kill-session", victim.session_id)
            assert bench.settles(lambda: not bench.datastore.has_session(victim.session_id))


@pytest.mark.clause("R-59610")
class TestYangcli:
    """yangcli of yuma123."""

    def test_the_text_of_every_module(self, yangcli, modules):
        said = yangcli.run(*(f"get-schema identifier={name}" for name in modules))
        assert [name for name in modules if f"module {name} " not in said] == []

    def test_by_path(self, yangcli, bench):
        said = yangcli.run(
            "lock target=candidate",
            CREATE,
            "validate source=candidate",
            "commit",
            "unlock target=candidate",
            "sget-config /applications source=running",
            "sget /applications/application[name='a']/class",
        )
        assert "rror" not in said, said
        assert said.count("class video") == 2
        assert [application.name for application in bench.datastore.settings.applications] == ["a"]

    def test_a_confirmed_commit_that_is_confirmed_and_its_notification(self, yangcli, bench):
        said = yangcli.run("create-subscription", CREATE, "commit confirmed confirm-timeout=600", "commit")
        assert "rror" not in said, said
        assert "netconf-config-change {" in said
        assert [application.name for application in bench.datastore.settings.applications] == ["a"]

    def test_a_confirmed_commit_that_times_out(self, yangcli, bench):
        said = yangcli.run(CREATE, "commit confirmed confirm-timeout=1 persist=yangcli")
        assert "rror" not in said, said
        assert bench.settles(lambda: bench.datastore.settings.applications == ())
        assert any(new.applications for _, new in bench.recorder.calls)

    def test_kill_session(self, yangcli, bench):
        with bench.manager() as victim:
            yangcli.run(f"kill-session session-id={victim.session_id}")
            assert bench.settles(lambda: not bench.datastore.has_session(victim.session_id))
