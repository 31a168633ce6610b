"""A consumer of Nupf_EventExposure, written from TS 29.564 and RFC 9113 on the library h2: it asks and is notified.

Nothing here comes from the product: blocking sockets, own threads, and the shapes of the OpenAPI document (release 18)
as a list of facts, `faults`.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events

from lab.wait import slowness

ROOT = "/nupf-ee/v1/ee-subscriptions"


def _connection(client: bool) -> h2.connection.H2Connection:
    return h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks with one connection a request."""

    port: int
    tls: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Reply:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sock: socket.socket = socket.create_connection(("127.0.0.1", self.port), timeout=20 * slowness())
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_hostname="localhost")
        with sock:
            conn = _connection(client=True)
            conn.initiate_connection()
            scheme = "https" if self.tls else "http"
            head = {":method": method, ":scheme": scheme, ":authority": f"localhost:{self.port}", ":path": path}
            head |= {"content-type": kind} if raw else {}
            conn.send_headers(1, list((head | self.headers).items()), end_stream=not raw)
            return self._reply(sock, conn, raw)

    def _reply(self, sock: socket.socket, conn: h2.connection.H2Connection, raw: bytes) -> Reply:
        headers: dict[str, str] = {}
        body = b""
        while True:
            while raw and (room := min(conn.local_flow_control_window(1), conn.max_outbound_frame_size)) > 0:
                conn.send_data(1, raw[:room], end_stream=room >= len(raw))
                raw = raw[room:]
            sock.sendall(conn.data_to_send())
            data = sock.recv(65_536)
            if not data:
                raise ConnectionError("no answer")
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return Reply(int(headers[":status"]), headers, body)

    def subscribe(self, subscription: dict[str, Any]) -> Reply:
        return self.ask("POST", ROOT, {"subscription": subscription})


class Sink:
    """The eventNotifyUri: answers with *statuses* in turn, the last one for ever; keeps what it was sent."""

    def __init__(self, *statuses: int, location: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.statuses, self.location, self.tls = list(statuses or (204,)), location, tls
        self.got: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http{'s' if tls else ''}://127.0.0.1:{self._server.getsockname()[1]}/notify/me?x=1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock: socket.socket = self._server.accept()[0]
            except OSError:
                return
            with contextlib.suppress(OSError):
                if self.tls is not None:
                    sock = self.tls.wrap_socket(sock, server_side=True)
                with sock:
                    self._answer(sock)

    def _answer(self, sock: socket.socket) -> None:
        conn, head, body = _connection(client=False), {}, b""
        conn.initiate_connection()
        while True:
            sock.sendall(conn.data_to_send())
            data = sock.recv(65_536)
            if not data:
                return
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    head = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.heads.append(head)
                    self.got.append(json.loads(body))
                    status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                    more = [("location", self.location)] if self.location else []
                    conn.send_headers(event.stream_id, [(":status", str(status)), *more], end_stream=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # the thread that waits there goes on
        self._server.close()


# -- facts of the OpenAPI document: name, (type or pattern or table, needed) -----

_RATE, _PACKETS, _VOLUME = r"\d+(\.\d+)? [KMGT]?bps", r"\d+(\.\d+)? [kMGT]?pps", r"\d+(\.\d+)? ([kMGT])?B"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
_SNSSAI = {"sst": (int, True), "sd": (r"[A-Fa-f0-9]{6}", False)}
_DOMAIN = {"domainName": (str, True), "domainNameProtocol": ("DNS_QNAME|TLS_SNI|TLS_SAN|TLS_SCN", False)}
_MEASUREMENT = {
    "appId": (str, False),
    "flowInfo": ({"flowDescription": (str, False), "flowDirection": (str, False)}, False),
    "volumeMeasurement": (
        dict.fromkeys(("totalVolume", "ulVolume", "dlVolume"), (_VOLUME, False))
        | dict.fromkeys(("totalNbOfPackets", "ulNbOfPackets", "dlNbOfPackets"), (int, False)),
        False,
    ),
    "throughputMeasurement": (
        dict.fromkeys(("ulThroughput", "dlThroughput"), (_RATE, False))
        | dict.fromkeys(("ulPacketThroughput", "dlPacketThroughput"), (_PACKETS, False)),
        False,
    ),
    "applicationRelatedInformation": ({"urls": ([str], False), "domainInfoList": ([_DOMAIN], False)}, False),
    "throughputStatisticsMeasurement": ({}, False),
}
_QUALITY = {
    **dict.fromkeys(("dlPacketDelay", "ulPacketDelay", "rtrPacketDelay"), (int, False)),
    "measureFailure": (True, False),
    **dict.fromkeys(("dlAveThroughput", "ulAveThroughput"), (_RATE, False)),
}
_ITEM = {
    "eventType": ("QOS_MONITORING|USER_DATA_USAGE_MEASURES", True),
    "timeStamp": (_TIME, True),
    "startTime": (_TIME, False),
    "ueIpv4Addr": (r"(\d{1,3}\.){3}\d{1,3}", False),
    "ueIpv6Prefix": (r"[0-9a-f:]+/\d{1,3}", False),
    "dnn": (str, False),
    "snssai": (_SNSSAI, False),
    "qosMonitoringMeasurement": (_QUALITY, False),
    "userDataUsageMeasurements": ([_MEASUREMENT], False),
}
_NOTIFICATION = {"notificationItems": ([_ITEM], True), "correlationId": (str, False)}


def faults(value: Any, shape: Any = _NOTIFICATION, at: str = "") -> list[str]:
    """Return what is wrong with a notification."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{at} is no object"]
        found = [f"{at}/{name} is missing" for name, (_, needed) in shape.items() if needed and name not in value]
        found += [f"{at}/{name} is unknown" for name in value if name not in shape]
        for name, (inner, _) in shape.items():
            found += faults(value[name], inner, f"{at}/{name}") if name in value else []
        if shape is _ITEM and not value.keys() & {"ueIpv4Addr", "ueIpv6Prefix", "ueMacAddr"}:
            found.append(f"{at} has no address")
        return found
    if isinstance(shape, list):
        if not isinstance(value, list) or not value:
            return [f"{at} is no list, or empty"]
        return [fault for n, each in enumerate(value) for fault in faults(each, shape[0], f"{at}/{n}")]
    if isinstance(shape, str):
        return [] if isinstance(value, str) and re.fullmatch(shape, value) else [f"{at} is {value!r}"]
    if shape is True:
        return [] if value is True else [f"{at} is {value!r}"]
    right = isinstance(value, shape) and not (shape is int and (isinstance(value, bool) or value < 0))
    return [] if right else [f"{at} is {value!r}"]
