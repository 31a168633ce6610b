"""Records as IPFIX (RFC 7011), read by tshark and, where it says nothing, by the bytes of the standard."""

from __future__ import annotations

import json
import math
import re
import signal
import socket
import struct
import subprocess
import sys
import zlib

import pytest

from feed.consumer import key_pair
from feed.errors import SnfError
from feed.records import APP_CLASSES, RECORD_COLUMNS, RecordBatch, columns_of
from history.bridges.ipfix import OWN, SMALLEST_BYTES, Exporter
from lab.wait import comes_true, slowness
from mgmt.cli.main import main
from nf.publish import Publisher
from nf.settings import Consumer, Curve, Export, Rights
from tests.feed.samples import records
from tests.history.ipfix_reading import dissected, elements, header, one

PEN = 32473  # RFC 5612
DERIVED = {"ul_bps", "dl_bps"}  # of octets and times, which are told
IANA = {"t_ms", "interval_ms", "subscriber", "app", "flows", "ul_bytes", "dl_bytes", "ul_packets", "dl_packets"}
ROW = {
    **{"t_ms": 1_785_000_001_000, "interval_ms": 1000, "subscriber": "5f" * 16, "app": "youtube", "flows": 3},
    **{"ul_bytes": 1000, "dl_bytes": 5_000_000_000, "ul_packets": 10, "dl_packets": 20, "dnn": "internet"},
    **{"mos": 4.25, "gnb": "172.16.0.1", "slice": "1-00000a", "app_confidence": 99, "video_height": 1080.0},
}  # fmt: skip


