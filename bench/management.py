"""The management of a running function: sessions, edits and commits with 1,000 and 10,000 static sessions, memory.

``snf run`` is started without ports and asked by netconf-client over SSH on the loopback. A figure in ms is processor
time of that process (all that it does meanwhile is in it) and what the disk takes: the median of writing, flushing and
renaming a file of that size in that folder. The wall clock stands in the cases. Memory is of a process that has the
server and the datastore alone. The plain library ``netconf`` is asked the same where it can answer: a session and a
get-config of a document that is ready.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from lxml import etree
from netconf_client.connect import connect_ssh
from netconf_client.ncclient import Manager

from bench.figure import Figure
from lab.wait import comes_true, slowness

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
SUBSCRIBERS, EXPORT = "urn:supernetflow:yang:snf-subscribers", "urn:supernetflow:yang:snf-export"
USER = "bench"
_CPUCLOCK_SCHED = 2  # of a process's clock, as clock_getcpuclockid(3) makes its number
SESSIONS, GETS, TOGETHER, ENTRIES = 30, 100, 50, 1000
MOST = 10_000  # static sessions that the module allows
COMMITS = {1000: 150, MOST: 25}  # by static sessions
MORE_COMMITS = int(os.environ.get("SNF_BENCH_COMMITS", "300"))  # of which the memory is watched


def entry(number: int) -> str:
    """Return one static session."""
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return (
        f"<static-session><name>s{number}</name><imsi>00101{number:010d}</imsi><ue-ipv4>{address}</ue-ipv4>"
        f"<uplink><address>192.0.2.7</address><teid>{number + 1}</teid></uplink></static-session>"
    )


def subscribers(numbers: Sequence[int]) -> str:
    """Return the container of static sessions."""
    return f'<subscribers xmlns="{SUBSCRIBERS}">{"".join(map(entry, numbers))}</subscribers>'


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


def _keys(folder: Path) -> None:
    """Write the key of the user, and the users file."""
    private, key = Ed25519PrivateKey.generate(), folder / "key"
    form = serialization.PrivateFormat.OpenSSH
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    key.chmod(0o600)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (folder / "users").write_text(f"{USER} {public.decode()}\n")


class Server:
    """A process that serves NETCONF, and what it has cost."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process, self.port, self.folder = process, port, folder

    def cpu_s(self) -> float:
        """Return the processor time of its threads, also of those that have ended."""
        return time.clock_gettime(~self.process.pid << 3 | _CPUCLOCK_SCHED)

    def memory_mb(self) -> float:
        """Return its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    @contextmanager
    def session(self, password: str | None = None) -> Iterator[Manager]:
        """Open a session."""
        way = {"password": password} if password else {"key_filename": str(self.folder / "key")}
        with connect_ssh(host="127.0.0.1", port=self.port, username=USER, **way) as session:
            yield Manager(session=session, timeout=120 * slowness())

    def cost_ms(self, run: Callable[[], object]) -> tuple[float, float]:
        """Return the milliseconds of processor time and of the wall clock that *run* takes."""
        cpu, wall = self.cpu_s(), time.perf_counter()
        run()
        took = time.perf_counter() - wall
        return (self.cpu_s() - cpu) * 1000, took * 1000


@contextmanager
def _serving(folder: Path, words: list[str], port: int) -> Iterator[Server]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        if not comes_true(lambda: process.poll() is not None or _listens(port), 120) or process.poll() is not None:
            raise RuntimeError(f"no server: {(folder / 'log').read_text()[-300:]}")
        yield Server(process, port, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60 * slowness())
        except subprocess.TimeoutExpired:
            process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def function(entries: int, alone: bool = False) -> Iterator[Server]:
    """Run the function with so many static sessions; *alone*: its management without anything that it manages."""
    with tempfile.TemporaryDirectory() as text:
        folder, port = Path(text), _free_port()
        _keys(folder)
        bus = f'<exporter xmlns="{EXPORT}"><endpoint>tcp://127.0.0.1:{_free_port()}</endpoint></exporter>'
        (folder / "startup.xml").write_text(f'<config xmlns="{BASE}">{subscribers(range(entries))}{bus}</config>')
        module = ["bench.management", "--alone"] if alone else ["mgmt.cli.main", "run"]
        words = [
            sys.executable, "-m", *module, "--state-dir", str(folder / "state"), "--users", str(folder / "users"),
            "--startup", str(folder / "startup.xml"), "--netconf", f"127.0.0.1:{port}",
        ]  # fmt: skip
        with _serving(folder, words, port) as server:
            yield server


@contextmanager
def plain() -> Iterator[Server]:
    """Run a server of the package ``netconf`` as its documentation says."""
    with tempfile.TemporaryDirectory() as text:
        folder, port = Path(text), _free_port()
        key = generate_private_key(65537, 2048)
        form = serialization.PrivateFormat.TraditionalOpenSSL  # it reads RSA keys of this form alone
        (folder / "host").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        with _serving(
            folder, [sys.executable, "-m", "bench.management", "--plain", str(folder), str(port)], port
        ) as it:
            yield it


# -- figures -----------------------------------------------------------------------


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _disk_ms(folder: Path, size: int) -> float:
    """Return the median of what it takes to write a file, flush it and its folder, and rename it."""
    took = []
    for _ in range(20):
        began = time.perf_counter()
        with (folder / "probe.new").open("wb") as file:
            file.write(b"x" * size)
            file.flush()
            os.fsync(file.fileno())
        (folder / "probe.new").rename(folder / "probe")
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        took.append((time.perf_counter() - began) * 1000)
    (folder / "probe").unlink()
    return statistics.median(took)


def _edit(client: Manager, inner: str) -> None:
    client.edit_config(target="candidate", config=f'<config xmlns="{BASE}">{inner}</config>')


def _commits(server: Server, entries: int) -> Figure:
    cpu, wall = [], []
    with server.session() as client:
        for number in range(COMMITS[entries]):

            def change(added: int = MOST + number) -> None:
                _edit(client, subscribers([added]))
                client.commit()

            took = server.cost_ms(change)
            cpu.append(took[0])
            wall.append(took[1])
        stored = max(path.stat().st_size for path in (server.folder / "state").rglob("*") if path.is_file())
    disk = _disk_ms(server.folder / "state", stored)
    cases = {
        f"{name} of {entries}, ms": value
        for name, value in (
            ("processor p50", _quantile(cpu, 0.5)), ("processor p99", _quantile(cpu, 0.99)),
            ("wall p50", _quantile(wall, 0.5)), ("wall p99", _quantile(wall, 0.99)), ("disk", disk),
        )
    }  # fmt: skip
    goal = {1000: 50, MOST: 300}[entries]
    name = f"edit and commit of one entry, {entries:,} static sessions, p99"
    note = f"processor time of the function and the disk, {COMMITS[entries]} commits"
    return Figure(name, _quantile(cpu, 0.99) + disk, "ms", goal, cases, note)


def _together(server: Server) -> Figure:
    """Open sessions one after another, ask all of them at once, and count the answers."""
    answered: list[float] = []

    def ask(client: Manager) -> None:
        client.get_config(source="running", filter=f'<filter><exporter xmlns="{EXPORT}"/></filter>')
        answered.append(time.perf_counter() - began)

    with ExitStack() as opened:
        clients = [opened.enter_context(server.session()) for _ in range(TOGETHER)]
        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    cases = {"all answered after, s": max(answered, default=0.0)}
    return Figure("concurrent sessions, all answered", len(answered), "", TOGETHER, cases, "", more=True)


def _open_and_close(server: Server, password: str | None = None) -> tuple[float, float]:
    def run() -> None:
        for _ in range(SESSIONS):
            with server.session(password):
                pass

    run()
    cpu, wall = server.cost_ms(run)
    return cpu / SESSIONS, wall / SESSIONS


def _get_ms(server: Server, password: str | None = None) -> float:
    """Return the processor time of one get-config of little."""
    with server.session(password) as client:

        def run() -> None:
            for _ in range(GETS):
                client.get_config(source="running", filter=f'<filter><exporter xmlns="{EXPORT}"/></filter>')

        run()
        return server.cost_ms(run)[0] / GETS


def _sessions(server: Server) -> list[Figure]:
    ours, wall = _open_and_close(server)
    asked = _get_ms(server)
    with plain() as other:
        theirs, their_wall = _open_and_close(other, USER)
        their_get = _get_ms(other, USER)
    cases = {"processor, ms": ours, "wall, ms": wall, "plain library, processor, ms": theirs}
    cases |= {
        "plain library, wall, ms": their_wall,
        "get-config, ms": asked,
        "plain library, get-config, ms": their_get,
    }
    note = "opened and closed one after another; a second of the function's processor time"
    answer = "one leaf by a subtree filter, of 1,000 static sessions; the plain library answers with a constant"
    return [
        Figure("NETCONF sessions a second", 1000 / ours, "1/s", 20, cases, note, more=True),
        Figure("session, ours / plain library", ours / theirs, "ratio", 1.5, cases, note),
        Figure("get-config of little, ours / plain library", asked / their_get, "ratio", 10, cases, answer),
    ]


def _thousand(server: Server) -> Figure:
    numbers = range(20_000, 20_000 + ENTRIES)
    with server.session() as client:
        edit = server.cost_ms(lambda: _edit(client, subscribers(numbers)))
        commit = server.cost_ms(client.commit)
    cases = {"edit, ms": edit[0], "commit, ms": commit[0], "edit and commit, wall, ms": edit[1] + commit[1]}
    note = f"{ENTRIES} entries in one edit, to 1,000 static sessions; processor time of the function"
    return Figure("1,000 entries in one edit", edit[0], "ms", 400, cases, note)


def _memory() -> list[Figure]:
    with function(MOST - 1, alone=True) as server, server.session() as client:
        client.get_config(source="running")
        _edit(client, subscribers([MOST]))
        client.commit()
        full = server.memory_mb()
    with function(1000, alone=True) as server, server.session() as client:
        first = 0.0
        for number in range(MORE_COMMITS):
            _edit(client, subscribers([2000 + number % 2]) if number % 2 else _gone(2000 + number % 2))
            client.commit()
            if number == MORE_COMMITS // 5:
                first = server.memory_mb()
        grown = server.memory_mb() - first
    note = (
        "resident memory of a process with server, datastore and modules alone, 10,000 static sessions, after a commit"
    )
    more = f"from the first fifth of {MORE_COMMITS} commits to their end, 1,000 static sessions"
    return [
        Figure("memory of the management", full, "MB", 150, {}, note),
        Figure("memory that commits add", grown, "MB", 5, {}, more),
    ]


def _gone(number: int) -> str:
    return (
        f'<subscribers xmlns="{SUBSCRIBERS}" xmlns:nc="{BASE}"><static-session nc:operation="remove">'
        f"<name>s{number}</name></static-session></subscribers>"
    )


def _check() -> Figure:
    """Return the processor time of a whole ``snf config check`` of a configuration as snf init makes it."""
    snf = [sys.executable, "-m", "mgmt.cli.main"]
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder) / "key.pub"
        key = Ed25519PrivateKey.generate().public_key()
        public.write_bytes(key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH))
        made = [*snf, "init", "--dir", folder, "--n3", "n3", "--n4", "n4", "--user", f"bench={public}", "--elsewhere"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        times_s = []
        for _ in range(5):
            before = os.times()
            asked = [*snf, "config", "check", f"{folder}/startup.xml"]
            subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            times_s.append(used)
    note = "of the whole command, imports and modules in it; two ports, the users file and the keys"
    return Figure("snf config check", statistics.median(times_s), "s", 1, {}, note)


def measure() -> list[Figure]:
    """Return the figures of management."""
    with function(1000) as server:
        figures = [*_sessions(server), _together(server), _commits(server, 1000), _thousand(server)]
    with function(MOST - COMMITS[MOST]) as server:
        figures.append(_commits(server, MOST))
    return [*figures, _check(), *_memory()]


# -- the processes that are asked ---------------------------------------------------


class _Nothing:
    """An applier that takes any configuration and does nothing with it."""

    def prepare(self, _old: Any, _new: Any) -> None: ...

    def apply(self, _old: Any, _new: Any) -> None: ...

    def restore(self, _old: Any, _new: Any) -> None: ...

    def verify(self, _old: Any, _new: Any) -> Sequence[str]:
        return ()


def _alone(words: Sequence[str]) -> None:
    """Serve the management of a function that does nothing."""
    from mgmt.netconf.served import Function
    from mgmt.netconf.ssh.listener import NetconfServer
    from mgmt.netconf.store.datastore import Datastore

    given = dict(zip(words[::2], words[1::2], strict=True))
    datastore = Datastore(Path(given["--state-dir"]), _Nothing(), Path(given["--startup"]).read_bytes())
    port = int(given["--netconf"].rpartition(":")[2])
    with NetconfServer(datastore, Function(lambda: {}), port=port, users_file=Path(given["--users"])):
        signal.sigwait({signal.SIGTERM})


def _plain(folder: str, port: str) -> None:
    """Serve with the package alone. It wants a kind of key that paramiko no longer has, and never uses it."""
    shim: Any = types.ModuleType("paramiko.dsskey")
    shim.DSSKey = paramiko.RSAKey
    sys.modules["paramiko.dsskey"] = shim
    paramiko.dsskey = shim
    from netconf import server

    class Methods(server.NetconfMethods):  # type: ignore[misc]
        def rpc_get_config(self, _session: Any, _rpc: Any, _source: Any, _filter: Any) -> etree._Element:
            return etree.fromstring(f'<data xmlns="{BASE}"><exporter xmlns="{EXPORT}"/></data>')

    login = server.SSHUserPassController(username=USER, password=USER)
    server.NetconfSSHServer(login, Methods(), int(port), f"{folder}/host")
    signal.sigwait({signal.SIGTERM})
    os._exit(0)  # its threads do not end


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if sys.argv[1] == "--alone":
        _alone(sys.argv[2:])
    elif sys.argv[1] == "--plain":
        _plain(*sys.argv[2:])
