"""The feed as an AsyncAPI 3 document, made from its tables: ``python -m history.asyncapi`` writes docs/asyncapi.json.

Topics are channels, schemas are messages, columns are properties with their units (``x-unit``). The text for people is
docs/feed.md; a test says when this document is not that of the tables any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feed import wire
from feed.records import (
    ALARM_COLUMNS,
    APP_CLASSES,
    CHANGE_COLUMNS,
    DELAY_DISTRIBUTION_COLUMNS,
    ESTIMATES,
    FLOW_COLUMNS,
    HEALTH_COLUMNS,
    PURGE_COLUMNS,
    RECORD_COLUMNS,
    SNAPSHOT_COLUMNS,
    SPARSE_COLUMNS,
    Column,
)

__all__ = ["FILE", "document"]

FILE = Path(__file__).resolve().parents[1] / "docs" / "asyncapi.json"

_IMSI_COLUMNS = {
    "subscriber": Column("str", "", "name in records"),
    "imsi": Column("str", "", "digits of the IMSI"),
}
_Tables = Mapping[str, tuple[str, str, Mapping[str, Column]]]
_MESSAGES: _Tables = {
    "records": (wire.QOE_SCHEMA, "One row for each subscriber, application and interval.", RECORD_COLUMNS),
    "flows": (wire.FLOW_SCHEMA, "One row for each flow of a followed subscriber.", FLOW_COLUMNS),
    "delays": (wire.DELAY_SCHEMA, "Counts of delays by place and length.", DELAY_DISTRIBUTION_COLUMNS),
    "change": (wire.CHANGE_SCHEMA, "A mark of a change.", CHANGE_COLUMNS),
    "alarms": (wire.ALARM_SCHEMA, "Degradations of single subscribers.", ALARM_COLUMNS),
    "purge": (wire.PURGE_SCHEMA, "Names whose records are to be erased.", PURGE_COLUMNS),
    "health": (wire.HEALTH_SCHEMA, "The heartbeat: one row for each topic.", HEALTH_COLUMNS),
    "imsis": (wire.IMSI_SCHEMA, "Published names of IMSIs, where the operator exports them.", _IMSI_COLUMNS),
    "snapshot": (wire.SNAPSHOT_SCHEMA, "The end of a snapshot: the topics that are in it.", SNAPSHOT_COLUMNS),
}
_NF = {"nf": {"description": "Configured name of the function."}}
_CLASS = {"class": {"description": "Application class.", "enum": list(APP_CLASSES)}}
_SUBSCRIBER = {"subscriber": {"description": "Published name of a subscriber who is followed by this subscription."}}
_TOPICS: Mapping[str, tuple[str, Mapping[str, Any], tuple[str, ...], str]] = {
    "records": ("qoe.v1/{nf}/{class}/", _NF | _CLASS, ("records",), "Records of all subscribers, by class."),
    "followed": (
        "sub.v1/{nf}/{subscriber}/",
        _NF | _SUBSCRIBER,
        ("records", "flows"),
        "One followed subscriber each interval; only while somebody is subscribed to exactly this topic.",
    ),
    "delays": ("delay.v1/{nf}/", _NF, ("delays",), "Delays of radio network, N3 and UPF, once a minute."),
    "changes": ("change.v1/{nf}/", _NF, ("change",), "Marks of change, each when it is made."),
    "alarms": ("alarm.v1/{nf}/", _NF, ("alarms",), "Degradations, when one is raised and when it is cleared."),
    "purges": ("purge.v1/{nf}/", _NF, ("purge",), "Whose records are to be erased."),
    "health": ("health.v1/{nf}/", _NF, ("health",), "A heartbeat each second."),
    "imsis": ("imsi.v1/{nf}/", _NF, ("imsis",), "Only with export-imsi, and to keys with that right."),
}
_FORMS = {"s": "text", "u": "integer", "i": "integer", "f": "number"}  # by the first letter of a dtype
_BLOB = {"type": "string", "format": "binary", "description": "One value for each row, lowest bytes of all rows first."}
_UNSIGNED = {"enum": ["u1", "u2", "u4", "u8"]}


def _list(*items: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the schema of a list of exactly these."""
    found = [{"const": item} if isinstance(item, str) else item for item in items]
    return {"type": "array", "items": found, "minItems": len(items), "maxItems": len(items)}


def _forms() -> dict[str, Any]:
    """Return the forms of a packed column (docs/feed.md, Body)."""
    base, texts = {"type": "integer"}, {"type": "array", "items": {"type": "string"}}
    exponents: dict[str, Any] = {"oneOf": [{"type": "integer"}, _BLOB]}
    return {
        "integer": {"oneOf": [_list("int", base), _list("int", base, _UNSIGNED, _BLOB)]},
        "number": {
            "oneOf": [_list("nan"), _list("rate", {"type": "string"}), _list("dec", exponents, _BLOB)],
            "description": "Three significant digits; -32768 of a dec, and nan, is missing.",
        },
        "text": {
            "oneOf": [
                _list("text", texts),
                _list("text", texts, _UNSIGNED, _BLOB),
                _list("hex", base, _BLOB),
                _list("hex", base, _BLOB, _UNSIGNED, _BLOB),
            ]
        },
    }


