"""The operator's side of the demonstration: keys, the function's process, and NETCONF.

The function starts with nothing but the users who may log in. Everything else comes by NETCONF from the
namespace ``ops``, over the management network.
"""

from __future__ import annotations

import base64
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from lxml import etree

from feed.late import beside
from lab import plan
from lab.lab import Lab
from lab.net import LabError, inside
from lab.wait import slowness
from mgmt.cli.netconf_client import Client, connect
from nf.errors import SnfError

__all__ = [
    "ENDPOINT",
    "EXAMPLE",
    "NETCONF_PORT",
    "PART",
    "Operator",
    "exporter",
    "interfaces",
    "key_pair",
    "policy",
    "privacy",
]

NETCONF_PORT = 830
ENDPOINT = f"tcp://{plan.PROBE}:5556"
PART = "snf"  # the function's name among the processes of the lab
USER = "operator"
POLICY = "downloads"
_RPC_S = 30.0  # for an answer of the function on a quiet machine
_IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
_IANA = "urn:ietf:params:xml:ns:yang:iana-if-type"
EXAMPLE = Path(__file__).resolve().parents[1] / "yang" / "examples" / "probe-mirror.xml"  # its rules are shown
_ACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
_BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
_SNF = "urn:supernetflow:yang:snf-"


def key_pair(file: Path) -> str:
    """Write a new OpenSSH private key, readable by its owner only; returns the public key as one line."""
    private = ed25519.Ed25519PrivateKey.generate()
    file.touch(mode=0o600)
    file.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


def interfaces(ports: Mapping[str, str], mode: str = "mirror") -> str:
    """Return the configuration of ports, device to role, as XML."""
    entries = (
        f'<interface><name>{name}</name><type xmlns:ianaift="{_IANA}">ianaift:ethernetCsmacd</type>'
        f'<capture xmlns="{_SNF}interfaces"><role>{role}</role><mode>{"mirror" if role == "n4" else mode}</mode>'
        "</capture></interface>"
        for name, role in ports.items()
    )
    return f'<interfaces xmlns="{_IF}">{"".join(entries)}</interfaces>'


def privacy(key: bytes, epoch: int = 1) -> str:
    """Return the key of the pseudonyms as XML."""
    text = base64.b64encode(key).decode()
    return f'<privacy xmlns="{_SNF}privacy"><key>{text}</key><epoch>{epoch}</epoch></privacy>'


def exporter(endpoint: str = ENDPOINT, batch_ms: int = 2000, *, snapshots: str = "") -> str:
    """Return the publisher as XML; *snapshots* is where late joiners ask, empty: nowhere."""
    asked = f"<snapshot-endpoint>{snapshots}</snapshot-endpoint>" if snapshots else ""
    return (
        f'<exporter xmlns="{_SNF}export"><endpoint>{endpoint}</endpoint>{asked}'
        f"<batch-interval>{batch_ms}</batch-interval></exporter>"
    )


def policy(action: str, app_class: str = "download", name: str = POLICY) -> str:
    """Return the policy of a class as XML."""
    return (
        f'<policies xmlns="{_SNF}policies"><policy><name>{name}</name>'
        f"<application-class>{app_class}</application-class><action>{action}</action></policy></policies>"
    )


def _rules() -> str:
    """Return the rules of access control that the examples show."""
    example = etree.parse(EXAMPLE).getroot()
    return str(etree.tostring(example.find(f"{{{_ACM}}}nacm"), encoding="unicode"))


def _configuration(key: bytes, batch_ms: int = 2000) -> str:
    """Return the ports of the lab, the key of the pseudonyms, the bus, a policy and the rules as XML."""
    bus = exporter(batch_ms=batch_ms, snapshots=beside(ENDPOINT))
    return interfaces({"n3": "n3", "n4": "n4"}) + privacy(key) + bus + policy("inspect") + _rules()


