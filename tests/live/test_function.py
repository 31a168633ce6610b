"""The whole function on the lab: ``snf run``, NETCONF and ZeroMQ, from an operator's chair."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feed.consumer import Subscriber
from lab import plan
from lab.lab import Lab
from lab.net import inside
from lab.operator import ENDPOINT, PART, USER, Operator, exporter, interfaces, policy, privacy
from lab.wait import slowness
from mgmt.cli.netconf_client import Refused
from nf.abi import SNF_SUPPRESS
from nf.kernel import links, objects, syscall
from nf.kernel.left import maps_of

KEY = b"a key of the tests of the lab ..."
SIX_INTERVALS_S = 6.0
READABLE = {1, 2, 9}  # hash, array and LRU hash of enum bpf_map_type

Rows = Callable[..., list[dict[str, Any]]]


def pseudonym(imsi: str) -> str:
    """First 16 bytes of HMAC-SHA-256 over the digits of the IMSI (design: privacy), written out here once more."""
    return hmac.new(KEY, imsi.encode(), hashlib.sha256).hexdigest()[:32]


def contents(fd: int) -> bytes:
    """Return the keys and values of a map."""
    info = objects.map_info(fd)
    return b"".join(
        c.tobytes() for c in syscall.read_map(fd, np.dtype(f"V{info.key_bytes}"), np.dtype(f"V{info.value_bytes}"))
    )


def written_forms(imsi: str) -> list[bytes]:
    """Return what an IMSI may look like: digits, TBCD (TS 29.274, 8.3), a number of either byte order."""
    digits = imsi + "f" * (len(imsi) % 2)
    swapped = "".join(digits[i + 1] + digits[i] for i in range(0, len(digits), 2))
    return [imsi.encode(), bytes.fromhex(swapped), int(imsi).to_bytes(8, "big"), int(imsi).to_bytes(8, "little")]


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    """A lab of two subscribers whose function is configured over NETCONF and sees traffic."""
    with Lab(plan.subscribers(("chat",), ("download", "chat"))) as lab, Operator(lab) as operator:
        operator.start_function()
        operator.configure(KEY)
        lab.announce_all()
        lab.start_clients()
        yield operator


@pytest.fixture(scope="module")
def lab(operator) -> Lab:
    """The lab of the operator."""
    return operator.lab


@pytest.fixture
def rows() -> Rows:
    """Listen on the bus until a row (with its topic) satisfies, or for all of the time; returns what was heard."""

    def listen(
        operator: Operator,
        topics: list[str],
        seconds: float,
        enough: Callable[[dict[str, Any]], bool] = lambda _: False,
        endpoint: str = ENDPOINT,
    ) -> list[dict[str, Any]]:
        heard = []
        where = "ops" if operator.namespace == "probe" else operator.namespace
        with inside(operator.lab.net.path(where)), Subscriber(endpoint, topics) as bus:
            for message in bus.messages(seconds * slowness(), quiet_s=0.2):
                if message is None:
                    continue
                for i in range(message.header.rows):
                    row = {k: c[i] for k, c in message.columns.items()}
                    heard.append(row | {"topic": message.topic, "schema": message.header.schema})
                    if enough(heard[-1]):
                        return heard
        return heard

    return listen


def _maps(pid: int, name: str) -> list[int]:
    """Return the ids of the BPF maps called *name* that a process holds (from the kernel's fdinfo)."""
    ids = set()
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            ids |= {int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("map_id:")}
    shown = json.loads(subprocess.run(["bpftool", "-j", "map", "show"], capture_output=True, check=True).stdout)
    return [m["id"] for m in shown if m["id"] in ids and m.get("name") == name]


def suppressed(lab: Lab) -> int:
    """Return how many applications the kernel's policy table suppresses, as bpftool reads it."""
    (number,) = _maps(lab.pid(PART), "policies")
    done = subprocess.run(["bpftool", "-j", "map", "dump", "id", str(number)], capture_output=True, check=True)
    return sum(int(entry["value"][0], 16) == SNF_SUPPRESS for entry in json.loads(done.stdout))


class TestMark:
    """Readers of the feed hear of a change that an operator marks."""

    def test_it_comes_with_the_name_of_who_marked_it(self, operator, rows):
        heard = threading.Event()

        def again_and_again() -> None:  # a mark is not kept for who listens later
            while not heard.wait(0.2):
                operator.client.mark({"text": "gNB 1 has new software", "gnb": plan.GNB_SITES[0]})

        marking = threading.Thread(target=again_and_again)
        marking.start()
        try:
            told = rows(operator, ["change.v1/snf/"], 20, lambda _: True)
        finally:
            heard.set()
            marking.join()

        mark = told[-1]
        assert (mark["schema"], mark["who"], mark["gnb"]) == ("snf.change.v1", USER, plan.GNB_SITES[0])
        assert mark["text"] == "gNB 1 has new software"
        assert time.time() - mark["t_ms"] / 1000 < 60 * slowness()


class TestIdentity:
    """A subscriber announced by PFCP is named by its pseudonym, and by nothing else."""

    def test_a_record_carries_pseudonym_source_and_dnn(self, operator, lab, rows):
        who = pseudonym(lab.subscribers["ue1"].imsi)

        # Of a connection that began at the very end of an interval only the DNS answer is known by then.
        wanted = (who, "sni")
        heard = rows(operator, ["qoe.v1/snf/messaging/"], 20, lambda r: (r["subscriber"], r["app_basis"]) == wanted)

        assert heard, "no messaging record came within 20 s"
        record = heard[-1]
        assert (record["subscriber"], record["identity_source"], record["dnn"]) == (who, "pfcp", "internet")
        assert record["app"] == "WhatsApp"
        assert (record["gnb"], record["slice"]) == (plan.GNB_SITES[0], f"{plan.SST}-{plan.SD}")

    def test_no_imsi_is_in_a_log_a_file_or_a_map_name(self, lab):
        written = (lab.folder / f"{PART}.log").read_bytes()
        for file in (lab.folder / f"{PART}.state").rglob("*"):
            written += file.read_bytes() if file.is_file() else b""

        assert not [ue.name for ue in lab.subscribers.values() if ue.imsi.encode() in written]

    def test_no_imsi_is_in_a_map(self, operator, lab):
        with inside(lab.net.path(operator.namespace)):
            programs = [link.xdp_program for link in links.links() if link.xdp_program]
        maps = {name: fd for program in programs for name, fd in maps_of(program).items()}
        content = {name: contents(fd) for name, fd in maps.items() if objects.map_info(fd).kind in READABLE}
        for fd in maps.values():
            os.close(fd)

        assert {"sessions", "flows", "policies", "answers"} <= content.keys()
        assert any(content["sessions"])  # the dump is one of a table with entries
        needles = {form for ue in lab.subscribers.values() for form in written_forms(ue.imsi)}
        assert [name for name, data in content.items() if any(needle in data for needle in needles)] == []


class TestFollow:
    """Asking for one subscriber's topic starts its detailed stream; asking no longer ends it."""

    def test_the_stream_starts_within_an_interval_and_stops(self, operator, lab):
        topic = f"sub.v1/snf/{pseudonym(lab.subscribers['ue1'].imsi)}/"
        with (
            inside(lab.net.path("ops")),
            Subscriber(ENDPOINT, ["sub.v1/"]) as witness,  # a prefix follows nobody, but hears what is published
            Subscriber(ENDPOINT, []) as follower,
        ):
            assert [m for m in witness.messages(3) if m] == []

            follower.subscribe(topic)
            start_s = time.time()
            first = follower.receive(20 * slowness())
            schemas = {m.header.schema for m in follower.messages(2.5 * slowness()) if m}
            follower.unsubscribe(topic)
            while witness.receive(2 * slowness()):  # messages that were on their way
                pass

            assert first is not None
            assert first.topic == topic
            assert first.header.t_start < start_s + 1  # it is of the interval under way, or of the next one
            assert schemas == {"snf.qoe.v1", "snf.flow.v1"}
            assert [m for m in witness.messages(3) if m] == []


class TestHandover:
    """A subscriber that moves to another gNB stays who it is, and its flows stay what they are."""

    def test_flows_keep_name_and_owner_over_a_new_tunnel(self, operator, lab, rows):
        who = pseudonym(lab.subscribers["ue1"].imsi)
        mine = [f"sub.v1/snf/{who}/", "qoe.v1/"]
        chats = [r for r in rows(operator, mine, 4) if r["schema"] == "snf.flow.v1" and r["app"] == "WhatsApp"]

        lab.handover("ue1")
        heard = rows(operator, mine, SIX_INTERVALS_S)

        after = [r for r in heard if r["schema"] == "snf.flow.v1" and r["app"] == "WhatsApp"]
        assert {r["ue"] for r in chats} & {r["ue"] for r in after}, "the connection of the chat lives on"
        assert {r["app_basis"] for r in after} == {"sni"}  # a flow begun anew in its middle would have no SNI
        assert [r["subscriber"] for r in heard if str(r.get("subscriber", "")).startswith(("teid-", "ue-"))] == []
        assert any(r.get("subscriber") == who and r["dl_bytes"] > 0 and r["ul_bytes"] > 0 for r in heard)


class TestApplications:
    """The operator's own applications are in force after commit, and what cannot be is refused with its place."""

    @staticmethod
    def xml(name: str, claim: str) -> str:
        app = f"<application><name>{name}</name><class>messaging</class>{claim}</application>"
        return f'<applications xmlns="urn:supernetflow:yang:snf-applications">{app}</applications>'

    @pytest.mark.parametrize(
        "claim",
        [
            "<domain>com</domain>",
            "<domain>cloudfront.net</domain>",
            "<prefix>0.0.0.0/0</prefix>",
            "<port>udp/1-60000</port>",
        ],
    )
    def test_what_cannot_be_is_refused_with_its_path(self, operator, claim):
        with pytest.raises(Refused) as refused:
            operator.client.change(self.xml("mine", claim))

        assert re.fullmatch(r"/snf-applications:applications/.*application\[.*name='mine'\]", refused.value.path)
        assert operator.client.config().find(".//{*}applications") is None

    def test_running_flows_get_their_new_application(self, operator, rows):
        assert rows(operator, ["qoe.v1/"], 15, lambda r: r["app"] == "WhatsApp")[-1]["app"] == "WhatsApp"

        operator.client.change(self.xml("mine", "<domain>whatsapp.net</domain>"))
        assert rows(operator, ["qoe.v1/"], 15, lambda r: r["app"] == "mine")[-1]["app"] == "mine"

        gone = 'xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"'
        operator.client.change(self.xml("mine", "").replace("<application>", f"<application {gone}>"))
        assert rows(operator, ["qoe.v1/"], 15, lambda r: r["app"] == "WhatsApp")[-1]["app"] == "WhatsApp"


class TestPolicy:
    """A policy is in the kernel's map after commit, not before; and after SIGKILL and a new start it still is."""

    def test_commit_reaches_the_map_and_survives_a_kill(self, operator, lab, rows):
        assert suppressed(lab) == 0
        operator.client.edit(policy("suppress"))
        assert suppressed(lab) == 0

        operator.client.commit()
        several = suppressed(lab)
        assert several > 1  # all applications of the class

        operator.stop_function(signal.SIGKILL)
        operator.start_function()
        assert suppressed(lab) == several
        assert operator.attached() == {"n3": "native", "n4": "socket"}
        heard = rows(operator, ["qoe.v1/"], 15, lambda r: r["ul_bytes"] > 0)
        assert heard, "no record came within 15 s of the new start"

        operator.client.change(policy("inspect"))
        assert suppressed(lab) == 0

    def test_an_invalid_change_names_its_path_and_changes_nothing(self, operator, lab):
        before = operator.client.config().findtext(".//{*}policies/{*}policy/{*}action")

        with pytest.raises(Refused) as refused:
            operator.client.change(policy("suppress") + interfaces({"n9": "n3"}))

        assert "n9" in refused.value.path
        assert operator.client.config().findtext(".//{*}policies/{*}policy/{*}action") == before == "inspect"
        assert suppressed(lab) == 0


class TestSecondFunction:
    """Two functions never share a port, and the one that was there goes on."""

    def test_an_interface_in_use_is_refused_with_its_holder(self, operator, lab, rows):
        second = Operator(lab, port=1830, part="second")
        second.start_function()
        try:
            with pytest.raises(Refused) as refused:
                second.client.change(interfaces({"n3": "n3"}) + privacy(KEY))
        finally:
            second.stop_function()

        assert f"in use by another snf (process {lab.pid(PART)})" in str(refused.value)
        assert "interface[" in refused.value.path
        assert rows(operator, ["qoe.v1/"], 15, lambda r: r["ul_bytes"] > 0)

    def test_the_same_netconf_port_is_one_sentence_and_may_be_free_in_a_while(self, lab):
        words = [*lab.net.prefix("probe"), *Operator(lab, part="third").command()]

        done = subprocess.run(words, capture_output=True, text=True, check=False)

        assert done.returncode == 75
        assert "Traceback" not in done.stderr
        assert "830" in done.stderr


class TestEnd:
    """A function that is stopped leaves its ports as it found them."""

    def test_sigterm_detaches_the_programs(self, operator, lab):
        operator.stop_function()

        shown = json.loads(lab.net.run("probe", "ip", "-json", "-details", "link", "show"))
        ports = {d["ifname"]: d for d in shown}

        assert "xdp" not in ports["n3"]
        assert "PROMISC" not in ports["n3"]["flags"]
        assert "Traceback" not in (lab.folder / f"{PART}.log").read_text()


class TestLocalMode:
    """On the UPF's own interfaces the function watches and lets pass."""

    def test_traffic_passes_and_is_counted_once(self, rows, echo_ms):
        with Lab(plan.subscribers(("chat",))) as lab, Operator(lab, namespace="upf", address="127.0.0.1") as operator:
            operator.start_function()
            here = "tcp://127.0.0.1:5556"
            ports = interfaces({"n3": "n3", "n6": "n6", "n4": "n4"}, mode="local")
            operator.client.change(ports + privacy(KEY) + exporter(here, batch_ms=500))
            lab.announce_all()
            assert len(echo_ms(lab, "ue1", plan.SERVICES["web"].address)) == 5
            lab.start_clients()

            heard = rows(operator, ["qoe.v1/"], 8, endpoint=here)

            who = pseudonym(lab.subscribers["ue1"].imsi)
            mine = [r for r in heard if r["subscriber"] == who]
            assert "WhatsApp" in {r["app"] for r in mine}
            shown = json.loads(lab.net.run("ue1", "ip", "-json", "-stats", "link", "show", plan.UE_DEVICE))
            truth = shown[0]["stats64"]
            for ours, theirs in (("ul_packets", "tx"), ("dl_packets", "rx")):  # half: what is not yet published
                told = np.nansum([r[ours] for r in mine])  # missing, as long as no UE has received anything
                assert truth[theirs]["packets"] / 2 < told <= truth[theirs]["packets"]
            assert set(operator.attached()) == {"n3", "n6", "n4"}
