"""Refusals of Nupf_EventExposure: ProblemDetails, HTTP/2, TLS and the command."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from feed.errors import SnfError
from history.bridges.http2 import client_context, server_context
from history.bridges.nupf import Exposure, Limits, Place, run
from lab.wait import comes_true, slowness
from mgmt.cli.main import main
from tests.history.nupf_rig import NAME, PATCH, Bridge, Start, bridges, edited, sinks, wanted
from tests.history.upf_client import ROOT, Client, Sink

BROKEN = "INVALID_MSG_FORMAT"


@pytest.fixture
def start() -> Iterator[Start]:
    with bridges() as begin:
        yield begin


@pytest.fixture
def sink() -> Iterator[Callable[..., Sink]]:
    with sinks() as make:
        yield make


@pytest.fixture(scope="module")
def shared() -> Iterator[Bridge]:
    """One bridge for refusals, without a feed but with an IMSI heard."""
    exposure = Exposure(Limits(), "", lambda address: "")
    exposure._imsis_heard = True
    stop, ports = threading.Event(), list[int]()
    place = Place("127.0.0.1", 0, None, client_context(None))
    thread = threading.Thread(target=run, args=(exposure, place, "tcp://127.0.0.1:9", None, stop, ports.append))
    thread.start()
    assert comes_true(lambda: bool(ports), 20)
    yield Bridge(None, exposure, Client(ports[0]))  # type: ignore[arg-type]
    stop.set()
    thread.join()


class TestRefusals:
    """ProblemDetails answer what the feed cannot tell, and what is no request (TS 29.500, 5.2.7)."""

    @pytest.mark.parametrize(
        ("path", "value", "cause", "param"),
        [
            ("eventList", ..., "MANDATORY_IE_MISSING", "eventList"),
            ("eventNotifyUri", ..., "MANDATORY_IE_MISSING", "eventNotifyUri"),
            ("notifyCorrelationId", ..., "MANDATORY_IE_MISSING", "notifyCorrelationId"),
            ("eventReportingMode", ..., "MANDATORY_IE_MISSING", "eventReportingMode"),
            ("nfId", ..., "MANDATORY_IE_MISSING", "nfId"),
            ("supi", ..., "MANDATORY_IE_MISSING", "supi"),
            ("supi", 7, "OPTIONAL_IE_INCORRECT", "supi"),
            ("supi", "nai-a@b", "OPTIONAL_IE_INCORRECT", "supi"),
            ("eventList", [], "MANDATORY_IE_INCORRECT", "eventList"),
            ("eventList.type", "USER_DATA_USAGE_TRENDS", "MANDATORY_IE_INCORRECT", "eventList/0/type"),
            ("eventList.type", "TSC_MNGT_INFO", "MANDATORY_IE_INCORRECT", "eventList/0/type"),
            ("eventList.measurementTypes", ..., "MANDATORY_IE_MISSING", "eventList/0/measurementTypes"),
            ("eventList.trafficFilters", [{}], "OPTIONAL_IE_INCORRECT", "eventList/0/trafficFilters"),
            ("eventNotifyUri", "ftp://x/", "MANDATORY_IE_INCORRECT", "eventNotifyUri"),
            ("eventNotifyUri", "http://x:y/", "MANDATORY_IE_INCORRECT", "eventNotifyUri"),
            ("anyUe", True, "OPTIONAL_IE_INCORRECT", "anyUe"),
            ("gpsi", "msisdn-49170", "OPTIONAL_IE_INCORRECT", "gpsi"),
            ("pei", "imei-1", "OPTIONAL_IE_INCORRECT", "pei"),
            ("snssai", {"sst": 300}, "OPTIONAL_IE_INCORRECT", "snssai"),
            ("eventReportingMode.trigger", "NEVER", "MANDATORY_IE_INCORRECT", "eventReportingMode/trigger"),
            ("eventReportingMode.trigger", "PERIODIC", "MANDATORY_IE_MISSING", "eventReportingMode/repPeriod"),
            ("eventReportingMode.sampRatio", 10, "OPTIONAL_IE_INCORRECT", "eventReportingMode/sampRatio"),
            ("eventReportingMode.expiry", "2020-01-01T00:00:00Z", "OPTIONAL_IE_INCORRECT",
             "eventReportingMode/expiry"),
            ("eventReportingMode.expiry", "2099-01-01T00:00:00", "OPTIONAL_IE_INCORRECT",
             "eventReportingMode/expiry"),
        ],
    )  # fmt: skip
    def test_of_an_attribute(self, shared, path, value, cause, param):
        refused = shared.client.subscribe(edited(wanted("http://127.0.0.1:9/n"), path, value))

        assert (refused.status, refused.headers["content-type"]) == (400, "application/problem+json")
        assert (refused.json["status"], refused.json["cause"]) == (400, cause)
        assert [each["param"] for each in refused.json["invalidParams"]] == [f"/subscription/{param}"]
        assert refused.json["invalidParams"][0]["reason"]

    @pytest.mark.parametrize(
        ("method", "path", "body", "kind", "status", "cause"),
        [
            ("POST", ROOT, b"{", "application/json", 400, "INVALID_MSG_FORMAT"),
            ("POST", ROOT, b"[" * 60_000, "application/json", 400, "INVALID_MSG_FORMAT"),
            ("POST", ROOT, b"[1]", "application/json", 400, "INVALID_MSG_FORMAT"),
            ("POST", ROOT, b'{"subscription": {"a": %s}}' % (b"[" * 900 + b"]" * 900), "application/json", 400, BROKEN),
            ("POST", ROOT, b'{"subscription": {"a": NaN}}', "application/json", 400, BROKEN),
            ("POST", ROOT, b'{"subscription": {"a": -1e999}}', "application/json", 400, BROKEN),
            ("POST", ROOT, b"{}", "text/plain", 415, None),
            ("POST", ROOT, b" " * 70_000, "application/json", 413, None),
            ("GET", ROOT, b"", "", 405, None),
            ("PUT", f"{ROOT}/abc", b"{}", "application/json", 405, None),
            ("PATCH", f"{ROOT}/abc", b"[]", PATCH, 404, "SUBSCRIPTION_NOT_FOUND"),
            ("DELETE", f"{ROOT}/abc", b"", "", 404, "SUBSCRIPTION_NOT_FOUND"),
            (
                "POST",
                "/nupf-ee/v2/ee-subscriptions",
                b"{}",
                "application/json",
                404,
                "RESOURCE_URI_STRUCTURE_NOT_FOUND",
            ),
            ("DELETE", f"{ROOT}/a/b", b"", "", 404, "RESOURCE_URI_STRUCTURE_NOT_FOUND"),
        ],
    )
    def test_of_a_request(self, shared, method, path, body, kind, status, cause):
        refused = shared.client.ask(method, path, body, kind)

        assert refused.status == status
        assert (refused.json["status"], refused.json.get("cause")) == (status, cause)

    def test_of_an_address_that_nobody_has(self, shared):
        refused = shared.client.subscribe(wanted("http://127.0.0.1:9/n", ueIpAddress={"ipv4Addr": "10.45.0.77"}))

        assert refused.status == 404

    def test_of_a_supi_where_the_operator_exports_none(self, start):
        bridge = start(imsi=False)

        refused = bridge.client.subscribe(wanted("http://127.0.0.1:9/n"))

        assert (refused.status, refused.json["invalidParams"][0]["param"]) == (403, "/subscription/supi")

    def test_of_one_too_many(self, start):
        bridge = start(Limits(subscriptions=1))

        assert bridge.client.subscribe(wanted("http://127.0.0.1:9/n", period_s=60)).status == 201
        refused = bridge.client.subscribe(wanted("http://127.0.0.1:9/n", period_s=60))

        assert (refused.status, refused.json["cause"]) == (500, "INSUFFICIENT_RESOURCES")

    def test_without_the_token(self, start):
        bridge = start(token="a-long-enough-token")

        refused = bridge.client.ask("DELETE", f"{ROOT}/abc")
        shown = Client(bridge.client.port, headers={"authorization": "Bearer a-long-enough-token"})

        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert shown.ask("DELETE", f"{ROOT}/abc").status == 404


class TestHttp2:
    """A peer that breaks the protocol loses its connection, and nobody else does."""

    @pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 200, b"PRI * HTTP/2.0\r\n"])
    def test_noise(self, shared, noise):
        with socket.create_connection(("127.0.0.1", shared.client.port), timeout=30) as sock:
            sock.sendall(noise)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass

        assert shared.client.ask("DELETE", f"{ROOT}/abc").status == 404

    def test_a_port_that_is_taken_is_one_sentence(self, shared):
        place = Place("127.0.0.1", shared.client.port, None, client_context(None))
        with pytest.raises(SnfError, match="cannot be listened to"):
            run(Exposure(Limits()), place, "tcp://127.0.0.1:9", None, threading.Event(), lambda port: None)


class TestTls:
    """With a certificate the service and the notifications are HTTP/2 over TLS (TS 33.210, 6.2)."""

    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls, tmp_path_factory):
        """Return a certificate that is its own authority, and its key."""
        folder = tmp_path_factory.mktemp("tls")
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return str(certificate), str(key)

    def test_a_consumer_shows_its_certificate(self, pair):
        stop, ports = threading.Event(), list[int]()
        place = Place("127.0.0.1", 0, server_context(*pair, pair[0]), client_context(pair[0]))
        arguments = (Exposure(Limits()), place, "tcp://127.0.0.1:9", None, stop, ports.append)
        thread = threading.Thread(target=run, args=arguments)
        thread.start()
        try:
            assert comes_true(lambda: bool(ports), 20)
            stranger, known = (ssl.create_default_context(cafile=pair[0]) for _ in range(2))
            known.load_cert_chain(*pair)
            for context in (stranger, known):
                context.set_alpn_protocols(["h2"])

            with pytest.raises((ssl.SSLError, ConnectionError)):
                Client(ports[0], stranger).ask("DELETE", f"{ROOT}/abc")
            assert Client(ports[0], known).ask("DELETE", f"{ROOT}/abc").status == 404
        finally:
            stop.set()
            thread.join()

    def test_a_notification_goes_to_whom_the_authority_vouches_for(self, pair, sink):
        context = server_context(*pair, None)
        consumer = sink(tls=context)
        exposure = Exposure(Limits(pause_s=0), "", lambda address: NAME)

        asyncio.run(exposure.notify("x", consumer.uri, b"{}", client_context(pair[0])))
        asyncio.run(exposure.notify("x", consumer.uri, b"{}", client_context(None)))

        assert (exposure.counters["notifications_sent"], exposure.counters["notifications_dropped"]) == (1, 1)
        assert consumer.got == [{}]


class TestCommand:
    """``snf bridge nupf`` listens on loopback, and elsewhere only where consumers show who they are."""

    def test_it_serves_until_it_is_told_to_end(self, tmp_path):
        token = tmp_path / "token"
        token.write_text("0123456789abcdef\n")
        token.chmod(0o600)
        command = [sys.executable, "-m", "mgmt.cli.main", "bridge", "nupf", "--listen", "127.0.0.1:0"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        served = subprocess.Popen([*command, "--token", str(token)], text=True, **pipes)
        try:
            assert served.stdout is not None
            uri = served.stdout.readline().strip()
            client = Client(int(uri.split(":")[2].split("/")[0]))
            assert client.ask("DELETE", f"{ROOT}/abc").status == 401
            client.headers["authorization"] = "Bearer 0123456789abcdef"
            assert client.ask("DELETE", f"{ROOT}/abc").status == 404
        finally:
            served.send_signal(signal.SIGTERM)
            said = served.communicate(timeout=60 * slowness())[1]

        assert served.returncode == 0
        assert "refused 2, requests 2" in said

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--listen", "0.0.0.0:0"], "Everybody who reaches 0.0.0.0 could subscribe"),
            (["--listen", "[::]:0", "--certificate", "{file}", "--certificate-key", "{file}"], "could subscribe"),
            (["--token", "{open}"], "Everybody on this host can read the token"),
            (["--token", "{file}"], "is too short"),
            (["--certificate", "{file}"], "TLS needs a certificate and its key"),
            (["--certificate", "{file}", "--certificate-key", "{file}"], "certificates cannot be used"),
            (["--endpoint", "nonsense"], "Cannot connect to nonsense"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, tmp_path, capsys, words, said):
        for name, mode in (("open", 0o644), ("file", 0o600)):
            (tmp_path / name).write_text("short")
            (tmp_path / name).chmod(mode)

        with pytest.raises(SystemExit) as ended:
            main(["bridge", "nupf", *(word.format(file=tmp_path / "file", open=tmp_path / "open") for word in words)])

        assert ended.value.code == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