def _column(name: str, column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"allOf": [{"$ref": f"#/components/schemas/{_FORMS[column.dtype[0]]}"}]}
    if column.what:
        found["description"] = column.what
    if column.unit:
        found["x-unit"] = column.unit
    classes = [app_class for app_class in APP_CLASSES if name in ESTIMATES[app_class]]
    return found | ({"x-classes": classes} if classes and len(classes) < len(APP_CLASSES) else {})


def _header(schema: str) -> dict[str, Any]:
    number = {"type": "number", "description": "Seconds since the epoch."}
    count = {"type": "integer", "minimum": 0}
    properties = {
        "schema": {"type": "string", "const": schema},
        "nf": {"type": "string", "description": "The function."},
        "boot": {"type": "string", "description": "Another one after each start of the function."},
        "seq": count | {"description": "0, 1, 2 ... of this topic and boot: one that is missing was lost."},
        **{"t_start": number, "t_end": number},
        "rows": count | {"description": "Length of every column."},
        "encoding": {"type": "string", "const": wire.ENCODING},
        "epoch": count | {"description": "Number of the key of the names; an older function does not say it."},
    }
    return {"type": "object", "properties": properties, "required": [name for name in properties if name != "epoch"]}


def _message(name: str) -> dict[str, Any]:
    schema, summary, columns = _MESSAGES[name]
    # An alarm's or a flow's columns of these names are left out as well when they are missing in all rows.
    needed = [column for column in columns if column not in SPARSE_COLUMNS]
    return {
        "name": schema,
        "title": schema,
        "summary": summary,
        "contentType": "application/vnd.msgpack+zstd",
        "headers": _header(schema),
        "payload": {
            "type": "object",
            "properties": {column: _column(column, said) for column, said in columns.items()},
            "required": needed,
            "description": "Further columns may come.",
        },
    }


def _channel(address: str, parameters: Mapping[str, Any], messages: tuple[str, ...], summary: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": summary,
        "servers": [{"$ref": "#/servers/bus"}],
        "parameters": dict(parameters),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _snapshots() -> dict[str, Any]:
    """Return the channels of a late joiner's question and of the end of its answer."""
    end = _channel("snapshot.v1/{nf}/", _NF, ("snapshot",), "The last message of an answer.")
    end["servers"] = [{"$ref": "#/servers/snapshots"}]
    topics = {"type": "array", "items": {"type": "string"}, "maxItems": 64}
    asked = {"title": "Question", "payload": topics | {"description": "Topics and prefixes, each a frame."}}
    question = {"address": "snapshot.v1", "servers": end["servers"], "messages": {"question": asked}}
    return {"snapshotQuestion": question | {"description": "A first frame, then topics."}, "snapshotEnd": end}


def document() -> dict[str, Any]:
    """Return the document; the function is the application that it speaks of."""
    channels = {name: _channel(*topic) for name, topic in _TOPICS.items()}
    security = [{"$ref": "#/components/securitySchemes/curve"}]
    server = {"protocol": "zmq", "protocolVersion": "3.1", "security": security}
    operations: dict[str, Any] = {
        f"publish_{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in channels
    }
    operations["answer_late_joiner"] = {
        "action": "receive",
        "channel": {"$ref": "#/channels/snapshotQuestion"},
        "reply": {"channel": {"$ref": "#/channels/snapshotEnd"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "SuperNetflow: the feed",
            "version": "1.0.0",
            "description": "Quality of experience of subscribers over ZeroMQ: three frames, topic, header, body. The"
            " header is a MessagePack map. The body is one of columns, compressed with zstd; how a column reads is in"
            " docs/feed.md. End what you subscribe to with a slash: topics are compared from their beginning.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/vnd.msgpack",
        "servers": {
            "bus": {"host": "127.0.0.1:5556", "description": "XPUB: connect a SUB socket.", **server},
            "snapshots": {"host": "127.0.0.1:5557", "description": "ROUTER: ask with a DEALER socket.", **server},
        },
        "channels": channels | _snapshots(),
        "operations": operations,
        "components": {
            "schemas": _forms(),
            "messages": {name: _message(name) for name in _MESSAGES},
            "securitySchemes": {
                "curve": {
                    "type": "asymmetricEncryption",
                    "description": "CURVE (RFC 26 of ZeroMQ): the public key of the function, and a pair of keys of"
                    " which the function knows the public one, with the rights that its entry gives.",
                }
            },
        },
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=1) + "\n", encoding="utf-8")
