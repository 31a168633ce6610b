"""The bench: its inputs are as described, and the documents quote its measurements."""

from __future__ import annotations

import importlib
import json
import re

import numpy as np
import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from bench import __main__ as bench
from bench import model_table, results, traffic
from bench.captures import Tunnels
from bench.columns import PACKET, frames_of, read_pcap
from bench.figure import Figure
from bench.rig import tcp_frame
from bench.yardstick import Yardstick
from nf.errors import SnfError

GOALS = {  # number of figures that each script has at least
    "hot": 2, "many": 2, "live": 2, "hello": 2, "ring": 1, "drain": 1, "scale": 4, "memory": 1, "load": 1,
    "share": 4, "peers": 2, "names": 5, "identity": 6,
}  # fmt: skip


class TestDocuments:
    """The documents quote bench/documented.json, and nothing in them is older or rounder than it."""

    @pytest.mark.parametrize("path", results.DOCS, ids=lambda p: p.name)
    def test_the_tables_are_those_of_the_results(self, path):
        text = path.read_text()
        assert "<!-- bench:" in text
        assert results.render(text) == text, "run: python -m bench --docs"

    def test_every_family_has_its_figures(self):
        families = [row["bench"] for row in results.rows()]
        for family, count in GOALS.items():
            assert families.count(family) >= count, family

    def test_every_missed_goal_has_a_reason(self):
        for row in results.rows():
            if not row["met"]:
                assert len(results.reason(row["name"])) > 40, row["name"]

    def test_a_goal_is_met_by_its_own_direction(self):
        for row in results.rows():
            better = row["value"] >= row["goal"] if row["more"] else row["value"] <= row["goal"]
            assert row["met"] == better, row["name"]

    def test_a_document_with_an_unknown_table_is_refused(self):
        with pytest.raises(ValueError, match="nonsense"):
            results.render("<!-- bench: nonsense -->\n<!-- end -->")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The file of figures and the documents, in a folder of this test."""
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    monkeypatch.setattr(results, "QUOTED", tmp_path / "documented.json")
    monkeypatch.setattr(results, "DOCS", (tmp_path / "page.md",))
    (tmp_path / "page.md").write_text("<!-- bench: misses -->\n<!-- end -->\n")
    return tmp_path


def _script(name):
    """Measure as a script of the bench would: two that work, one that cannot, one that leaves."""
    if name == "ring":
        raise RuntimeError("3 of 7 ClientHellos have no name")
    if name == "peers":
        raise SystemExit("no such tool")
    goal = {"hot": 2.0, "names": 0.5}[name]
    return [Figure(f"figure of {name}", 1, "ratio", goal)]


@pytest.fixture
def quick(copied, monkeypatch):
    """A run of scripts that measure nothing, beside a yardstick that takes no time."""
    monkeypatch.setattr(bench, "_measure", _script)
    monkeypatch.setattr(bench.yardstick, "measure", lambda: Yardstick(c_ms=50.0, python_ms=80.0))
    return copied


class TestRun:
    """The bench runs to its end on any machine: figures may be missed, scripts may fail."""

    def test_a_missed_figure_without_a_reason_says_just_that(self, copied, capsys):
        assert bench.measure_all(["names", "hot"], _script) == {}

        said = capsys.readouterr().out
        assert said.count("MISSED") == 1
        assert said.count(results.UNEXPLAINED) == 1

    def test_a_script_that_fails_leaves_the_others_their_turn(self, copied, capsys):
        failed = bench.measure_all(["ring", "hot", "peers", "names"], _script)

        assert list(failed) == ["ring", "peers"]
        assert "3 of 7 ClientHellos have no name" in failed["ring"]
        assert "no such tool" in failed["peers"]
        assert [row["name"] for row in results.rows(results.FILE)] == ["figure of hot", "figure of names"]

    def test_its_last_words_come_last_and_the_status_is_one(self, quick, capsys):
        assert bench.main(["ring", "hot"]) == 1

        assert (
            capsys.readouterr()
            .err.splitlines()[-1]
            .startswith("bench: ring was not measured: RuntimeError: 3 of 7 ClientHellos have no name")
        )

    def test_a_miss_alone_is_no_failure(self, quick):
        assert bench.main(["names"]) == 0

    def test_documents_change_only_when_asked(self, quick):
        before = (quick / "page.md").read_text()

        bench.main(["names"])
        assert (quick / "page.md").read_text() == before
        assert not (quick / "documented.json").exists()

        bench.main(["names", "--docs"])
        assert f"**figure of names**: {results.UNEXPLAINED}" in (quick / "page.md").read_text()

    def test_each_row_has_the_yardstick_of_its_run(self, quick, capsys):
        bench.main(["hot"])

        assert results.rows(results.FILE)[0]["yardstick"] == {"c_ms": 50.0, "python_ms": 80.0}
        assert "that of the documents' machine is not known" in capsys.readouterr().out

    def test_a_yardstick_that_cannot_be_measured_leaves_goals_as_they_are(self, quick, capsys, monkeypatch):
        def no_compiler():
            raise SnfError("gcc is not there.", "Run: make setup")

        monkeypatch.setattr(bench.yardstick, "measure", no_compiler)

        assert bench.main(["hot"]) == 1

        said = capsys.readouterr()
        assert "not measured; goals are as stated" in said.out
        assert "bench: yardstick was not measured: gcc is not there." in said.err
        assert results.rows(results.FILE)[0]["goal"] == 2.0

    def test_every_script_can_be_imported_and_has_something_to_measure(self):
        for name in bench.FAMILIES:
            assert callable(importlib.import_module(f"bench.{name}").measure), name


class TestResults:
    """A run of one script replaces its own figures and leaves the others where they are."""

    def test_figures_of_a_family_are_replaced_in_their_place(self, copied):
        results.write("a", [Figure("one", 1, "ratio", 2), Figure("two", 3, "ratio", 2)])
        results.write("b", [Figure("three", 3, "ratio", 2, more=True)])

        results.write("a", [Figure("four", 4, "ratio", 5)])

        rows = json.loads(results.FILE.read_text())
        assert [(r["name"], r["met"]) for r in rows] == [("four", True), ("three", True)]
        assert {"name", "value", "unit", "goal", "met", "cases", "note"} <= rows[0].keys()


class TestModel:
    """The model of docs/scaling.md is proportional in the rate, and its inputs are figures of the file."""

    def test_forty_times_the_rate_is_forty_times_the_packets(self):
        lines = [line for line in model_table.table(results.rows()).splitlines() if re.match(r"\| \d", line)]
        packets = {float(line.split("|")[1]): float(line.split("|")[2]) for line in lines}
        assert packets[400] == pytest.approx(40 * packets[10], rel=0.05)

    def test_packets_a_second_are_the_rate_over_the_size(self):
        given = model_table.inputs(results.rows())
        line = next(x for x in model_table.table(results.rows()).splitlines() if x.startswith("| 100 |"))
        assert float(line.split("|")[2]) == pytest.approx(100e9 / 8 / given["bytes a packet"] / 1e6, abs=0.06)


class TestFrames:
    """Frames that are made in columns are what scapy reads out of them."""

    def test_a_tcp_packet_down_a_tunnel(self):
        rows = np.zeros(1, PACKET)
        rows["tcp"], rows["ue"], rows["server"], rows["sport"], rows["dport"] = True, 5, 0xC6120001, 20_000, 443
        rows["flags"], rows["seq"], rows["ack"], rows["tsval"], rows["length"], rows["at"] = 0x18, 7, 9, 11, 4, 2

        (raw,) = frames_of(rows, b"..data..")

        frame = Ether(raw)
        tunnel, (outer, inner) = frame[GTP_U_Header], (frame[IP], frame[GTP_U_Header][IP])
        assert (outer.src, outer.dst, frame[UDP].dport) == ("10.10.1.1", "10.10.0.2", 2152)
        assert (tunnel.teid, tunnel.gtp_type, tunnel[GTPPDUSessionContainer].type) == (0x1005 + 1_000_000, 255, 0)
        assert (inner.src, inner.dst) == ("198.18.0.1", "10.45.0.7")
        assert (inner[TCP].sport, inner[TCP].dport, inner[TCP].seq, inner[TCP].ack) == (443, 20_000, 7, 9)
        assert dict(inner[TCP].options)["Timestamp"] == (11, 0)
        assert bytes(inner[TCP].payload) == b"data"
        for ip in (outer, inner):
            fresh = ip.copy()
            del fresh.chksum, fresh.len
            again = IP(bytes(fresh))
            assert (again.chksum, again.len) == (ip.chksum, ip.len)
        assert tunnel.length == len(raw) - 14 - 20 - 8 - 8

    def test_the_walk_rewrites_where_the_fields_are(self):
        frame, raw = Ether(tcp_frame()), tcp_frame()
        assert raw[46:50] == frame[GTP_U_Header].teid.to_bytes(4, "big")
        assert raw[70:74] == bytes(map(int, frame[GTP_U_Header][IP].src.split(".")))
        assert raw[78:80] == frame[TCP].sport.to_bytes(2, "big")

    def test_a_real_packet_is_wrapped_whole(self):
        packet = bytes(IP(src="192.168.1.7", dst="8.8.8.8") / UDP(sport=5000, dport=53) / DNS(rd=1))
        tunnels = Tunnels()

        up = Ether(tunnels.wrap(packet))
        down = Ether(tunnels.wrap(bytes(IP(src="8.8.8.8", dst="192.168.1.7") / UDP(sport=53, dport=5000))))

        assert bytes(up[GTP_U_Header][IP]) == packet
        assert (up[GTPPDUSessionContainer].type, down[GTPPDUSessionContainer].type) == (1, 0)  # TS 38.415, 5.5.2
        assert down[GTP_U_Header].teid == up[GTP_U_Header].teid + 1_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Build a small capture: what it counts, its times, and its packets without the tunnel as scapy reads them."""
    path = tmp_path_factory.mktemp("traffic") / "small.pcap"
    count = traffic.build(path, flows=60)
    times, frames = read_pcap(path)
    return count, times, [Ether(raw)[GTP_U_Header][IP] for raw in frames]


