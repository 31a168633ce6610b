"""A replay that is told the configuration of the function names and treats flows as the function would."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from mgmt.cli import main as cli
from mgmt.netconf.store.datastore import settings_of
from nf.apps.signatures import Signatures
from nf.capture import merged, to_ethernet
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay
from tests.replay.conftest import KEY, empty

ROOT = Path(__file__).resolve().parents[2]
REQUET = "data/qoe/requet_youtube/baseline_Mar22_exp_41.pcap.gz"  # 72 bytes a packet
WEB = "data/qoe/web5g_sigcomm21/us_alexa_15five-0-20201224-010218.pcap.gz"  # 96 bytes a packet
NAMELESS = "172.217.12.142"  # a server of the first one of which no packet says a name
PAGES = """
<applications xmlns="urn:supernetflow:yang:snf-applications">
  <application><name>Pages</name><class>web</class><port>tcp/443</port><port>udp/443</port></application>
</applications>"""


@pytest.fixture
def told(plane):
    """Replay a capture with a configuration: flows by application, records."""

    def run(capture: Path, nodes: str):
        empty(plane)
        settings, sink = settings_of(f"<config>{nodes}</config>".encode(), "the test"), Collector()
        signatures = Signatures.load(settings.applications)
        replay = Replay(signatures, Pseudonymiser(KEY, 1), sink, settings=settings, plane=plane)
        return replay.run([capture], [None]).flows, sink.batches

    return run


def wire_bytes(capture: Path, address: str = "") -> int:
    """Return the sum of the length fields of IPv4 packets with an address and port 443, by struct."""
    octets, wanted = 0, bytes(map(int, address.split("."))) if address else b""
    for _, _, frame, link, _ in merged([capture]):
        ethernet = to_ethernet(frame, link) or b""
        if ethernet[12:14] != b"\x08\x00" or ethernet[23] not in (6, 17):
            continue
        end = 14 + 4 * (ethernet[14] & 15)
        if 443 in struct.unpack_from("!HH", ethernet, end) and wanted in (b"", ethernet[26:30], ethernet[30:34]):
            octets += struct.unpack_from("!H", ethernet, 16)[0]
    return octets


class TestApplications:
    """Flows of header-only captures, whose names were cut off, get the applications of the configuration."""

    def test_by_the_address_of_their_server_with_the_bytes_of_the_wire(self, told, shared):
        flows, batches = told(
            shared / REQUET,
            f"""<applications xmlns="urn:supernetflow:yang:snf-applications">
            <application><name>Tube</name><class>video</class><prefix>{NAMELESS}/32</prefix></application>
            </applications>""",
        )

        mine = [flow for flow in flows if flow["app"] == "Tube"]
        assert {flow["app_basis"] for flow in mine} == {"address"}
        assert {flow["dst"] for flow in mine} == {NAMELESS}
        octets = sum(flow["ipbytes_fwd"] + flow["ipbytes_rev"] for flow in mine)
        assert octets == wire_bytes(shared / REQUET, NAMELESS)
        assert "Tube" in {app for batch in batches if batch.app_class == "video" for app in batch.columns["app"]}

    def test_by_port_with_the_bytes_of_the_wire(self, told, shared):
        flows, batches = told(shared / WEB, PAGES)

        ours, every = Counter(), wire_bytes(shared / WEB)
        for flow in flows:
            ours[flow["app"]] += flow["ipbytes_fwd"] + flow["ipbytes_rev"]
        assert ours["Pages"] > 0.95 * every  # the rest has names of applications that the function knows
        assert "Pages" in {app for batch in batches if batch.app_class == "web" for app in batch.columns["app"]}


class TestTheRest:
    """Policies and sessions of the configuration hold in a replay."""

    def test_a_suppressed_application_has_no_record(self, told, shared):
        nodes = """<policies xmlns="urn:supernetflow:yang:snf-policies">
        <policy><name>quiet</name><application>Pages</application><action>suppress</action></policy></policies>"""
        _, batches = told(shared / WEB, PAGES + nodes)

        assert "Pages" not in {app for batch in batches for app in batch.columns["app"]}

    def test_a_configured_session_says_whose_flow_it_is(self, told, tmp_path):
        ue = "10.45.0.2"
        packets = [Ether() / IP(src=ue, dst="192.0.2.1") / UDP(sport=40_000, dport=5000) / Raw(b"x" * 40)] * 3
        wrpcap(str(tmp_path / "n6.pcap"), packets)

        flows, _ = told(
            tmp_path / "n6.pcap",
            f"""<subscribers xmlns="urn:supernetflow:yang:snf-subscribers"><static-session>
            <name>phone</name><imsi>001010000000001</imsi><ue-ipv4>{ue}</ue-ipv4></static-session></subscribers>""",
        )

        assert [flow["identity_source"] for flow in flows] == ["netconf"]

    def test_a_profile_is_what_its_class_is_judged_by(self, told, tmp_path):
        packets = [Ether() / IP(src="10.45.0.2", dst="192.0.2.1") / UDP(sport=40_000, dport=5000) / Raw(b"x" * 40)] * 3
        wrpcap(str(tmp_path / "n6.pcap"), packets)
        files = """<applications xmlns="urn:supernetflow:yang:snf-applications"><application><name>Files</name>
            <class>download</class><port>udp/5000</port></application></applications>
            <qoe xmlns="urn:supernetflow:yang:snf-qoe"><download><plan-bps>PLAN</plan-bps></download></qoe>"""

        models = []
        for plan in ("20000000", "50000000"):
            _, batches = told(tmp_path / "n6.pcap", files.replace("PLAN", plan))
            models.append({text for batch in batches for text in batch.columns["model"]})

        assert models == [{"snf-speed v1"}, {"snf-speed v1*"}]


class TestWhatAReplayIgnores:
    """Ports and exporter mean nothing to a file: ``snf replay --config`` says so in one line."""

    def test_they_are_named(self, capsys, monkeypatch, tmp_path):
        wrpcap(str(tmp_path / "one.pcap"), [Ether(dst="02:00:00:00:00:01")])
        monkeypatch.setattr("mgmt.cli.replay.replay_files", lambda *a, **more: None)

        cli.main(["keys", str(tmp_path / "keys"), "-f", str(ROOT / "yang" / "examples" / "everything.xml")])
        capsys.readouterr()
        file = tmp_path / "keys" / "everything.xml"
        cli.main(["replay", str(tmp_path / "one.pcap"), "--config", str(file)])

        said = capsys.readouterr().err
        assert said.count("\n") == 1
        for name in ("access", "core", "internet", "exporter", "monitor", "limits", "naming-workers"):
            assert name in said

    def test_a_configuration_of_known_things_alone_is_put_in_force_without_a_word(self, capsys, monkeypatch, tmp_path):
        wrpcap(str(tmp_path / "one.pcap"), [Ether(dst="02:00:00:00:00:01")])
        (tmp_path / "known.xml").write_text(f"<config>{PAGES}</config>")
        taken = []
        monkeypatch.setattr("mgmt.cli.replay.replay_files", lambda *a, **more: taken.append(more["settings"]))

        cli.main(["replay", str(tmp_path / "one.pcap"), "--config", str(tmp_path / "known.xml")])

        assert [app.name for settings in taken for app in settings.applications] == ["Pages"]
        assert capsys.readouterr().err == ""


LINES = """
<subscribers xmlns="urn:supernetflow:yang:snf-subscribers">
  <line-gateway><name>bng</name><mac-address>02:00:00:00:00:b1</mac-address></line-gateway>
  <static-session><name>one</name><subscriber>one</subscriber>
    <line><gateway>bng</gateway><c-vlan>12</c-vlan></line></static-session>
  <static-session><name>other</name><subscriber>other</subscriber>
    <line><gateway>bng</gateway><c-vlan>30</c-vlan></line></static-session>
