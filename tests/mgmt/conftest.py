"""A datastore with an applier that records, a server on loopback, and who may log in to it."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import libyang
import oopt_gnpy_libyang as second
import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lxml import etree
from netconf_client.connect import connect_ssh
from netconf_client.ncclient import Manager

from lab.wait import comes_true, slowness
from mgmt.netconf.events import ConfigChange, Event
from mgmt.netconf.model.yang_model import FEATURES, IMPLEMENTED, Model, default_model, yang_dir
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.state import StateTree
from mgmt.netconf.store.datastore import Datastore
from nf.settings import Limits, Settings

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
MANAGEMENT = "urn:supernetflow:yang:snf-management"
POLICIES = "urn:supernetflow:yang:snf-policies"


@dataclass
class Recorder:
    """An applier: keeps what it was asked to apply, and refuses, fails or differs when told to."""

    calls: list[tuple[Settings, Settings]] = field(default_factory=list)
    fail_with: Exception | None = None
    refuse_with: Exception | None = None
    delay_s: float = 0.0
    differs: tuple[str, ...] = ()

    def prepare(self, old: Settings, new: Settings) -> None:
        if self.refuse_with is not None:
            raise self.refuse_with

    def restore(self, old: Settings, new: Settings) -> None:
        self.apply(old, new)

    def verify(self, old: Settings, new: Settings) -> tuple[str, ...]:
        return self.differs

    def apply(self, old: Settings, new: Settings) -> None:
        self.calls.append((old, new))
        time.sleep(self.delay_s)
        if self.fail_with is not None:
            raise self.fail_with


@pytest.fixture(autouse=True)
def profile_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client profile of the commands that a test runs is its own, and empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("CLIENT", "NETCONF", "USER", "KEY", "HOST_KEY", "ENDPOINT", "CURVE"):
        monkeypatch.delenv(f"SNF_{name}", raising=False)
    return tmp_path / "config" / "supernetflow"


@pytest.fixture(scope="session")
def model() -> Model:
    return default_model()


@pytest.fixture(scope="session")
def libyang_reads() -> Callable[[etree._Element], None]:
    """Validate the data of a reply, configuration and state, with a context of its own; raises LibyangError."""
    context = libyang.Context(f"{yang_dir()}:{yang_dir() / 'ietf'}")
    for module in IMPLEMENTED:
        loaded = context.load_module(module)
        if module in FEATURES:
            loaded.feature_enable_all()

    def read(data: etree._Element) -> None:
        text = "".join(etree.tostring(child, encoding="unicode") for child in data)
        context.parse_data_mem(text, "xml", strict=True, validate_present=True).free(with_siblings=True)

    return read


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


Validator = Callable[[Iterable[etree._Element]], None]


@pytest.fixture(scope="session")
def second_engine() -> Callable[[Path, tuple[str, ...]], Validator]:
    """Make what validates top-level nodes with another libyang than the server's; it raises when they are wrong."""

    def make(folder: Path, modules: tuple[str, ...]) -> Validator:
        second.set_log_options(second.LogOptions.Store)  # it warns of references to what is deprecated
        context = second.Context(str(folder), second.ContextOptions.NoYangLibrary)
        for name in modules:
            context.load_module(name)
        flags = second.ParseOptions.Strict | second.ParseOptions.NoState, second.ValidationOptions.NoState

        def validate(trees: Iterable[etree._Element]) -> None:
            text = "".join(etree.tostring(tree, encoding="unicode") for tree in trees)
            context.parse_data(text, second.DataFormat.XML, *flags)

        return validate

    return make


@pytest.fixture(scope="session")
def second_opinion(second_engine: Callable[[Path, tuple[str, ...]], Validator]) -> Validator:
    """Validate a configuration of the shipped modules with the second engine."""
    return second_engine(yang_dir(), IMPLEMENTED)


@pytest.fixture
def datastore(tmp_path: Path, recorder: Recorder, second_opinion: Validator) -> Iterator[Datastore]:
    """Datastore of which each configuration that is committed is valid in the second engine as well."""
    store, refused = Datastore(tmp_path / "state", recorder), []

    def committed(event: Event) -> None:
        if isinstance(event, ConfigChange):
            try:
                second_opinion(store._running)
            except second.Error as error:
                refused.append(str(error))

    store.events.listen(committed)
    yield store
    assert refused == []


def _config(inner: str) -> etree._Element:
    return etree.fromstring(f'<config xmlns="{BASE}" xmlns:nc="{BASE}">{inner}</config>')


@pytest.fixture(scope="session")
def config() -> Callable[[str], etree._Element]:
    """Wrap top-level nodes as the parameter config of edit-config; nc is the prefix of operations."""
    return _config


@pytest.fixture(scope="session")
def policy() -> Callable[..., str]:
    """The XML of one policy of the container policies."""

    def make(name: str = "a", *, application: str = "youtube", action: str = "inspect", more: str = "") -> str:
        return (
            f'<policies xmlns="{POLICIES}"><policy><name>{name}</name><application>{application}</application>'
            f"<action>{action}</action>{more}</policy></policies>"
        )

    return make


