"""Grounds of a flow's application: over NETCONF, and of a replay's files."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lxml import etree

from mgmt.cli import explain
from mgmt.cli.netconf_client import Client, Refused, connect
from mgmt.netconf.explain import PARAMETERS, reply_of
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from nf.errors import SnfError
from nf.naming.explain import Ground, Question

FLOW = ("tcp", "10.45.0.2:40000", "[2001:db8::1]:443")
EVIDENCE = "sni: its packets say no name; * learned: it served Tube alone; addresses are shared"
GROUNDS = [
    Ground("sni", "it says <www.example.org>, of no application", "", 0, False),
    Ground("learned", "192.0.2.1 port 443 tcp served Tube alone: 7 pieces of evidence", "Tube", 95, True),
]


class Asked:
    """Questions that the function was asked, and its answers."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.flows: list[list[Ground]] = [GROUNDS]

    def __call__(self, question: Question) -> list[list[Ground]]:
        self.questions.append(question)
        return self.flows


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def client(datastore: Datastore, key_pair: Callable[..., Path], tmp_path: Path, asked: Asked) -> Iterator[Client]:
    key = key_pair("alice")
    users = tmp_path / "users"
    users.write_text(f"alice {key.with_suffix('.pub').read_text()}")
    with (
        NetconfServer(datastore, Function(dict, explain=asked), port=0, users_file=users) as server,
        connect("127.0.0.1", server.port, "alice", key) as client,
    ):
        yield client


class TestOverNetconf:
    """The operation explain-flow of the module snf-explain."""

    def test_the_grounds_come_as_the_function_has_them(self, client: Client, asked: Asked) -> None:
        assert client.explain(explain.flow_of(FLOW)) == [GROUNDS]
        assert asked.questions == [Question(6, "10.45.0.2", 40000, "2001:db8::1", 443)]

    def test_no_flow_is_an_empty_reply(self, client: Client, asked: Asked) -> None:
        asked.flows = []
        assert client.explain(explain.flow_of(FLOW)) == []

    @pytest.mark.parametrize(
        ("name", "value"), [("port", "65536"), ("other-port", "x"), ("address", "10.0.0"), ("protocol", "sctp")]
    )
    def test_a_bad_parameter_is_named(self, client: Client, name: str, value: str) -> None:
        with pytest.raises(Refused, match=name) as refused:
            client.explain(explain.flow_of(FLOW) | {name: value})
        assert refused.value.tag == "invalid-value"

    def test_the_reply_is_what_the_module_says(self, model: Model) -> None:
        module = etree.fromstring(model.schema_text("snf-explain", "", True).encode())  # YIN
        named = {e.get("name") for e in module.iter() if isinstance(e.tag, str)}
        (flow,) = reply_of([GROUNDS])

        assert {etree.QName(e).localname for e in flow.iter()} <= named
        assert set(PARAMETERS) <= named


class TestOfAReplay:
    """snf explain --replay reads the file of --flows."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        row = {"number": 7, "file": "a.pcap", "proto": 6, "src": "10.45.0.2", "sport": 40000, "dst": "2001:db8::1",
               "dport": 443, "app": "Tube", "app_confidence": 95,
               "app_evidence": EVIDENCE}  # fmt: skip
        with (tmp_path / "flows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerow(row)
        return tmp_path

    @pytest.mark.parametrize("words", [["7"], list(FLOW), ["TCP", FLOW[2], FLOW[1]]])
    def test_by_number_or_ends_in_any_order(self, file: Path, words: list[str]) -> None:
        (row,) = explain.rows_of(file, words)

        assert explain.grounds_of(row) == [
            Ground("sni", "its packets say no name", "", 0, False),
            Ground("learned", "it served Tube alone; addresses are shared", "Tube", 95, True),
        ]

    @pytest.mark.parametrize(
        ("words", "said"),
        [(["8"], "No flow 8"), (["tcp", "a", "b"], "port"), (["sctp", *FLOW[1:]], "protocol"), (["tcp"], "1 words")],
    )
    def test_what_is_not_there_is_a_sentence(self, file: Path, words: list[str], said: str) -> None:
        with pytest.raises(SnfError, match=said):
            explain.rows_of(file, words)

    def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "qoe.csv").write_text("a,b\n1,2\n")
        with pytest.raises(SnfError, match="No flows with evidence"):
            explain.rows_of(tmp_path, ["7"])

    def test_the_command(self, file: Path) -> None:
        command = [sys.executable, "-m", "mgmt.cli.main", "explain", "--replay", str(file), "7"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)

        assert "a.pcap, flow 7" in done.stdout
        assert "served Tube alone" in done.stdout
