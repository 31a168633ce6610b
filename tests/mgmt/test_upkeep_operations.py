"""Operations that look after the running function, as a client sees them; the function itself is in tests/live."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from netconf_client.connect import connect_ssh
from netconf_client.ncclient import Manager

from lab.wait import slowness
from mgmt.netconf.caller import Caller
from mgmt.netconf.rpc import Dispatcher
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from mgmt.vitals.health import CHECKS
from nf.apply.purge import Purged
from nf.apply.vitals import PortVitals, Vitals
from nf.errors import BadSignatures, SnfError
from tests.mgmt.raw import BASE, served, tag_of

IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
SNF = "urn:supernetflow:yang:snf-"
YANG_1 = "urn:ietf:params:xml:ns:yang:1"  # RFC 7950, 5.3.1
IMSI = "001010000000001"
PORT = (
    f'<interfaces xmlns="{IF}"><interface><name>n3</name><type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">'
    f'i:ethernetCsmacd</type><capture xmlns="{SNF}interfaces"><role>n3</role></capture></interface>'
    "<interface><name>lo</name><type xmlns:i='urn:ietf:params:xml:ns:yang:iana-if-type'>i:softwareLoopback</type>"
    "</interface></interfaces>"
)


@dataclass
class Asked:
    """A function that writes down what it is asked, and fails when told to."""

    vitals: Vitals = field(default_factory=lambda: Vitals(interval_s=1.0))
    did: list[tuple[str, ...]] = field(default_factory=list)
    fails: SnfError | None = None

    def function(self) -> Function:
        return Function(dict, vitals=lambda: self.vitals, reset_statistics=self.reset, purge_subscriber=self.purge,
                        reload_signatures=self.reload)  # fmt: skip

    def reset(self, name: str) -> bool:
        self.did.append(("reset", name))
        return True

    def purge(self, imsi: str) -> Purged:
        self.did.append(("purge", imsi))
        return Purged(2, 1)

    def reload(self) -> int:
        if self.fails is not None:
            raise self.fails
        return 812


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def ask(datastore: Datastore, asked: Asked, config: Any) -> Callable[[str], etree._Element]:
    """Ask a dispatcher, of which running has two interfaces; one of them is the function's."""
    session = datastore.open_session()
    datastore.edit(session, config(PORT))
    datastore.commit(session)
    dispatcher = Dispatcher(served(datastore, asked.function()))

    def run(operation: str) -> etree._Element:
        rpc = f'<rpc xmlns="{BASE}" message-id="1">{operation}</rpc>'
        return etree.fromstring(dispatcher.handle(Caller(session, "alice", groups=None), rpc.encode()).message)

    return run


def texts(reply: etree._Element, name: str) -> list[str]:
    return reply.xpath(f"//*[local-name()='{name}']/text()")


def action(inside: str) -> str:
    return f'<action xmlns="{YANG_1}">{inside}</action>'


def interface(inside: str) -> str:
    return action(f'<interfaces xmlns="{IF}"><interface>{inside}</interface></interfaces>')


RESET = f'<capture xmlns="{SNF}interfaces"><reset-statistics/></capture>'


class TestHealthCheck:
    """ONAP R-31809: a verdict, its scope and time, and what was looked at."""

    @pytest.mark.parametrize(("status", "state"), [("up", "healthy"), ("down", "unhealthy")])
    def test_it_is_healthy_when_all_is_good(self, ask, asked, status, state):
        asked.vitals = Vitals(interval_s=1.0, ports={"n6": PortVitals(status)})

        reply = ask(f'<health-check xmlns="{SNF}function"/>')

        assert (texts(reply, "state"), texts(reply, "scope")) == ([state], ["snf"])
        assert datetime.fromisoformat(texts(reply, "time")[0]).tzinfo is not None
        assert texts(reply, "name") == list(CHECKS)
        assert texts(reply, "good") == [str(state == "healthy" or name != "links-up").lower() for name in CHECKS]
        assert ("n6 is down" in " ".join(texts(reply, "text"))) == (status == "down")

    def test_it_takes_no_parameter(self, ask):
        assert tag_of(ask(f'<health-check xmlns="{SNF}function"><deep/></health-check>')) == "unknown-element"