</subscribers>"""


class TestLines:
    """Packets between two lines of a gateway pass twice, and are the uplink of one and the downlink of the other."""

    def test_each_has_both_directions_of_their_talk(self, told, tmp_path):
        gateway, frames = "02:00:00:00:00:b1", []
        volumes = Counter[tuple[str, str]]()
        for number in range(5):
            for here, there, names, size in ((12, 30, ("one", "other"), 100), (30, 12, ("other", "one"), 60)):
                ip = IP(src=f"192.0.2.{here}", dst=f"192.0.2.{there}", id=number)
                packet = ip / UDP(sport=5000, dport=5000) / Raw(bytes(size))
                frames.append(Ether(src="02:00:00:00:0c:01", dst=gateway) / Dot1Q(vlan=here) / packet)
                frames.append(Ether(src=gateway, dst="02:00:00:00:0c:01") / Dot1Q(vlan=there) / packet)
                volumes[names[0], "ul_bytes"] += len(packet)
                volumes[names[1], "dl_bytes"] += len(packet)
        for number, frame in enumerate(frames):
            frame.time = 1_700_000_000 + number / 100
        wrpcap(str(tmp_path / "talk.pcap"), frames)

        _, batches = told(tmp_path / "talk.pcap", LINES)

        found = Counter[tuple[str, str]]()
        for batch in batches:
            for column in ("ul_bytes", "dl_bytes"):
                for name, octets in zip(batch.columns["subscriber"], batch.columns[column], strict=True):
                    found[name, column] += int(octets)
        assert found == volumes


class TestSites:
    """A capture without tunnels counts who is of no site, and speaks of no N3."""

    def test_a_stranger_at_a_server_of_a_site(self, capsys, tmp_path):
        here, stranger = (IP(src=src, dst="203.0.113.9") / UDP(dport=8443) for src in ("10.1.0.5", "192.0.2.18"))
        packets = [here / Raw(bytes(50)), stranger / Raw(bytes(50))]
        wrpcap(str(tmp_path / "wan.pcap"), [Ether(dst="02:00:00:00:00:01") / packet for packet in packets])
        cli.main(["keys", str(tmp_path / "keys"), "-f", str(ROOT / "yang" / "examples" / "enterprise.xml")])
        file, records = tmp_path / "keys" / "enterprise.xml", tmp_path / "records.jsonl"

        cli.main(["replay", "--role", "n6", "--config", str(file), "--qoe", str(records), str(tmp_path / "wan.pcap")])

        said = capsys.readouterr().out
        assert "1 packets on N6 to servers of known subscribers, from an address of no session" in said
        assert "N3" not in said
        assert '"subscriber":"berlin"' in records.read_text()
        assert records.read_text().count("\n") == 1