class TestTraffic:
    """A capture of the asked shape, whose protocols are the real ones."""

    def test_flows_and_packets_are_those_of_the_file(self, made):
        count, times, packets = made
        flows = set()
        for inner in packets:
            ends = ((inner.src, inner.payload.sport), (inner.dst, inner.payload.dport))
            flows.add((inner.proto, *sorted(ends)))
        assert len(flows) == count["flows"]
        assert len(packets) == sum(v for k, v in count.items() if k != "flows")
        assert (np.diff(times) >= 0).all()

    def test_a_dns_answer_names_the_server_of_a_later_flow(self, made):
        answers, servers = set(), set()
        for inner in made[2]:
            if inner.payload.sport == 53:
                answers.add(DNS(bytes(inner.payload.payload)).an[0].rdata)
            elif inner.payload.dport == 443:
                servers.add(inner.dst)
        assert answers
        assert len(answers & servers) > 0.8 * len(answers - {"10.20.0.53"})

    def test_the_full_one_is_as_large_as_the_comparison_asks(self):
        names = [row for row in results.rows() if row["name"].endswith("mixed capture")]
        for row in names:
            assert row["cases"]["frames"] >= 250_000
            assert row["cases"]["frames"] / row["cases"]["flow_new"] == pytest.approx(80, rel=0.1)
