"""The three frames: what goes in comes out, as docs/feed.md says it, and nothing else is believed."""

from __future__ import annotations

import dataclasses
import random
import re
from decimal import Decimal
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from feed import wire
from feed.columns import MAX_CELLS, Coded, pack_columns
from feed.records import RECORD_COLUMNS, SPARSE_COLUMNS
from tests.feed.samples import flows, records

HEADER = wire.Header("snf.qoe.v1", "nf1", "0badcafe", 7, 1_785_000_000.0, 1_785_000_010.0)
TOPIC = b"qoe.v1/nf1/video/"
PLACES = {"gnb", "slice", "rat", "tai", "cell"}


def by_the_document(frames: list[bytes]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Decode by docs/feed.md, row by row and with struct-like arithmetic, without a line of the code under test."""
    head = msgpack.unpackb(frames[1])
    n = head["rows"]
    packed = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(frames[2]))

    def numbers(kind: str, raw: bytes) -> list[int]:
        size = int(kind[1])
        rows = [bytes(raw[plane * n + i] for plane in range(size)) for i in range(n)]
        return [int.from_bytes(r, "little", signed=kind[0] == "i") for r in rows]

    def texts(values: list[str], rest: list[Any]) -> list[Any]:
        return [values[i] for i in numbers(*rest)] if rest else [values[0]] * n

    out: dict[str, list[Any]] = {}
    for name, (kind, *rest) in packed.items():
        if kind == "int":
            out[name] = [rest[0] + v for v in numbers(*rest[1:])] if rest[1:] else [rest[0]] * n
        elif kind == "dec":
            exponents = numbers("i1", rest[0]) if isinstance(rest[0], bytes) else [rest[0]] * n
            mantissas = numbers("i2", rest[1])
            out[name] = [None if m == -32768 else float(f"{m}e{e}") for m, e in zip(mantissas, exponents, strict=True)]
        elif kind == "nan":
            out[name] = [None] * n
        elif kind == "text":
            out[name] = texts(rest[0], rest[1:])
        elif kind == "hex":
            joined = rest[1].hex()
            out[name] = texts([joined[i : i + rest[0]] for i in range(0, len(joined), rest[0])], rest[2:])
    for name, (kind, *rest) in packed.items():
        if kind == "rate":
            out[name] = [8000 * b / t for b, t in zip(out[rest[0]], out["interval_ms"], strict=True)]
    return head, out


def same(value: Any, expected: Any) -> bool:
    """Compare with what was given: exact, or in floats to half of the third digit."""
    if isinstance(expected, str | int):
        return bool(value == expected)
    if np.isnan(expected):
        return value is None
    return bool(value == pytest.approx(expected, rel=5.1e-3))


class TestFormat:
    """A message reads as docs/feed.md says, by a decoder that was written from it."""

    @pytest.mark.parametrize(("rows", "subscribers"), [(1, 1), (10, 10), (100, 10), (1000, 300)])
    def test_records_come_out_as_they_went_in(self, rows: int, subscribers: int) -> None:
        columns = records(rows, subscribers)

        head, out = by_the_document(wire.encode(TOPIC, HEADER, columns))

        assert set(out) == set(RECORD_COLUMNS) - set(SPARSE_COLUMNS) | PLACES
        for name, column in columns.items():
            if name not in out:
                continue
            given = column if isinstance(column, list) else column.tolist()
            wrong = [(i, o, g) for i, (o, g) in enumerate(zip(out[name], given, strict=True)) if not same(o, g)]
            assert not wrong, name
        assert head["rows"] == rows

    def test_a_delay_that_one_row_has_is_there(self) -> None:
        columns = records(10, 10)
        columns["n3_rtt_ms"][3] = 8.25

        _, out = by_the_document(wire.encode(TOPIC, HEADER, columns))

        assert set(out) & set(SPARSE_COLUMNS) == {"n3_rtt_ms"} | PLACES
        assert [i for i, value in enumerate(out["n3_rtt_ms"]) if same(value, 8.25)] == [3]

    def test_one_that_was_left_out_reads_as_missing(self) -> None:
        message = wire.decode(wire.encode(TOPIC, HEADER, records(10, 10)))

        assert list(message.columns) == list(RECORD_COLUMNS)
        assert np.isnan(message.columns["n3_rtt_ms"]).all()

    def test_text_that_no_row_has_is_left_out_and_reads_as_empty(self) -> None:
        columns = records(10, 10) | dict.fromkeys(PLACES, [""] * 10)
        frames = wire.encode(TOPIC, HEADER, columns)

        _, out = by_the_document(frames)
        assert not set(out) & PLACES
        assert all(wire.decode(frames).columns[name] == [""] * 10 for name in PLACES)

    def test_delays_of_no_known_place_are_told_without_one(self) -> None:
        words = {"gnb": ["", ""], "slice": ["", ""], "measure": ["upf_ul_ms"] * 2}
        counts = {"bucket": np.array([31, 335], np.int32), "n": np.array([7, 1], np.uint32)}
        header = dataclasses.replace(HEADER, schema=wire.DELAY_SCHEMA)

        message = wire.decode(wire.encode(b"delay.v1/nf1/", header, words | counts))

        assert {name: message.columns[name] for name in words} == words
        assert {name: message.columns[name].tolist() for name in counts} == {"bucket": [31, 335], "n": [7, 1]}

    def test_the_header_has_the_documented_keys(self) -> None:
        _, header, _ = wire.encode(TOPIC, HEADER, records(3, 3))

        assert msgpack.unpackb(header) == {
            "schema": "snf.qoe.v1",
            "nf": "nf1",
            "boot": "0badcafe",
            "seq": 7,
            "t_start": 1_785_000_000.0,
            "t_end": 1_785_000_010.0,
            "rows": 3,
            "encoding": "columns1+zstd",
            "epoch": 0,
        }

    def test_an_epoch_comes_out_and_who_says_none_has_the_first(self) -> None:
        frames = wire.encode(TOPIC, dataclasses.replace(HEADER, epoch=4), records(3, 3))
        old = {name: value for name, value in msgpack.unpackb(frames[1]).items() if name != "epoch"}

        assert wire.decode(frames).header.epoch == 4
        assert wire.decode([TOPIC, msgpack.packb(old), frames[2]]).header.epoch == 0

    @pytest.mark.parametrize(("schema", "columns"), [("snf.qoe.v1", records(50, 5)), ("snf.flow.v1", flows(7))])
    def test_the_decoder_of_the_product_reads_the_same(self, schema: str, columns: dict[str, Any]) -> None:
        frames = wire.encode(TOPIC, dataclasses.replace(HEADER, schema=schema), columns)

        message = wire.decode(frames)

        rows = wire.rows_of(message)
        _, expected = by_the_document(frames)
        assert message.topic == "qoe.v1/nf1/video/"
        assert message.app_class == "video"
        assert list(message.columns) == list(columns)
        for name, column in expected.items():
            assert [r[name] for r in rows] == column

    @pytest.mark.parametrize(
        ("value", "published"),
        [
            (12.345, 12.3),
            (999.6, 1000.0),
            (0.0041678, 0.00417),
            (3_561_234.0, 3_560_000.0),
            (-7.777, -7.78),
            (0.0, 0.0),
        ],
    )
    def test_a_float_has_three_significant_digits(self, value: float, published: float) -> None:
        message = wire.decode(wire.encode(TOPIC, HEADER, {"x": np.array([value, 1.0])}))

        assert float(message.columns["x"][0]) == published

    @pytest.mark.parametrize("power", range(-45, 39))
    def test_the_three_digits_begin_with_the_first_that_is_not_zero(self, power: int) -> None:
        beside = np.float32(f"1e{power}").view(np.uint32).astype(np.int64) + np.arange(-8, 9)
        beside = beside[(beside > 0) & (beside < 0x7F80_0000)]  # zero and infinity (IEEE 754)

        for value in beside.astype(np.uint32).view(np.float32):
            for dtype in (np.float32, np.float64):
                _, packed = pack_columns({"x": np.array([value], dtype)})
                kind, exponent, mantissa = packed["x"]
                assert kind == "dec"
                assert exponent == Decimal(float(value)).adjusted() - 2  # of the exact value
                assert 100 <= int.from_bytes(mantissa, "little") <= 1000

    @pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
    def test_what_is_not_a_number_is_missing(self, missing: float) -> None:
        message = wire.decode(wire.encode(TOPIC, HEADER, {"x": np.array([missing, 4.5, 0.0], np.float32)}))

        assert [r["x"] for r in wire.rows_of(message)] == [None, 4.5, 0.0]

    def test_a_rate_that_is_not_that_of_its_bytes_is_sent_itself(self) -> None:
        columns = {
            "interval_ms": np.array([1000, 500]),
            "ul_bytes": np.array([1000, 1000]),
            "ul_bps": np.array([8e3, 8e3]),
        }

        message = wire.decode(wire.encode(TOPIC, HEADER, columns))

        assert list(message.columns["ul_bps"]) == [8e3, 8e3]

    @given(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40),
        st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40),
        st.lists(st.text(max_size=8), min_size=1, max_size=40),
    )
    @settings(max_examples=100, deadline=None)
    def test_integers_and_text_are_exact(self, signed: list[int], unsigned: list[int], text: list[str]) -> None:
        for column in (np.array(signed, np.int64), np.array(unsigned, np.uint64), text):
            frames = wire.encode(TOPIC, HEADER, {"x": column})

            expected = column if isinstance(column, list) else column.tolist()
            assert by_the_document(frames)[1]["x"] == expected
            assert [r["x"] for r in wire.rows_of(wire.decode(frames))] == expected

    @given(st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), min_size=1, max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_floats_of_all_sizes_keep_three_digits(self, values: list[float]) -> None:
        frames = wire.encode(TOPIC, HEADER, {"x": np.array(values, np.float32)})

        out = by_the_document(frames)[1]["x"]

        assert all(same(o, float(np.float32(v))) for o, v in zip(out, values, strict=True))


class TestCodedText:
    """Text as it came, for a reader that keeps rows without looking at each: distinct values, and an index."""

    @pytest.mark.parametrize(("schema", "columns"), [("snf.qoe.v1", records(60, 7)), ("snf.flow.v1", flows(5))])
    def test_it_is_the_same_text(self, schema: str, columns: dict[str, Any]) -> None:
        frames = wire.encode(TOPIC, dataclasses.replace(HEADER, schema=schema), columns)

        listed, coded = wire.decode(frames), wire.decode_coded(frames)

        for name, column in coded.columns.items():
            wanted = listed.columns[name]
            if isinstance(column, Coded):
                assert [column.values[i] for i in column.index.tolist()] == wanted
                assert len(column.values) == len(set(wanted))
            else:
                assert np.array_equal(column, np.asarray(wanted), equal_nan=True)
        assert coded.header == listed.header

    def test_what_was_left_out_stays_out(self) -> None:
        frames = wire.encode(TOPIC, HEADER, records(10, 10))

        assert "n3_rtt_ms" not in wire.decode_coded(frames).columns

    def test_damage_is_refused_alike(self) -> None:
        with pytest.raises(wire.WireError):
            wire.decode_coded([TOPIC, b"\x00", b""])


class TestSize:
    """A record in a batch costs what the data budget allows."""

    @staticmethod
    def _bytes_a_record(rows: int, subscribers: int) -> tuple[float, float]:
        sent = [wire.encode(TOPIC, HEADER, records(rows, subscribers, seed)) for seed in range(1, 9)]
        body = sum(len(frames[2]) for frames in sent)
        return body / rows / len(sent), sum(len(f) for frames in sent for f in frames) / rows / len(sent)

    def test_a_hundred_records_of_ten_subscribers_cost_29_bytes_each(self) -> None:
        body, frames = self._bytes_a_record(100, 10)

        assert body < 29.5  # as docs/feed.md rounds it
        assert frames < 30.5

    def test_a_thousand_records_of_a_hundred_subscribers_cost_22_bytes_each(self) -> None:
        assert self._bytes_a_record(1000, 100)[1] <= 22.5


def packed(body: Any, **header: Any) -> list[bytes]:
    """Make a message by hand, so that anything can be wrong in it."""
    head = {
        "schema": "snf.qoe.v1",
        "nf": "n",
        "boot": "b",
        "seq": 0,
        "t_start": 0,
        "t_end": 1,
        "rows": 2,
        "encoding": "columns1+zstd",
    }
    return [TOPIC, msgpack.packb(head | header), zstandard.ZstdCompressor().compress(msgpack.packb(body))]


class TestHostileMessages:
    """Bytes that are no message of this version give a WireError that says why, and cost no memory."""

    def test_the_handmade_message_is_good_before_it_is_spoilt(self) -> None:
        message = wire.decode(packed({"x": ["int", 5, "u1", b"\0\1"]}, later="key"))

        assert message.columns["x"].tolist() == [5, 6]  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("header", "says"),
        [
            ({"schema": "snf.qoe.v9"}, "schema 'snf.qoe.v9' is not known"),
            ({"encoding": "columns2+zstd"}, "encoding 'columns2+zstd' is not known"),
            ({"rows": -1}, "not negative"),
            ({"rows": float("inf")}, "no valid rows"),
            ({"rows": True}, "no valid rows"),
            ({"seq": "1"}, "no valid seq"),
            ({"seq": -1}, "not negative"),
            ({"epoch": "1"}, "no valid epoch"),
            ({"epoch": -1}, "not negative"),
            ({"nf": None}, "no valid nf"),
            ({"boot": "b" * 5000}, "too long"),
        ],
    )
    def test_a_wrong_header_is_named(self, header: dict[str, Any], says: str) -> None:
        with pytest.raises(wire.WireError, match=re.escape(says)):
            wire.decode(packed({"x": ["int", 1]}, **header))

    @pytest.mark.parametrize(
        "column",
        [
            [],
            {},
            None,
            ["flt", b""],
            [["int"], 1],
            ["int"],
            ["int", "1"],
            ["int", 1.5],
            ["int", 1, "u3", b"\0\0\0\0\0\0"],
            ["int", 1, "i1", b"\0\0"],
            ["int", 1, "f4", b"\0" * 8],
            ["int", 1, "O", b"\0" * 16],
            ["int", 1, "u1", b"\0"],
            ["int", 1, "u1", "ab"],
            ["int", 1, ["u1"], b"\0\0"],
            ["int", 1, "u1"],
            ["dec", 300, b"\0" * 4],
            ["dec", b"\0", b"\0" * 4],
            ["dec", 0],
            ["dec", 0, b"\0" * 3],
            ["rate", "nothing"],
            ["rate", "x"],
            ["rate"],
            ["rate", ["x"]],
            ["text", []],
            ["text", ["a", "b"]],
            ["text", [1], "u1", b"\0\0"],
            ["text", ["a"], "u1", b"\0\1"],
            ["text", ["a", "b"], "i1", b"\xff\xff"],
            ["text", "ab", "u1", b"\0\1"],
            ["hex", 0, b"ab"],
            ["hex", 3, b"ab"],
            ["hex", 4, b"abc"],
            ["hex", 2, "ab"],
            ["hex", 2],
        ],
    )
    def test_a_wrong_column_is_refused(self, column: Any) -> None:
        with pytest.raises(wire.WireError):
            wire.decode(packed({"x": column}))

    @pytest.mark.parametrize("frames", [[], [b"a"], [b"a", b"b"], [b"a", b"b", b"c", b"d"], [b"", b"", b""]])
    def test_a_wrong_number_of_frames_is_refused(self, frames: list[bytes]) -> None:
        with pytest.raises(wire.WireError):
            wire.decode(frames)

    def test_a_topic_that_is_no_text_is_refused(self) -> None:
        with pytest.raises(wire.WireError):
            wire.decode([b"\xff/", *packed({"x": ["int", 1]})[1:]])

    def test_a_body_that_unpacks_to_gigabytes_is_refused_before_it_does(self) -> None:
        # A frame of 13 bytes: magic, 8-byte content size of 2^40, one empty last block (RFC 8878, 3.1.1).
        bomb = b"\x28\xb5\x2f\xfd" + b"\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\0\0"

        with pytest.raises(wire.WireError, match="too large"):
            wire.decode([*packed({})[:2], bomb])

    def test_constant_columns_of_very_many_rows_are_refused(self) -> None:
        with pytest.raises(wire.WireError, match="more than"):
            wire.decode(packed({"x": ["int", 1]}, rows=MAX_CELLS + 1))

    def test_no_damage_to_a_good_message_raises_anything_else(self) -> None:
        good = wire.encode(TOPIC, HEADER, records(20, 4))
        chance = random.Random(1)
        refused = 0
        for _ in range(2000):
            frames = [bytearray(f) for f in good]
            victim = chance.choice(frames)
            for _ in range(chance.randint(1, 3)):
                victim[chance.randrange(len(victim))] = chance.randrange(256)
            try:
                wire.decode([bytes(f) for f in frames])
            except wire.WireError:
                refused += 1

        assert refused > 500

    def test_no_damage_inside_the_body_raises_anything_else(self) -> None:
        topic, header, body = wire.encode(TOPIC, HEADER, records(20, 4))
        plain = zstandard.ZstdDecompressor().decompress(body)
        chance = random.Random(2)
        refused = 0
        for _ in range(2000):
            victim = bytearray(plain)
            victim[chance.randrange(len(victim))] = chance.randrange(256)
            try:
                wire.decode([topic, header, zstandard.ZstdCompressor(level=1).compress(bytes(victim))])
            except wire.WireError:
                refused += 1

        assert refused > 200

    @pytest.mark.parametrize(
        "columns",
        [
            {"a": np.array([1, 2]), "b": ["x"]},
            {"a": np.array([[1, 2], [3, 4]])},
            {"a": np.array(["x"], object)},
            {"a": np.array([1 + 1j])},
        ],
    )
    def test_what_is_no_column_is_not_encoded(self, columns: dict[str, Any]) -> None:
        with pytest.raises(wire.WireError):
            wire.encode(TOPIC, HEADER, columns)
