"""Result files: CSV or JSON lines by suffix, with the columns of the contract, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nf.errors import SnfError
from nf.replay.output import COLUMNS, check_suffix, write_rows
from tests.capture.files import SHARED

FLOW = {
    "file": "a.pcap",
    "proto": 6,
    "src": "10.45.0.2",
    "sport": 40000,
    "dst": "192.0.2.80",
    "dport": 443,
    "first_s": "1700000000.000001",
    "teid_fwd": "0x00000001",
    "name": 'odd "name", with comma',
    "rtt_min_ms": "",
    "rtt_handshake_ms": 12.5,
}


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows as any reader of CSV sees them."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def json_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines, none of which may hold what JSON has no name for."""

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


class TestColumns:
    """Names and order are a contract."""

    def test_flows_as_the_contract_lists_them(self) -> None:
        design = (SHARED / "design.md").read_text()
        text = design[design.index("`--flows` has one row") :]
        listed = text[text.index("`\nfile" if "`\nfile" in text else "`file,proto") :].split("`")[1]

        assert list(COLUMNS["flows"]) == listed.replace("\n", "").split(",")

    def test_sessions_as_the_contract_lists_them(self) -> None:
        design = (SHARED / "design.md").read_text()
        text = design[design.index("`--sessions` has") :].split("`")[3]

        assert list(COLUMNS["sessions"]) == text.replace("\n", "").split(",")

    @pytest.mark.parametrize("kind", ["flows", "sessions", "qoe", "events"])
    def test_the_header_is_there_without_a_row(self, tmp_path: Path, kind: Any) -> None:
        write_rows(tmp_path / "out.csv", [], kind)

        assert (tmp_path / "out.csv").read_text() == ",".join(COLUMNS[kind]) + "\n"

    def test_what_else_a_row_has_comes_behind(self, tmp_path: Path) -> None:
        write_rows(tmp_path / "out.csv", [{"extra": 1, **FLOW}], "flows")

        assert (tmp_path / "out.csv").read_text().splitlines()[0] == ",".join((*COLUMNS["flows"], "extra"))


class TestCsv:
    """One line a row; what is not known is empty."""

    def test_values_come_back(self, tmp_path: Path) -> None:
        count = write_rows(tmp_path / "out.csv", [FLOW, {**FLOW, "sport": 1}], "flows")

        rows = csv_rows(tmp_path / "out.csv")
        assert count == len(rows) == 2
        assert rows[0]["name"] == 'odd "name", with comma'
        assert (rows[0]["sport"], rows[1]["sport"]) == ("40000", "1")
        assert rows[0]["first_s"] == "1700000000.000001"

    @pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), float("inf"), ""])
    def test_a_missing_number_is_empty(self, tmp_path: Path, missing: Any) -> None:
        write_rows(tmp_path / "out.csv", [{**FLOW, "rtt_min_ms": missing}], "flows")

        assert csv_rows(tmp_path / "out.csv")[0]["rtt_min_ms"] == ""


class TestJsonLines:
    """One object a line; numbers are numbers, and null when not known."""

    @pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".JSONL"])
    def test_by_suffix(self, tmp_path: Path, suffix: str) -> None:
        write_rows(tmp_path / f"out{suffix}", [FLOW], "flows")

        (row,) = json_rows(tmp_path / f"out{suffix}")
        assert list(row) == list(COLUMNS["flows"])

    def test_numbers_and_texts(self, tmp_path: Path) -> None:
        write_rows(tmp_path / "out.jsonl", [FLOW], "flows")

        (row,) = json_rows(tmp_path / "out.jsonl")
        assert (row["proto"], row["first_s"], row["rtt_handshake_ms"]) == (6, 1700000000.000001, 12.5)
        assert (row["teid_fwd"], row["app"], row["rtt_min_ms"], row["frags"]) == ("0x00000001", "", None, None)

    @pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), float("-inf"), ""])
    def test_a_missing_number_is_null(self, tmp_path: Path, missing: Any) -> None:
        write_rows(tmp_path / "out.jsonl", [{"mos": missing}], "qoe")

        assert json_rows(tmp_path / "out.jsonl")[0]["mos"] is None

    def test_a_name_in_bytes_that_are_no_text_is_still_json(self, tmp_path: Path) -> None:
        name = b"ex\xffample".decode("utf-8", "surrogateescape")
        write_rows(tmp_path / "out.jsonl", [{**FLOW, "name": name}], "flows")
        write_rows(tmp_path / "out.csv", [{**FLOW, "name": name}], "flows")

        assert json_rows(tmp_path / "out.jsonl")[0]["name"] == name
        assert csv_rows(tmp_path / "out.csv")[0]["name"] == r"ex\udcffample"


