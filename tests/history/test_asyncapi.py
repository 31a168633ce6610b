"""docs/asyncapi.json is the document of the tables, and messages of the bus are what it says."""

from __future__ import annotations

import json
import re
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
import zstandard

from feed.records import ALARM_COLUMNS, APP_CLASSES, HEALTH_COLUMNS, RECORD_COLUMNS, columns_of
from feed.wire import ALARM_SCHEMA, FLOW_SCHEMA, HEALTH_SCHEMA, QOE_SCHEMA, SCHEMAS, Header, encode
from history.asyncapi import FILE, document
from tests.feed.samples import flows, records
from tests.test_house import ROOT

WRITTEN: dict[str, Any] = json.loads(FILE.read_text())
BY_SCHEMA = {message["name"]: message for message in WRITTEN["components"]["messages"].values()}
KINDS = {"object": dict, "array": list, "string": (str, bytes), "integer": int, "number": (int, float)}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Say whether a value fits a JSON Schema of the words that the document uses."""
    if "$ref" in schema:
        *_, name = schema["$ref"].split("/")
        return fits(value, WRITTEN["components"]["schemas"][name])
    rules = [
        "const" not in schema or value == schema["const"],
        "enum" not in schema or value in schema["enum"],
        "type" not in schema or isinstance(value, KINDS[schema["type"]]),
        "oneOf" not in schema or sum(fits(value, each) for each in schema["oneOf"]) == 1,
        all(fits(value, each) for each in schema.get("allOf", [])),
    ]
    if isinstance(value, list) and isinstance(schema.get("items"), list):
        rules.append(len(value) == schema["minItems"] == schema["maxItems"])
        rules += [fits(v, s) for v, s in zip(value, schema["items"], strict=False)]
    if isinstance(value, dict):
        rules.append({*schema.get("required", [])} <= value.keys())
        rules += [fits(value[name], each) for name, each in schema.get("properties", {}).items() if name in value]
    return all(rules)


class TestDocument:
    """It is made from the tables, and has all of them."""

    def test_it_is_current(self):
        assert document() == WRITTEN, "run: .venv/bin/python -m history.asyncapi"

    def test_each_topic_of_the_page_is_a_channel(self):
        page = (ROOT / "docs" / "feed.md").read_text()
        told = set(re.findall(r"^\| `([a-z]+\.v1/[^`]*)`", page, re.M)) | set(re.findall(r"`(imsi\.v1/<nf>/)`", page))
        addresses = {channel["address"].replace("{", "<").replace("}", ">") for channel in WRITTEN["channels"].values()}

        assert told
        assert addresses - told == {"snapshot.v1", "snapshot.v1/<nf>/"}
        assert told <= addresses

    def test_each_schema_is_a_message_of_a_channel(self):
        references = {m["$ref"] for c in WRITTEN["channels"].values() for m in c["messages"].values() if "$ref" in m}

        assert BY_SCHEMA.keys() == SCHEMAS
        assert references == {f"#/components/messages/{name}" for name in WRITTEN["components"]["messages"]}

    def test_columns_have_their_units_and_classes(self):
        columns = BY_SCHEMA[QOE_SCHEMA]["payload"]["properties"]

        assert columns.keys() == RECORD_COLUMNS.keys()
        assert columns["rtt_access_ms"]["x-unit"] == "ms"
        assert columns["fps"]["x-classes"] == [c for c in APP_CLASSES if "fps" in columns_of(c)]
        assert "x-classes" not in columns["mos"]


class TestMessages:
    """Messages of the publisher fit the document, header and body."""

    @pytest.mark.parametrize(
        ("schema", "columns"),
        [
            (QOE_SCHEMA, records(50, 20)),
            (QOE_SCHEMA, records(1, 1)),
            (FLOW_SCHEMA, flows(20)),
            (
                HEALTH_SCHEMA,
                {n: ["x"] * 3 if c.dtype == "str" else np.arange(3, dtype=c.dtype) for n, c in HEALTH_COLUMNS.items()},
            ),
            (ALARM_SCHEMA, {n: ["x"] if c.dtype == "str" else np.ones(1, c.dtype) for n, c in ALARM_COLUMNS.items()}),
        ],
        ids=["many", "one", "flows", "health", "alarm"],
    )
    def test_it_fits(self, schema, columns):
        _, head, body = encode(b"x/", Header(schema, "nf1", "b", 0, 1.0, 2.0, epoch=3), columns)
        header, packed = msgpack.unpackb(head), msgpack.unpackb(zstandard.decompress(body))

        assert fits(header, BY_SCHEMA[schema]["headers"])
        wrong = {n: c for n, c in packed.items() if not fits(c, BY_SCHEMA[schema]["payload"]["properties"][n])}
        assert wrong == {}
        assert fits(packed, BY_SCHEMA[schema]["payload"])

    def test_another_one_does_not(self):
        payload, header = BY_SCHEMA[QOE_SCHEMA]["payload"], BY_SCHEMA[QOE_SCHEMA]["headers"]
        _, head, body = encode(b"x/", Header(QOE_SCHEMA, "nf1", "b", 0, 1.0, 2.0), records(5, 5))
        packed = msgpack.unpackb(zstandard.decompress(body))

        assert not fits(packed | {"mos": ["int", 3]}, payload)
        assert not fits(packed | {"app": ["text"]}, payload)
        assert not fits({name: c for name, c in packed.items() if name != "app"}, payload)
        assert not fits(msgpack.unpackb(head) | {"schema": FLOW_SCHEMA}, header)
