"""Two servers that hold the module ``neutral``, asked request by request, and their answers in one form.

`Ours` is the server of this function over SSH; `Yuma` is ``netconfd`` of yuma123, which listens at a socket
and is asked through its own ``netconf-subsystem``, as sshd would start it.
"""

from __future__ import annotations

import io
import os
import re
import select
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lxml import etree

from lab.wait import comes_true, slowness
from mgmt.netconf.model.yang_model import IMPLEMENTED, Model, yang_dir
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from nf.settings import Settings
from tests.mgmt import raw
from tests.mgmt.interop.rpcs import BASE, NEUTRAL

HERE = Path(__file__).parent
NC = f"{{{BASE}}}"
EMPTY = {"top", "types", "limits"}  # containers without presence, which mean nothing by being there (RFC 7950, 7.5.1)
END_10, END_11 = b"]]>]]>", b"\n##\n"  # RFC 6242, 4.3 and 4.2
HELLO = "<hello xmlns='{}'><capabilities>{}</capabilities></hello>".format(
    BASE, "".join(f"<capability>urn:ietf:params:netconf:base:{version}</capability>" for version in ("1.0", "1.1"))
)


@dataclass(frozen=True)
class Outcome:
    """An answer: ``ok``, ``data`` with the nodes of ``top``, or ``error`` with type, tag, app-tag and path."""

    kind: str
    type: str = ""
    tag: str = ""
    app_tag: str = ""
    path: str = ""
    data: str = ""

    def __str__(self) -> str:
        said = [f"{n} {v}" for n, v in (("app-tag", self.app_tag), ("at", self.path)) if v]
        return " ".join([self.kind, self.type, self.tag, *said, self.data]).replace("  ", " ").strip()


def outcome_of(reply: etree._Element) -> Outcome:
    error = reply.find(f"{NC}rpc-error")
    if error is not None:
        texts = {
            name: (error.findtext(f"{NC}error-{name}") or "").strip() for name in ("type", "tag", "app-tag", "path")
        }
        return Outcome("error", texts["type"], texts["tag"], texts["app-tag"], plain_path(texts["path"]))
    if reply.find(f"{NC}ok") is not None:
        return Outcome("ok")
    return Outcome("data", data=canonical(reply))


def plain_path(path: str) -> str:
    """Return a path without prefixes and without the spaces and kinds of quote that servers write differently."""
    bare = re.sub(r"(?<=[/\[])\s*[\w.-]+:(?=[\w.-])", "", path)
    return re.sub(r"\[\s*([\w.-]+)\s*=\s*[\"']([^\"']*)[\"']\s*\]", r"[\1='\2']", bare)


def canonical(reply: etree._Element) -> str:
    """Return ``top`` of a reply as sorted lines of path and value: no list here has an order of its own."""
    lines: list[str] = []
    for top in reply.iter(f"{{{NEUTRAL}}}top"):
        _lines(top, "", lines)
    return "; ".join(sorted(lines))


def _lines(element: etree._Element, above: str, lines: list[str]) -> None:
    children = [child for child in element if isinstance(child.tag, str)]
    name = etree.QName(element).localname
    keys = [(etree.QName(c).localname, c.text or "") for c in children] if name in ("entry", "pair") else []
    known = {"entry": ("name",), "pair": ("left", "right")}.get(name, ())
    here = f"{above}/{name}" + "".join(f"[{k}={v}]" for k, v in keys if k in known)
    if not children and name in EMPTY:
        return
    text = (element.text or "").strip() if not children else ""
    if text or not children:
        text = text.rpartition(":")[2] if name == "identity" else text
        lines.append(f"{here} {text}".strip())
    for child in children:
        _lines(child, here, lines)


class Nothing:
    """An applier that puts nothing in force: the neutral module means nothing."""

    def prepare(self, _old: Settings, _new: Settings) -> None: ...

    def apply(self, _old: Settings, _new: Settings) -> None: ...

    def restore(self, _old: Settings, _new: Settings) -> None: ...

    def verify(self, _old: Settings, _new: Settings) -> tuple[str, ...]:
        return ()


