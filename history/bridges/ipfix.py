"""Records of the feed as IPFIX (RFC 7011): an Exporting Process of one page.

A record is an aggregate of a subscriber's flows with an application over an interval (RFC 7015), uplink and downlink in
one as a Biflow (RFC 5103: the reverse elements are those of the downlink). Elements of IANA carry what they are defined
for; the rest has elements under the enterprise number of the setting, whose names, types and units go out as options
(RFC 5610). Missing floats are NaN, missing text is empty. Each function is an observation domain, named by an option.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from feed.errors import SnfError
from feed.records import APP_CLASSES, RECORD_COLUMNS, columns_of

__all__ = ["OWN", "SMALLEST_BYTES", "Exporter", "Sender", "saved_rows"]

OWN = (
    *("identity_source", "dnn", "app_basis", "rtt_access_ms", "rtt_core_ms", "rtt_min_access_ms", "rtt_min_core_ms"),
    *("rtt_samples", "loss_ul", "loss_dl", "jitter_dl_ms", "gap_max_dl_ms", "ran_ul_ms", "ran_dl_ms", "n3_rtt_ms"),
    *("upf_ul_ms", "upf_dl_ms", "mos", "suspect", "app_confidence", "dns_queries", "dns_ms", "dns_failed"),
    *("dns_retried", "vpn_share", "ttls", "rtt_high_access_ms", "rtt_high_core_ms", "confidence", "unmeasured"),
    *("model", "video_height", "media_bps", "startup_s", "stalled_s", "stalls", "stall_ratio", "buffer_s", "switches"),
    *("state", "mos_session", "fps", "freezes", "frozen_s", "video_bps", "frame_jitter_ms", "codec", "loss_burst"),
    *("beyond_loss", "lag_ms", "lag_jitter_ms", "tick_ms", "tick_loss", "spikes", "spike_ms", "page_s", "pages"),
    *("answer_ms", "speed_bps", "limit", "suspect_by", "suspect_value", "gnb", "slice", "suspect_confidence"),
    *("rat", "tai", "cell"),
)
"""Columns with an element of our own: its number is the place in this list, from 1 on. Further ones come at the end."""

_VERSION = 10
_TEMPLATE_SET, _OPTIONS_SET = 2, 3
_FIRST_TEMPLATE = 256  # that of the first class; behind those of the classes are the options
_REVERSE_PEN = 29305  # RFC 5103, 6.1
_VARIABLE = 0xFFFF
_ENTERPRISE_BIT = 0x8000
# Of a message: no link of IPv6 has less room behind the headers of IPv6 and UDP (RFC 8200, 5), and a template fits in.
SMALLEST_BYTES, _MAX_BYTES = 1280 - 40 - 8, 65_535
_CONNECT_S = 5.0
_CUT_BYTES = 255  # of a text; the feed's names are shorter
# Data types and units of RFC 5610, 3.1 and 3.4.
_TYPES = {"u1": (1, "B"), "u4": (3, "I"), "u8": (4, "Q"), "f4": (9, "f"), "str": (13, "")}
_UNITS = {"byte": 2, "packet": 3, "s": 5, "ms": 6}
_QUANTITY = 1


class _Field(NamedTuple):
    """A field of a template; ``code`` is that of `struct`, empty for text of variable length."""

    number: int
    enterprise: int
    code: str
    of: Callable[[Mapping[str, Any]], Any]

    def spec(self) -> bytes:
        length = struct.calcsize(self.code) if self.code else _VARIABLE
        if not self.enterprise:
            return struct.pack("!HH", self.number, length)
        return struct.pack("!HHI", self.number | _ENTERPRISE_BIT, length, self.enterprise)


def _column(name: str) -> Callable[[Mapping[str, Any]], Any]:
    blank: Any = {"f": math.nan, "s": ""}.get(RECORD_COLUMNS[name].dtype[0], 0)
    return lambda row: blank if (value := row.get(name)) is None else value


_IANA = (
    _Field(152, 0, "Q", lambda row: max(0, row["t_ms"] - row["interval_ms"])),  # flowStartMilliseconds
    _Field(153, 0, "Q", _column("t_ms")),  # flowEndMilliseconds
    _Field(1, 0, "Q", _column("ul_bytes")),  # octetDeltaCount
    _Field(1, _REVERSE_PEN, "Q", _column("dl_bytes")),
    _Field(2, 0, "Q", _column("ul_packets")),  # packetDeltaCount
    _Field(2, _REVERSE_PEN, "Q", _column("dl_packets")),
    _Field(3, 0, "Q", _column("flows")),  # deltaFlowCount
    _Field(371, 0, "", _column("subscriber")),  # userName
    _Field(96, 0, "", _column("app")),  # applicationName
    _Field(372, 0, "", lambda row: row.get("class", "")),  # applicationCategoryName
)


def _text(value: Any) -> bytes:
    """Return a text of variable length (RFC 7011, 7), cut between two characters."""
    raw = str(value).encode()[:_CUT_BYTES].decode(errors="ignore").encode()
    return (bytes([len(raw)]) if len(raw) < 255 else struct.pack("!BH", 255, len(raw))) + raw


@dataclass(frozen=True, slots=True)
class _Template:
    """A template: what announces it, and how a row becomes a record. Fields of fixed length are first."""

    number: int
    fields: Sequence[_Field]
    scopes: int = 0  # of an options template

    def spec(self) -> bytes:
        scopes = struct.pack("!H", self.scopes) if self.scopes else b""
        return struct.pack("!HH", self.number, len(self.fields)) + scopes + b"".join(f.spec() for f in self.fields)

    def record(self, row: Mapping[str, Any]) -> bytes:
        fixed = [f for f in self.fields if f.code]
        return struct.pack("!" + "".join(f.code for f in fixed), *(f.of(row) for f in fixed)) + b"".join(
            _text(f.of(row)) for f in self.fields if not f.code
        )


def _own(enterprise: int) -> dict[str, _Field]:
    return {
        name: _Field(number, enterprise, _TYPES[RECORD_COLUMNS[name].dtype][1], _column(name))
        for number, name in enumerate(OWN, 1)
        if name in RECORD_COLUMNS
    }


def _templates(enterprise: int) -> dict[str, _Template]:
    """Return the templates by class."""
    own = _own(enterprise)
    found = {}
    for place, app_class in enumerate(APP_CLASSES):
        fields = [*_IANA, *(own[name] for name in columns_of(app_class) if name in own)]
        found[app_class] = _Template(_FIRST_TEMPLATE + place, sorted(fields, key=lambda f: not f.code))
    return found


_PLACE = _FIRST_TEMPLATE + 64  # of the options, behind the classes there will ever be
_DOMAIN = _Template(_PLACE, (_Field(149, 0, "I", lambda r: r["domain"]), _Field(300, 0, "", lambda r: r["nf"])), 1)
_ELEMENT = _Template(
    _PLACE + 1,
    (
        _Field(346, 0, "I", lambda r: r["enterprise"]),  # privateEnterpriseNumber
        _Field(303, 0, "H", lambda r: r["number"]),  # informationElementId
        _Field(339, 0, "B", lambda r: r["type"]),  # informationElementDataType
        _Field(344, 0, "B", lambda r: r["semantics"]),  # informationElementSemantics
        _Field(345, 0, "H", lambda r: r["unit"]),  # informationElementUnits
        _Field(341, 0, "", lambda r: r["name"]),  # informationElementName
        _Field(340, 0, "", lambda r: r["what"]),  # informationElementDescription
    ),
    2,
)


def _elements(enterprise: int) -> Iterator[dict[str, Any]]:
    """Yield what is to be known of each element of our own (RFC 5610, 3.9)."""
    for name, own in _own(enterprise).items():
        column = RECORD_COLUMNS[name]
        words = name.split("_")
        yield {
            **{"enterprise": enterprise, "number": own.number, "type": _TYPES[column.dtype][0]},
            "semantics": 0 if column.dtype == "str" else _QUANTITY,
            "unit": _UNITS.get(column.unit, 0),
            "name": "snf" + "".join(word.capitalize() for word in words),
            "what": f"{column.what} ({column.unit})".strip() if column.unit else column.what,
        }


@dataclass(slots=True)
class _Domain:
    sequence: int = 0  # data records sent so far, those of options among them (RFC 7011, 3.1)
    announced: dict[str, None] = field(default_factory=dict)  # classes
    told_s: float = -math.inf


class Exporter:
    """Makes messages of rows and hands them to *send*, which says whether they went out.

    Templates and options go out before the first record that needs them, and again each *again_s* (RFC 7011, 8.4);
    `begin` has all told anew, as a new connection wants it. ``records`` went out, ``lost`` did not, ``refused`` are no
    records, or fit into no message.
    """

    def __init__(self, enterprise: int, message_bytes: int, send: Callable[[bytes], bool], again_s: float) -> None:
        if not 0 < enterprise < 1 << 32 or enterprise == _REVERSE_PEN:
            raise SnfError(f"{enterprise} is no enterprise number of yours.", "IANA assigns one to who asks.")
        if not SMALLEST_BYTES <= message_bytes <= _MAX_BYTES:
            raise SnfError(f"A message has {SMALLEST_BYTES} to {_MAX_BYTES} bytes.", "Leave the option out.")
        self.records = self.lost = self.refused = self.messages = 0
        self._enterprise, self._room = enterprise, message_bytes - 16
        self._send, self._again_s = send, again_s
        self._templates = _templates(enterprise)
        self._domains: dict[str, _Domain] = {}

    def begin(self) -> None:
        """Forget what was told: a new transport session."""
        self._domains.clear()

    def add(self, nf: str, app_class: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Send the records of one function and class."""
        domain = self._domains.setdefault(nf, _Domain())
        template = self._templates.get(app_class, self._templates["unknown"])
        name = app_class if app_class in self._templates else "unknown"
        if time.monotonic() - domain.told_s >= self._again_s:
            domain.announced[name] = None
            self._tell(nf, domain)
        elif name not in domain.announced:
            domain.announced[name] = None
            self._specs(nf, domain, [template])
        self._data(nf, domain, template, ({**row, "class": app_class} for row in rows), count=True)

    def _tell(self, nf: str, domain: _Domain) -> None:
        """Send all templates in use, and the options."""
        domain.told_s = time.monotonic()
        self._specs(nf, domain, [self._templates[name] for name in domain.announced] + [_DOMAIN, _ELEMENT])
        self._data(nf, domain, _DOMAIN, [{"domain": _number(nf), "nf": nf}])
        self._data(nf, domain, _ELEMENT, _elements(self._enterprise))

    def _specs(self, nf: str, domain: _Domain, templates: Sequence[_Template]) -> None:
        for template in templates:
            set_id = _OPTIONS_SET if template.scopes else _TEMPLATE_SET
            self._message(nf, domain, set_id, template.spec(), 0)

    def _data(
        self, nf: str, domain: _Domain, template: _Template, rows: Iterable[Mapping[str, Any]], *, count: bool = False
    ) -> None:
        """Send records in as few messages as they fit into; *count* those of the feed."""
        waiting, n = b"", 0
        for row in rows:
            try:
                record = template.record(row)
            except (struct.error, LookupError, TypeError, ValueError, ArithmeticError):
                record = None
            if record is None or len(record) + 4 > self._room:
                self.refused += 1
                continue
            if len(waiting) + len(record) + 4 > self._room:
                self._counted(self._message(nf, domain, template.number, waiting, n), n * count)
                waiting, n = b"", 0
            waiting, n = waiting + record, n + 1
        if n:
            self._counted(self._message(nf, domain, template.number, waiting, n), n * count)

    def _counted(self, sent: bool, n: int) -> None:
        self.records, self.lost = self.records + n * sent, self.lost + n * (not sent)

    def _message(self, nf: str, domain: _Domain, set_id: int, content: bytes, records: int) -> bool:
        body = struct.pack("!HH", set_id, len(content) + 4) + content
        now = int(time.time()) & 0xFFFFFFFF
        head = struct.pack("!HHIII", _VERSION, len(body) + 16, now, domain.sequence, _number(nf))
        domain.sequence = (domain.sequence + records) & 0xFFFFFFFF
        self.messages += 1
        return self._send(head + body)