class TestRows:
    """Rows come as mappings, as columns, or one by one."""

    def test_columns(self, tmp_path: Path) -> None:
        columns = {"subscriber": ["a", "b"], "mos": np.array([4.5, np.nan], np.float32), "t_ms": np.array([1, 2], "u8")}
        write_rows(tmp_path / "out.jsonl", columns, "qoe")

        rows = json_rows(tmp_path / "out.jsonl")
        assert [(r["subscriber"], r["mos"], r["t_ms"]) for r in rows] == [("a", 4.5, 1), ("b", None, 2)]

    def test_columns_of_unequal_length_are_a_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="shorter"):
            write_rows(tmp_path / "out.csv", {"subscriber": ["a", "b"], "mos": [1.0]}, "qoe")

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
    def test_single_precision_has_no_digits_that_nobody_measured(self, tmp_path: Path, suffix: str) -> None:
        write_rows(tmp_path / f"out{suffix}", [{"rtt_core_ms": float(np.float32(0.798))}], "qoe")

        rows = csv_rows(tmp_path / "out.csv") if suffix == ".csv" else json_rows(tmp_path / "out.jsonl")
        assert float(rows[0]["rtt_core_ms"]) == 0.798

    def test_one_by_one(self, tmp_path: Path) -> None:
        assert write_rows(tmp_path / "out.csv", ({"mos": n} for n in range(3)), "qoe") == 3


class TestWhole:
    """A reader never sees half a file."""

    def failing(self) -> Iterator[dict[str, Any]]:
        """Yield a row, and break."""
        yield dict(FLOW)
        raise RuntimeError("power cut")

    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        path.write_text("yesterday")
        with pytest.raises(RuntimeError):
            write_rows(path, self.failing(), "flows")

        assert path.read_text() == "yesterday"
        assert os.listdir(tmp_path) == ["out.csv"]

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real.csv").write_text("yesterday")
        (tmp_path / "out.csv").symlink_to(tmp_path / "real.csv")
        write_rows(tmp_path / "out.csv", [FLOW], "flows")

        assert (tmp_path / "out.csv").is_symlink()
        assert len(csv_rows(tmp_path / "real.csv")) == 1


class TestRefusals:
    """A result that cannot be written is refused before a long run, with a sentence."""

    @pytest.mark.parametrize("name", ["out", "out.txt", "out.csv.gz"])
    def test_an_unknown_suffix(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(SnfError, match="not known by its suffix") as caught:
            check_suffix(tmp_path / name)

        assert ".csv" in caught.value.remedy

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SnfError, match="no folder") as caught:
            check_suffix(tmp_path / "none" / "out.csv")

        assert "mkdir -p" in caught.value.remedy

    def test_a_folder_of_that_name(self, tmp_path: Path) -> None:
        (tmp_path / "out.csv").mkdir()
        with pytest.raises(SnfError, match="cannot be written"):
            check_suffix(tmp_path / "out.csv")

    def test_a_place_that_takes_no_files(self) -> None:
        with pytest.raises(SnfError, match="cannot be written"):
            write_rows(Path("/proc/out.csv"), [FLOW], "flows")