class Ours:
    """This server with the neutral module beside its own, and a session of it for each number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        modules = folder / "yang"
        modules.mkdir()
        for path in [*yang_dir().glob("*.yang"), HERE / "neutral.yang"]:
            (modules / path.name).symlink_to(path)
        (modules / "ietf").symlink_to(yang_dir() / "ietf")
        datastore = Datastore(folder / "state", Nothing(), model=Model(modules, (*IMPLEMENTED, "neutral")))
        key, users = paramiko.Ed25519Key(file_obj=io.StringIO(_private_key())), folder / "users"
        users.write_text(f"root ssh-ed25519 {key.get_base64()} test\n")
        users.chmod(0o600)
        with ExitStack() as opened:
            server = opened.enter_context(NetconfServer(datastore, Function(dict), port=0, users_file=users))
            self._channels = [self._channel(opened, server.port, key) for _ in (1, 2)]
            self._opened = opened.pop_all()

    @staticmethod
    def _channel(opened: ExitStack, port: int, key: paramiko.PKey) -> paramiko.Channel:
        transport = paramiko.Transport(("127.0.0.1", port))
        opened.callback(transport.close)
        transport.connect(username="root", pkey=key)
        channel = transport.open_session()
        channel.settimeout(30 * slowness())
        channel.invoke_subsystem("netconf")
        return channel

    def close(self) -> None:
        self._opened.close()

    def ask(self, session: int, operation: str) -> etree._Element:
        return raw.ask(self._channels[session - 1], operation)


def _private_key() -> str:
    form = serialization.PrivateFormat.OpenSSH
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class Yuma:
    """``netconfd``, and a session of it for each number."""

    def __init__(self, folder: Path) -> None:
        (folder / "home" / ".yuma").mkdir(parents=True)  # it keeps the number of its last transaction there
        path, self._log = folder / "socket", folder / "netconfd.log"
        environment = {"HOME": str(folder / "home"), "USER": "root", "LOGNAME": "root", "PATH": os.environ["PATH"]}
        words = [
            "/usr/sbin/netconfd", "--access-control=off", "--no-startup", "--target=candidate", "--superuser=root",
            f"--ncxserver-sockname={path}", f"--modpath={HERE}:/usr/share/yuma/modules", "--module=neutral",
            f"--log={self._log}", "--log-level=warn",
        ]  # fmt: skip
        self._server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, cwd=folder)
        self._sessions: list[_Session] = []
        try:
            assert comes_true(lambda: _listens(path), 20), self._log.read_text()
            for _ in (1, 2):
                self._sessions.append(_Session(path, environment))
        except BaseException:
            self.close()
            raise

    def ask(self, session: int, operation: str) -> etree._Element:
        return self._sessions[session - 1].ask(operation)

    def close(self) -> None:
        for process in [*(session.process for session in self._sessions), self._server]:
            process.kill()
            process.communicate()


def _listens(path: Path) -> bool:
    """Say if somebody accepts at a socket; netconfd makes it before it listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class _Session:
    """One run of ``netconf-subsystem``: what sshd would start for a client."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["/usr/sbin/netconf-subsystem", f"--ncxserver-sockname=830@{path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**environment, "SSH_CONNECTION": "127.0.0.1 10000 127.0.0.1 830"},
        )
        self._buffer, self._sent = b"", 0
        self._read(END_10)
        self._write(HELLO.encode() + END_10)

    def ask(self, operation: str) -> etree._Element:
        self._send(operation)
        number = str(self._sent)
        while True:
            chunks, whole = self._read(END_11), b""
            while chunks:
                size = re.match(rb"\n#(\d+)\n", chunks)
                assert size, chunks
                end = size.end() + int(size[1])
                whole, chunks = whole + chunks[size.end() : end], chunks[end:]
            reply = etree.fromstring(whole)
            if reply.get("message-id") == number:
                return reply

    def _send(self, operation: str) -> None:
        self._sent += 1
        message = f'<rpc message-id="{self._sent}" xmlns="{BASE}">{operation}</rpc>'.encode()
        self._write(b"\n#%d\n%b" % (len(message), message) + END_11)

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def _read(self, end: bytes) -> bytes:
        out, silent = self.process.stdout, 0
        assert out is not None
        while end not in self._buffer:
            while not select.select([out], [], [], 0.1)[0]:
                # Two messages in one packet: netconfd keeps the answer to the second until it hears another one.
                silent += 1
                assert silent < 300 * slowness(), "netconfd does not answer"
                self._send("<get-config><source><running/></source><filter/></get-config>")
            piece = os.read(out.fileno(), 65_536)
            assert piece, "netconfd closed the session"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(end)
        return message.lstrip(b"\n") if end == END_10 else message