def _number(nf: str) -> int:
    """Return the observation domain of a function: the same after each start, and not 0, which means none."""
    return zlib.crc32(nf.encode()) or 1


class Sender:
    """A socket to the collecting process; over TCP it connects again by itself, and tells *renewed* that it did."""

    def __init__(self, host: str, port: int, *, tcp: bool) -> None:
        self.renewed: Callable[[], None] = lambda: None
        self._target, self._tcp = (host, port), tcp
        self._socket: socket.socket | None = None
        self._open()

    def _open(self) -> None:
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        try:
            family, *_, address = socket.getaddrinfo(*self._target, type=kind)[0]
            made = socket.socket(family, kind)
            made.settimeout(_CONNECT_S)
            made.connect(address)
        except OSError as error:
            host, port = self._target
            remedy = "See that the collector listens there."
            raise SnfError(f"{host} port {port} cannot be reached: {error.strerror}.", remedy, passing=True) from None
        self._socket = made

    def send(self, message: bytes) -> bool:
        """Send a message; return whether it went out."""
        if self._socket is None:
            return False
        try:
            self._socket.sendall(message)
        except OSError:  # over UDP: what the message before met with
            if self._tcp:
                self.close()
            return False
        return True

    def mend(self) -> None:
        """Connect again if the connection is gone; what is sent until it is there again is lost."""
        if self._socket is None:
            try:
                self._open()
            except SnfError:
                return
            self.renewed()

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def saved_rows(lines: Iterable[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (function, class, row) of the records among JSON lines of ``snf watch --output json``. Raises SnfError."""
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else {}
            if "mos" not in row:
                continue
            yield str(row.get("nf", "")), str(row.get("class", "unknown")), {"t_ms": 0, "interval_ms": 0} | row
        except (ValueError, TypeError):
            remedy = "Give what snf watch --output json or snf replay --qoe FILE.jsonl wrote."
            raise SnfError(f"Line {number} is no record of the feed.", remedy) from None