@pytest.fixture(scope="session")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make key pairs as ssh-keygen does: the private file; beside it the .pub."""
    folder = tmp_path_factory.mktemp("keys")

    def make(name: str, kind: str = "ed25519", bits: str = "") -> Path:
        path = folder / name
        if not path.exists():
            key = _generate(kind, int(bits or 0))
            path.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
                )
            )
            path.chmod(0o600)
            public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            path.with_suffix(".pub").write_text(f"{public.decode()} {name}@test\n")
        return path

    return make


def _generate(kind: str, bits: int) -> Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(65537, bits)
    if kind == "ecdsa":
        return ec.generate_private_key({256: ec.SECP256R1(), 521: ec.SECP521R1()}[bits])
    return Ed25519PrivateKey.generate()


STATE: StateTree = {
    "started_s": 1_700_000_000.0,
    "limits": Limits(),
    "restart_needed": ("flows", "shards"),
    "interfaces": {
        "n3": {
            "oper_status": "up",
            "last_change_s": 1_700_000_060.0,
            "phys_address": "02:00:00:00:00:03",
            "since_s": 1_700_000_050.0,
            "device": "eth3",
            "attached_mode": "native",
            "program_id": 7,
            "packets": 10,
            "octets": 1500,
            "counters": {"gtpu_truncated": 2},
        }
    },
    "clock": {"steps": 2, "last_step": "-3600.000", "last_step_time_s": 1_700_000_100.0},
    "takeover": {"process": 4711, "unread_since_s": 1_699_999_990.0, "outage": 7_400},
    "links": {"eth9": "lower-layer-down"},
    "naming": {"waiting": 0, "lost": 3, "restarts": 1},
    "data_plane": {"gtpu_truncated": 2},
    "gtpu_paths": [
        {"requester": "192.0.2.1", "responder": "192.0.2.2", "requests": 2, "responses": 1, "error_indications": 0}
        | {"rtt_samples": 1, "rtt_min": 900, "rtt_mean": 900, "rtt_last": 900}
    ],
    "sources": {
        "pfcp": {"sessions": 23, "oper_status": "up", "messages": 99, "last_heard_s": 1_700_000_070.0},
        "netconf": {"sessions": 1, "oper_status": "up"},
    },
    "n4_peers": {("192.0.2.1", "192.0.2.10"): 23},
    "exporter": {"oper_status": "up", "records": 5, "dropped": 0, "subscribers": 1}
    | {"octets_sent": 99, "inspected_octets": 100_000},
    "listeners": {"b": {"oper_status": "up", "records": 2, "dropped": 0, "subscribers": 3}},
}


class Bench:
    """A running server, and ways to talk to it."""

    def __init__(self, server: NetconfServer, datastore: Datastore, recorder: Recorder, users: Path, key: Path) -> None:
        self.server, self.datastore, self.recorder, self.users, self.key = server, datastore, recorder, users, key

    @contextmanager
    def manager(self, user: str = "alice", key: Path | None = None, *, timeout_s: float = 20.0) -> Iterator[Manager]:
        """Open a session of netconf-client."""
        session = connect_ssh(host="127.0.0.1", port=self.server.port, username=user, key_filename=str(key or self.key))
        with Manager(session=session, timeout=timeout_s * slowness()) as manager:
            yield manager

    @contextmanager
    def channel(self, user: str = "alice", key: Path | None = None) -> Iterator[paramiko.Channel]:
        """Open the byte stream of a session: paramiko without a NETCONF library on top."""
        transport = paramiko.Transport(("127.0.0.1", self.server.port))
        try:
            transport.connect(username=user, pkey=paramiko.PKey.from_path(key or self.key))
            channel = transport.open_session()
            channel.settimeout(20 * slowness())
            channel.invoke_subsystem("netconf")
            yield channel
        finally:
            with suppress(OSError):
                transport.sock.shutdown(socket.SHUT_RDWR)  # close() alone waits for a poll of its thread
            transport.close()

    def threads(self) -> list[threading.Thread]:
        """Return the threads of the server but for the one that accepts; none of a client in this process."""
        names = ("netconf-login", "Thread-")
        found = [t for t in threading.enumerate() if t.name.startswith(names)]
        return [t for t in found if getattr(t, "server_mode", True) and not isinstance(t, threading.Timer)]

    def settles(self, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Say if *condition* comes true in time."""
        return comes_true(condition, seconds)


@pytest.fixture
def limits() -> str:
    """Return the leaves of the container server of the module snf-management that are not the default ones."""
    return ""


@pytest.fixture
def bench(
    datastore: Datastore, recorder: Recorder, key_pair: Callable[..., Path], tmp_path: Path, limits: str
) -> Iterator[Bench]:
    key = key_pair("alice")
    users = tmp_path / "users"
    users.write_text(f"# operators\nalice {key.with_suffix('.pub').read_text()}")
    if limits:
        server = f'<management xmlns="{MANAGEMENT}"><server>{limits}</server></management>'
        session = datastore.open_session()
        datastore.edit(session, _config(server))
        datastore.commit(session)
        datastore.close_session(session)
    with NetconfServer(datastore, Function(lambda: STATE), port=0, users_file=users) as server:
        yield Bench(server, datastore, recorder, users, key)