class Wire:
    """Messages that went out."""

    def __init__(self, enterprise: int = PEN, *, again_s: float = math.inf, room: int = SMALLEST_BYTES) -> None:
        self.messages: list[bytes] = []
        self.works = True
        self.exporter = Exporter(enterprise, room, self._send, again_s)

    def _send(self, message: bytes) -> bool:
        self.messages.append(message)
        return self.works


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Return the fields of messages, of which the last two have a record each."""
    wire = Wire()
    for row in (ROW, ROW | {"app": "ä" * 400, "mos": None, "gnb": None}):
        wire.exporter.add("nf1", "video", [row])
    return dissected(wire.messages, tmp_path_factory.mktemp("ipfix") / "x.pcap")


class TestRecord:
    """A record of the feed as IPFIX, by tshark."""

    def test_tshark_has_nothing_to_complain_of(self, said):
        assert [f for fields in said for f in fields if f[0].startswith("_ws.")] == []

    def test_elements_of_iana(self, said):
        record = said[-2]

        assert one(record, "octets") == ["1000", "5000000000"]
        assert ["Reverse" in text for name, text, _ in record if name == "cflow.octets"] == [False, True]
        assert one(record, "packets") == ["10", "20"]
        assert one(record, "flows") == ["3"]
        assert one(record, "user_name") == ["5f" * 16]
        assert one(record, "appl_name") == ["youtube"]
        assert one(record, "application_category_name") == ["video"]
        assert one(record, "timedelta") == ["1.000000000"]
        assert one(record, "abstimeend")[0].startswith("Jul 25, 2026 17:20:01")

    def test_own_elements(self, said):
        found = {OWN[number - 1]: bytes.fromhex(value) for number, value in elements(said[-2]).items()}

        # tshark does not show text of length zero.
        told = {name for name, column in columns_of("video").items() if column.dtype != "str" or name in ROW}
        assert found.keys() == told & {*OWN}
        assert struct.unpack("!f", found["video_height"]) == (1080.0,)
        assert struct.unpack("!f", found["mos"]) == (4.25,)
        assert found["app_confidence"] == bytes([99])
        assert found["gnb"] == b"172.16.0.1"

    def test_missing_is_not_a_number_and_long_text_is_cut_between_characters(self, said):
        found = {OWN[number - 1]: bytes.fromhex(value) for number, value in elements(said[-1]).items()}

        assert math.isnan(struct.unpack("!f", found["mos"])[0])
        assert found.get("gnb", b"") == b""
        assert one(said[-1], "appl_name") == ["ä" * 127]


class TestElements:
    """Each column has its element, for good; names, types and units go out as options (RFC 5610)."""

    def test_each_column_is_carried_or_told_by_others(self):
        assert RECORD_COLUMNS.keys() - {*OWN} - IANA == DERIVED

    def test_numbers_are_for_good(self):
        assert len({*OWN}) == len(OWN)
        known = {"identity_source": 1, "mos": 18, "gnb": 63, "suspect_confidence": 65, "cell": 68}
        assert {name: OWN.index(name) + 1 for name in known} == known

    @pytest.mark.parametrize("enterprise", [PEN, 4_294_967_295])
    def test_tshark_reads_the_options(self, tmp_path, enterprise):
        wire = Wire(enterprise)
        wire.exporter.add("nf1", "video", [ROW])

        said = dissected(wire.messages, tmp_path / "x.pcap")

        told = [f for fields in said for f in fields]
        assert {*one(told, "private_enterprise_number")} == {str(enterprise)}
        names = dict(zip(one(told, "information_element_name"), one(told, "information_element_id"), strict=True))
        assert names["snfMos"] == "18"
        assert len(names) == len([name for name in OWN if name in RECORD_COLUMNS])
        kinds = dict(zip(names, one(told, "information_element_data_type"), strict=True))
        units = dict(zip(names, one(told, "information_element_units"), strict=True))
        # float32, string, unsigned32 (RFC 5610, 3.1); milliseconds, seconds, none (3.4).
        assert [kinds[name] for name in ("snfMos", "snfGnb", "snfRttSamples")] == ["9", "13", "3"]
        assert [units[name] for name in ("snfRttAccessMs", "snfStartupS", "snfMos")] == ["6", "5", "0"]
        assert one(told, "observation_domain_name") == ["nf1"]

    @pytest.mark.parametrize("enterprise", [0, 29305, 1 << 32])
    def test_what_is_nobodys_number_is_refused(self, enterprise):
        with pytest.raises(SnfError, match="enterprise number"):
            Wire(enterprise)

    @pytest.mark.parametrize("app_class", [*APP_CLASSES, "a-later-class"])
    def test_each_class_has_a_template_that_fits_into_the_smallest_message(self, app_class):
        wire = Wire()
        wire.exporter.add("nf1", app_class, [ROW])

        assert wire.exporter.records == 1
        assert max(map(len, wire.messages)) <= SMALLEST_BYTES
        known = app_class if app_class in APP_CLASSES else "unknown"
        # A Template Set with one template, whose fields are IANA's, of which the class is no column, and our own.
        fields = len(IANA) + 1 + len(columns_of(known).keys() & {*OWN})
        assert struct.unpack("!HxxHH", wire.messages[0][16:24]) == (2, 256 + APP_CLASSES.index(known), fields)


class TestMessages:
    """Headers, sequence numbers and templates (RFC 7011, 3.1 and 8)."""

    def test_the_sequence_counts_data_records_of_a_domain(self, tmp_path):
        wire = Wire()
        for nf in ("nf1", "nf2", "nf1"):
            wire.exporter.add(nf, "web", [ROW] * 10)

        due: dict[int, int] = {}
        read = dissected(wire.messages, tmp_path / "x.pcap")
        for message, fields in zip(wire.messages, read, strict=True):
            head = header(message)
            assert (head["version"], head["length"]) == (10, len(message))
            assert head["sequence"] == due.setdefault(head["domain"], 0)
            names = ("user_name", "information_element_name", "observation_domain_name")
            due[head["domain"]] += sum(len(one(fields, name)) for name in names)
        own = len(RECORD_COLUMNS.keys() & {*OWN})
        assert due == {zlib.crc32(b"nf1"): 20 + own + 1, zlib.crc32(b"nf2"): 10 + own + 1}

    def test_templates_come_again(self):
        often, once = Wire(again_s=0), Wire()
        for wire in (often, once):
            for _ in range(3):
                wire.exporter.add("nf1", "web", [ROW])

        def told(wire: Wire) -> int:
            return sum(struct.unpack("!H", m[16:18])[0] in (2, 3) for m in wire.messages)

        assert (told(often), told(once)) == (9, 3)  # of the class, and two of options

    def test_a_new_connection_is_told_everything_anew(self):
        wire = Wire()
        wire.exporter.add("nf1", "web", [ROW])
        before = len(wire.messages)

        wire.exporter.begin()
        wire.exporter.add("nf1", "web", [ROW])

        assert [m[16:] for m in wire.messages[before:]] == [m[16:] for m in wire.messages[:before]]
        assert header(wire.messages[before])["sequence"] == 0

    @pytest.mark.parametrize("row", [{"subscriber": "a", "mos": 4.0}, ROW | {"t_ms": "x"}, ROW | {"interval_ms": None}])
    def test_a_row_of_another_version_is_refused_and_the_next_goes_out(self, row):
        wire = Wire()
        wire.exporter.add("nf1", "video", [row, ROW])

        assert (wire.exporter.records, wire.exporter.refused) == (1, 1)

    def test_what_does_not_go_out_and_what_is_no_record_is_counted(self):
        wire = Wire()
        wire.works = False
        wire.exporter.add(
            "nf1", "web", [ROW, ROW | {"ul_bytes": "many"}, ROW | {"mos": 1e300}, ROW | {"app": "\ud800"}]
        )

        assert (wire.exporter.records, wire.exporter.lost, wire.exporter.refused) == (0, 1, 3)


def lines(rows: int) -> str:
    columns = records(rows, rows)
    plain = {name: c if isinstance(c, list) else c.tolist() for name, c in columns.items()}
    table = [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]
    clean = [
        {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in row.items()}
        | {"class": "video", "nf": "nf1"}
        for row in table
    ]
    return "".join(json.dumps(row) + "\n" for row in clean)


class TestCommand:
    """``snf bridge ipfix`` reads a running feed or a saved one."""

    @pytest.fixture
    def collector(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.settimeout(20 * slowness())
            yield sock

    def test_a_saved_feed(self, collector, tmp_path, capsys):
        (tmp_path / "feed.jsonl").write_text('{"text": "a mark"}\n\n' + lines(50))
        port = collector.getsockname()[1]

        with pytest.raises(SystemExit) as ended:
            main(["bridge", "ipfix", "--to", f"127.0.0.1:{port}", "--read", str(tmp_path / "feed.jsonl")])

        said = capsys.readouterr().err
        assert ended.value.code == 0
        assert "RFC 5612" in said
        assert "50 records in" in said
        got = [collector.recv(70_000) for _ in range(int(re.search(r"in (\d+) messages", said)[1]))]
        read = [f for fields in dissected(got, tmp_path / "x.pcap") for f in fields]
        wanted = [json.loads(line) for line in lines(50).splitlines()]
        assert one(read, "user_name") == [row["subscriber"] for row in wanted]
        octets = [n for row in wanted for n in (str(row["ul_bytes"]), str(row["dl_bytes"]))]
        assert one(read, "octets") == octets
        mos = [show for name, text, show in read if name.endswith("private_entry") and "Type 18:" in text]
        assert [bytes.fromhex(v.replace(":", "")) for v in mos if v != "7f:c0:00:00"] == [
            struct.pack("!f", row["mos"]) for row in wanted if row["mos"] is not None
        ]

    def test_a_running_feed_with_keys(self, collector, tmp_path):
        server, mine = key_pair(), key_pair()
        rights = Consumer(mine[0], Rights(topics=("qoe.v1/", "health.v1/"), follow=False))
        curve = Curve(server[1], server[0], consumers=(rights,))
        publisher = Publisher(Export(endpoint="tcp://127.0.0.1:*", batch_rows=1, curve=curve), "nf1")
        publisher.start()
        keys = tmp_path / "bridge.curve"
        keys.write_text(f"server_key={server[0]}\npublic_key={mine[0]}\nsecret_key={mine[1]}\n")
        command = [sys.executable, "-m", "mgmt.cli.main", "bridge", "ipfix", "--enterprise", "65000"]
        command += ["--to", f"127.0.0.1:{collector.getsockname()[1]}", "--endpoint", publisher.endpoint]
        bridge = subprocess.Popen([*command, "--curve", str(keys)], stderr=subprocess.PIPE, text=True)
        try:
            assert comes_true(lambda: publisher.subscriptions >= 2, 30)
            publisher.publish(RecordBatch("video", 1.0, 2.0, records(5, 5)))
            assert struct.unpack("!H", collector.recv(70_000)[:2]) == (10,)
        finally:
            bridge.send_signal(signal.SIGTERM)
            said = bridge.communicate(timeout=60 * slowness())[1]
            publisher.stop()

        assert bridge.returncode == 0
        assert "5 records in" in said
        assert "5612" not in said

    def test_by_tcp(self, tmp_path, capsys):
        (tmp_path / "feed.jsonl").write_text(lines(3))
        with socket.create_server(("127.0.0.1", 0)) as server:
            target = f"127.0.0.1:{server.getsockname()[1]}"
            with pytest.raises(SystemExit) as ended:
                main(["bridge", "ipfix", "--tcp", "--to", target, "--read", str(tmp_path / "feed.jsonl")])
            with server.accept()[0] as sock:
                stream = b"".join(iter(lambda: sock.recv(65_536), b""))

        messages = []
        while stream:
            length = header(stream)["length"]
            messages, stream = [*messages, stream[:length]], stream[length:]
        assert ended.value.code == 0
        assert len(one([f for fs in dissected(messages, tmp_path / "x.pcap") for f in fs], "user_name")) == 3

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--to", "nowhere"], "is not ADDRESS:PORT"),
            (["--to", "127.0.0.1:1", "--tcp"], "cannot be reached"),
            (["--to", "127.0.0.1:9", "--enterprise", "29305"], "no enterprise number"),
            (["--to", "127.0.0.1:9", "--message-bytes", "100"], "A message has"),
            (["--to", "127.0.0.1:9", "--enterprise", "7", "--read", "{bad}"], "Line 2 is no record"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, tmp_path, capsys, words, said):
        bad = tmp_path / "bad.jsonl"
        bad.write_text('{"mos": 1}\nxx\n')

        with pytest.raises(SystemExit) as ended:
            main(["bridge", "ipfix", *(word.replace("{bad}", str(bad)) for word in words)])

        assert ended.value.code == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