class TestPurgeSubscriber:
    """The IMSI goes to the function and nowhere else."""

    def test_it_tells_how_many_sessions(self, ask, asked, caplog):
        caplog.set_level(logging.DEBUG)

        reply = ask(f'<purge-subscriber xmlns="{SNF}subscribers"><imsi>{IMSI}</imsi></purge-subscriber>')

        assert (texts(reply, "sessions"), texts(reply, "configured")) == (["2"], ["1"])
        assert asked.did == [("purge", IMSI)]
        assert "alice purged a subscriber with 2 sessions" in caplog.text
        assert IMSI not in caplog.text + etree.tostring(reply).decode()

    @pytest.mark.parametrize("inside", ["<imsi>0010100000000x1</imsi>", "<imsi/>", "", f"<msisdn>{IMSI}</msisdn>"])
    def test_a_bad_one_is_refused_without_its_value(self, ask, asked, inside, caplog):
        reply = ask(f'<purge-subscriber xmlns="{SNF}subscribers">{inside}</purge-subscriber>')

        assert tag_of(reply) in ("invalid-value", "missing-element", "unknown-element")
        assert asked.did == []
        assert "0010100000000" not in caplog.text + etree.tostring(reply).decode()


class TestReloadSignatures:
    """The files are read anew, or the error says file and line."""

    def test_it_tells_how_many_applications(self, ask):
        assert texts(ask(f'<reload-signatures xmlns="{SNF}applications"/>'), "applications") == ["812"]

    def test_a_fault_is_told(self, ask, asked):
        asked.fails = BadSignatures("video.toml:7: not a domain.", "Mend it.")

        reply = ask(f'<reload-signatures xmlns="{SNF}applications"/>')

        assert tag_of(reply) == "operation-failed"
        assert texts(reply, "error-message") == ["video.toml:7: not a domain. Mend it."]


class TestActions:
    """An action is asked of one node, by the way down to it (RFC 7950, 7.15.2)."""

    def test_it_reaches_the_function_with_the_key(self, ask, asked):
        assert tag_of(ask(interface(f"<name>n3</name>{RESET}"))) == "ok"
        assert asked.did == [("reset", "n3")]

    @pytest.mark.parametrize(
        ("request_", "tag"),
        [
            (action(""), "missing-element"),
            (interface(RESET), "missing-element"),  # which interface
            (interface("<name>n3</name>"), "missing-element"),  # which action
            (interface(f"<name>n6</name>{RESET}"), "data-missing"),
            (interface(f"<name>lo</name>{RESET}"), "data-missing"),  # no container capture
            (interface(f"<name>n3</name>{RESET}{RESET}"), "bad-element"),
            (interface(f"<name>n3</name><name>n3</name>{RESET}"), "bad-element"),
            (interface("<name>n3</name><enabled/>"), "unknown-element"),
            (action('<interfaces xmlns="urn:example"/>'), "unknown-element"),
            (interface(f"<name>n3</name>{RESET.replace('statistics/>', 'statistics><all/></reset-statistics>')}"),
             "unknown-element"),
            (f"<action>{PORT}</action>", "operation-not-supported"),  # not in the namespace of YANG
        ],
    )  # fmt: skip
    def test_one_that_leads_nowhere_is_refused(self, ask, asked, request_, tag):
        assert tag_of(ask(request_)) == tag
        assert asked.did == []

    def test_the_error_says_where(self, ask):
        reply = ask(interface(f"<name>n6</name>{RESET}"))
        assert texts(reply, "error-path") == [
            "/ietf-interfaces:interfaces/ietf-interfaces:interface[ietf-interfaces:name='n6']"
        ]

    def test_it_works_over_ssh(self, datastore: Datastore, asked: Asked, key_pair: Any, tmp_path: Path, ask: Any):
        users, key = tmp_path / "users", key_pair("alice")
        users.write_text(f"alice {key.with_suffix('.pub').read_text()}")
        with NetconfServer(datastore, asked.function(), port=0, users_file=users) as server:
            session = connect_ssh(host="127.0.0.1", port=server.port, username="alice", key_filename=str(key))
            with Manager(session=session, timeout=20 * slowness()) as client:
                client.dispatch(interface(f"<name>n3</name>{RESET}"))
                reply = client.dispatch(f'<health-check xmlns="{SNF}function"/>')
        assert asked.did == [("reset", "n3")]
        assert texts(etree.fromstring(reply.xml), "state") == ["healthy"]