class Operator:
    """One orchestrator with one NETCONF session to one function, which is the process *part* of the lab."""

    def __init__(
        self,
        lab: Lab,
        *,
        namespace: str = "probe",
        address: str = plan.PROBE,
        port: int = NETCONF_PORT,
        part: str = PART,
        program: Sequence[str] = (sys.executable, "-m", "mgmt.cli.main"),
    ) -> None:
        self.program = program
        self.lab, self.namespace, self.address, self.port, self.part = lab, namespace, address, port, part
        self.state = lab.folder / f"{part}.state"
        self.users, self.key_file = lab.folder / "users", lab.folder / "operator.key"
        self._host_key_file = lab.folder / "host.key"
        self._session: ExitStack | None = None
        self._client: Client | None = None
        if not self.users.exists():
            self.users.write_text(f'{USER} group="admin" {key_pair(self.key_file)} {USER}\n', encoding="ascii")
            public = key_pair(self._host_key_file)
            self._host_key_file.with_suffix(".pub").write_text(public + "\n", encoding="ascii")

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def startup(self, key: bytes) -> Path:
        """Write the same configuration as a file of a first start; returns its path."""
        path = self.lab.folder / "startup.xml"
        path.touch(mode=0o600)  # the key is in it
        path.write_text(
            f'<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">{_configuration(key)}</config>\n',
            encoding="utf-8",
        )
        return path

    def command(self) -> list[str]:
        """Return the command line of the function."""
        return [
            *(*self.program, "run", "--verbose"),
            *("--state-dir", str(self.state), "--users", str(self.users), "--host-key", str(self._host_key_file)),
            *("--netconf", f"{self.address}:{self.port}"),
        ]

    def start_function(self) -> None:
        """Start ``snf run`` in its namespace and wait until it takes a session.

        Raises LabError when it has ended, or takes none.
        """
        self.lab.start_inside(self.part, self.namespace, *self.command())
        self.lab.wait_until(self._answers, f"{self.part} takes a NETCONF session", part=self.part)

    def _answers(self) -> bool:
        with inside(self.lab.net.path(self._client_side)), socket.socket() as s:
            if s.connect_ex((self.address, self.port)) != 0:
                return False  # an SSH client costs more than this, and the function needs the processor
        with suppress(SnfError):
            self.connect()
        return self._client is not None

    def stop_function(self, how: int = signal.SIGTERM) -> None:
        """Close the session and end the process."""
        self.disconnect()
        self.lab.stop(self.part, how=how)

    def connect(self) -> None:
        """Open the NETCONF session from the management network."""
        self.disconnect()
        host_key = self._host_key_file.with_suffix(".pub").read_text(encoding="ascii")
        with ExitStack() as stack, inside(self.lab.net.path(self._client_side)):
            session = connect(self.address, self.port, USER, self.key_file, host_key, timeout_s=_RPC_S * slowness())
            self._client = stack.enter_context(session)
            self._session = stack.pop_all()

    @property
    def _client_side(self) -> str:
        return "ops" if self.namespace == "probe" else self.namespace

    def disconnect(self) -> None:
        """Close the NETCONF session, if there is one."""
        session, self._session, self._client = self._session, None, None
        if session is not None:
            session.close()

    @property
    def client(self) -> Client:
        """The open session."""
        if self._client is None:
            raise LabError("there is no NETCONF session. Call connect() first.")
        return self._client

    def configure(self, key: bytes, batch_ms: int = 2000) -> None:
        """Give the function its ports, the key of its pseudonyms, its bus, its policies and its rules: one commit."""
        self.client.change(_configuration(key, batch_ms))

    def suppress(self) -> None:
        """Change the policy of downloads from inspect to suppress."""
        self.client.change(policy("suppress"))

    def attached(self) -> dict[str, str]:
        """Return how each port is attached, as the function reports it: native, generic or socket."""
        data = self.client.state(f'<interfaces xmlns="{_IF}"/>')
        here = {"if": _IF, "snf": f"{_SNF}interfaces"}
        return {
            entry.findtext("if:name", "?", here): entry.findtext(
                "snf:capture/snf:state/snf:attached-mode", "not attached", here
            )
            for entry in data.iter(f"{{{_IF}}}interface")
        }
