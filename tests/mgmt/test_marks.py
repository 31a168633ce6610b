"""Marks of a change: over NETCONF, with the name of who made them, and as a command on records that were kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from feed.change import Mark
from feed.consumer import Subscriber
from feed.records import CHANGE_COLUMNS
from lab.wait import comes_true
from mgmt.cli import change
from mgmt.cli.main import snf
from mgmt.cli.netconf_client import Client, Refused, connect
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from nf.errors import SnfError
from nf.publish import Publisher
from nf.settings import Export

AT = "2026-11-29T12:30:00"
AT_S = datetime(2026, 11, 29, 12, 30, tzinfo=UTC).timestamp()


@pytest.fixture
def marks() -> list[Mark]:
    return []


@pytest.fixture
def server(datastore: Datastore, key_pair: Callable[..., Path], tmp_path: Path, marks: list[Mark]) -> Iterator[Any]:
    users = tmp_path / "users"
    users.write_text("".join(f"{n} {key_pair(n).with_suffix('.pub').read_text()}" for n in ("alice", "bob")))
    with NetconfServer(datastore, Function(dict, mark_change=marks.append), port=0, users_file=users) as server:
        yield server


@pytest.fixture
def client(server: Any, key_pair: Callable[..., Path]) -> Iterator[Client]:
    with connect("127.0.0.1", server.port, "alice", key_pair("alice")) as client:
        yield client


class TestOverNetconf:
    """The operation mark-change of the module snf-marks."""

    def test_a_mark_is_of_now_and_of_who_sent_it(self, client: Client, marks: list[Mark]) -> None:
        before_s = datetime.now(UTC).timestamp()
        client.mark({"text": "new release"})

        assert (marks[0].text, marks[0].who) == ("new release", "alice")
        assert before_s - 0.01 <= marks[0].at_s <= datetime.now(UTC).timestamp()

    def test_time_and_scope_are_as_given(self, client: Client, marks: list[Mark]) -> None:
        scope = {"application": "YouTube", "gnb": "2001:DB8::1", "dnn": "internet", "slice": "1-00000a"}
        client.mark({"text": "x", "time": f"{AT}+00:00", **scope})

        assert marks == [Mark(AT_S, "x", "alice", "YouTube", "2001:db8::1", "internet", "1-00000a")]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("text", ""), ("text", "x" * 201), ("text", "a\tb"), ("time", "yesterday"), ("time", "1969-12-31T00:00:00Z"),
         ("gnb", "gnb1"), ("slice", "1-0a")],
    )  # fmt: skip
    def test_a_bad_parameter_is_named_and_nothing_is_marked(
        self, client: Client, marks: list[Mark], name: str, value: str
    ) -> None:
        with pytest.raises(Refused) as refused:
            client.mark({"text": "x", name: value})

        assert refused.value.tag == "invalid-value"
        assert marks == []

    @pytest.mark.parametrize("parameters", [{}, {"text": "x", "cell": "7"}])
    def test_text_is_needed_and_nothing_else_is_known(self, client: Client, parameters: dict[str, str]) -> None:
        with pytest.raises(Refused):
            client.mark(parameters)

    def test_the_command_marks(self, server: Any, key_pair: Callable[..., Path], marks: list[Mark]) -> None:
        told = CliRunner().invoke(
            snf,
            ["mark", "cell 7 retuned", "--at", f"{AT}Z", "--gnb", "192.0.2.20", "--netconf", f"127.0.0.1:{server.port}",
             "--user", "bob", "--key", str(key_pair("bob"))],
        )  # fmt: skip

        assert (told.exit_code, told.stdout) == (0, "")
        assert marks == [Mark(AT_S, "cell 7 retuned", "bob", gnb="192.0.2.20")]

    def test_it_reaches_a_subscriber_of_the_bus(
        self, datastore: Datastore, key_pair: Callable[..., Path], tmp_path: Path
    ) -> None:
        """With a publisher of the product, in its place."""
        users = tmp_path / "users"
        users.write_text(f"alice {key_pair('alice').with_suffix('.pub').read_text()}")
        publisher = Publisher(Export(endpoint="tcp://127.0.0.1:*"), "nf1")
        publisher.start()
        try:
            with (
                Subscriber(publisher.endpoint, ["change.v1/"]) as bus,
                NetconfServer(
                    datastore, Function(dict, mark_change=publisher.publish_mark), port=0, users_file=users
                ) as server,
                connect("127.0.0.1", server.port, "alice", key_pair("alice")) as client,
            ):
                assert comes_true(lambda: publisher.subscriptions == 2, 10)  # and the heartbeat
                client.mark({"text": "new release", "time": f"{AT}Z", "slice": "1"})
                message = next(m for m in bus.messages(20) if m is not None)
        finally:
            publisher.stop()

        assert (message.topic, message.header.schema) == ("change.v1/nf1/", "snf.change.v1")
        assert {name: list(column) for name, column in message.columns.items()} == {
            "t_ms": [round(AT_S * 1000)], "text": ["new release"], "who": ["alice"], "app": [""], "gnb": [""],
            "dnn": [""], "slice": ["1"]}  # fmt: skip
        assert message.columns.keys() == CHANGE_COLUMNS.keys()


def lines(effect: float) -> list[str]:
    """Return records of 24 subscribers of two gNBs, one of which is *effect* better after the mark."""
    rows = [
        {"t_ms": (AT_S + second) * 1000, "interval_ms": 1000, "subscriber": f"s{who}", "app": "tube", "dnn": "internet",
         "slice": None, "gnb": f"192.0.2.{20 + who % 2}", "mos": 3 + who / 50 + effect * (second > 0) * (who % 2)}
        for who in range(24) for second in (-3, -2, -1, 2, 3)
    ]  # fmt: skip
    return [json.dumps(row) for row in rows]


MARKED = json.dumps({"t_ms": AT_S * 1000, "text": "new release", "who": "anna", "app": "", "gnb": "", "dnn": "",
                     "slice": "", "nf": "nf1"})  # fmt: skip


class TestCommand:
    """``snf change`` compares the records of files at the marks among them."""

    def run(self, tmp_path: Path, rows: list[str], *options: str) -> Any:
        kept = tmp_path / "kept.jsonl"
        kept.write_text("\n".join(rows))
        return CliRunner().invoke(snf, ["change", str(kept), *options], catch_exceptions=True)

    def test_it_finds_what_changed(self, tmp_path: Path) -> None:
        told = self.run(tmp_path, [*lines(0.5), MARKED], "--output", "json")

        found = {(r["dimension"], r["value"]): r for r in map(json.loads, told.output.splitlines())}
        changed, same = found["gnb", "192.0.2.21"], found["gnb", "192.0.2.20"]
        assert (changed["found"], changed["effect"], changed["subscribers"]) == (True, pytest.approx(0.5), 12)
        assert (same["found"], same["effect"], same["text"]) == (False, 0, "new release")

    def test_the_table_says_when_and_by_whom(self, tmp_path: Path) -> None:
        told = self.run(tmp_path, [*lines(0.5), MARKED]).output

        assert "by anna: new release" in told
        (line,) = [line for line in told.splitlines() if "192.0.2.21" in line]
        assert line.split() == ["gNB", "192.0.2.21", "12", "3.24", "3.74", "+0.50", "+0.50", "to", "+0.50", "found"]

    def test_a_time_may_be_given_and_nothing_is_said_to_be_nothing(self, tmp_path: Path) -> None:
        told = self.run(tmp_path, lines(0.0), "--at", f"{AT}Z")

        assert told.exit_code == 0
        assert "Nothing was found." in told.output

    def test_what_is_no_record_is_told_with_its_line(self) -> None:
        for bad in (
            "{",
            "[1]",
            '"mos"',
            '{"t_ms": "x", "text": 1, "who": 2, "app": 1, "gnb": 1, "dnn": 1, "slice": 1}',
        ):
            with pytest.raises(SnfError, match="Line 2"):
                change.read([MARKED, bad])

    def test_without_a_mark_or_records_it_says_what_is_missing(self) -> None:
        for rows, missing in ((lines(0), "no mark"), ([MARKED], "no records")):
            records, marks = change.read(rows)
            with pytest.raises(SnfError, match=missing):
                change.show(records, marks, "table")

    def test_missing_scores_are_none(self) -> None:
        records, _ = change.read(['{"mos": null, "t_ms": 1, "interval_ms": 1}'])

        assert math.isnan(records["mos"][0])
