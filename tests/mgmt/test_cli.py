"""``snf`` as a user meets it: files with the promised columns, and a sentence instead of a traceback."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REGISTRATION = "open5gs__testregistration.pcapng"
GARBAGE = "ndpi__ip_fragmented_garbage.pcap"  # the order of the kernel's table decided what it showed

# The contract of the design, section 6.
FLOWS = """
file proto src sport dst dport pkts_fwd pkts_rev ipbytes_fwd ipbytes_rev first_s last_s teid_fwd teid_rev
qfi_fwd qfi_rev outer_fwd outer_rev gtpu subscriber identity_source app app_basis name retrans_fwd retrans_rev
rtt_handshake_ms rtt_min_ms rtt_n frags
""".split()  # noqa: SIM905
SESSIONS = "file imsi ue_ipv4 ue_ipv6 dnn snssai teids source first_s last_s ended_by".split()  # noqa: SIM905


def snf(*words, **more):
    command = [sys.executable, "-m", "mgmt.cli.main", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **more)


class TestReplay:
    """``snf replay`` writes its results, and says in a line what it did."""

    @pytest.fixture(scope="class")
    def done(self, shared, tmp_path_factory):
        folder = tmp_path_factory.mktemp("replay")
        key = folder / "key"
        key.write_bytes(bytes(range(32)))
        outputs = [
            "--key",
            key,
            "--flows",
            folder / "f.csv",
            "--sessions",
            folder / "s.csv",
            "--qoe",
            folder / "q.jsonl",
        ]
        capture = shared / "captures" / "pcap" / REGISTRATION
        return folder, snf("replay", capture, *outputs, "--events", folder / "e.jsonl")

    def test_it_ends_well_and_says_what_it_saw(self, done):
        _, run = done
        assert run.returncode == 0, run.stderr
        assert "4,104 packets" in run.stdout
        assert "23 sessions" in run.stdout

    def test_the_files_have_the_promised_columns(self, done):
        folder, _ = done
        for name, want in (("f.csv", FLOWS), ("s.csv", SESSIONS)):
            with (folder / name).open() as rows:
                assert next(csv.reader(rows))[: len(want)] == want

    def test_records_are_json_objects_of_the_published_schema(self, done):
        from feed.records import RECORD_COLUMNS

        folder, _ = done
        records = [json.loads(line) for line in (folder / "q.jsonl").read_text().splitlines()]
        assert records
        assert set(records[0]) >= set(RECORD_COLUMNS)

    def test_events_name_no_subscriber(self, done):
        folder, _ = done
        assert '"event":"SessionUp"' in (folder / "e.jsonl").read_text().replace(": ", ":")
        assert "imsi" not in (folder / "e.jsonl").read_text()

    def test_the_same_capture_gives_the_same_flows(self, done, shared, tmp_path):
        folder, _ = done
        snf(
            "replay",
            shared / "captures" / "pcap" / REGISTRATION,
            "--flows",
            tmp_path / "f.csv",
            "--key",
            folder / "key",
            "--quiet",
        )
        assert (tmp_path / "f.csv").read_text() == (folder / "f.csv").read_text()

    def test_also_where_flows_begin_together_and_fragments_have_no_ports(self, shared, tmp_path):
        capture, files = shared / "captures" / "pcap" / GARBAGE, [tmp_path / f"{n}.csv" for n in range(3)]
        for file in files:
            snf("replay", capture, "--flows", file, "--quiet")
        assert len({file.read_text() for file in files}) == 1


class TestRefusal:
    """A refusal is one sentence on standard error, and exit status 2."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("replay", "/nonexistent.pcap"), "/nonexistent.pcap"),
            (("replay", ROOT / "README.md"), "README.md"),
            (("run", "--users", "/nonexistent"), "/nonexistent"),
            (("watch", "--endpoint", "nonsense", "--seconds", "1"), "nonsense"),
            (("replay", ROOT / "README.md", "--flows", "flows.xlsx"), "flows.xlsx"),
        ],
        ids=["no-file", "no-capture", "no-users", "no-endpoint", "no-format"],
    )
    def test_in_a_sentence(self, words, says):
        run = snf(*words)
        assert run.returncode == 2
        assert says in run.stderr
        assert "Traceback" not in run.stderr + run.stdout

    def test_without_root_set_up_stops_at_once(self):
        run = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", "bash", str(ROOT / "scripts" / "require-root")],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )
        assert run.returncode == 1
        assert run.stderr.count("\n") == 1
        assert "sudo make" in run.stderr


class TestDoctor:
    """``snf doctor`` proves what it says."""

    def test_this_host_can_do_it(self):
        run = snf("doctor")
        assert run.returncode == 0, run.stdout + run.stderr
        assert "native XDP" in run.stdout
