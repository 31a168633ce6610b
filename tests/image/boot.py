"""The story of one image: powered on, configured by user data and NETCONF, fed, upgraded, started again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from feed.consumer import CurveKeys, Subscriber, key_pair
from feed.wire import Message
from lab import operator
from lab.net import LabError
from mgmt.cli.netconf_client import Client, connect
from nf.errors import SnfError
from nf.privacy import Pseudonymiser
from tests.image import seed, traffic
from tests.image.machine import MACS, Machine, Said
from tests.image.report import Report

__all__ = ["Packages", "Story"]

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 600.0  # for what the function does by itself; emulated, an interval may take many
_RPC_S = 300.0
_USER = "operator"
_EXAMPLE = (ROOT / "deploy/image/cloud-init/mirror.yaml").read_text()
_EXPORTER = "urn:supernetflow:yang:snf-export"
_CAPTURE = "urn:supernetflow:yang:snf-interfaces"
_IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
# Lines of the console that end a part, in their order.
_PARTS = (
    ("firmware and boot loader", ("Linux version",)),
    ("kernel", ("Run /init as init process",)),
    ("initrd", ("systemd 252", "Welcome to")),
    ("systemd", ("running 'init-local'",)),
    ("cloud-init, local stage", ("running 'init' at",)),
    (
        "cloud-init, network stage",
        ("Starting supernetflow.service", "running 'modules:final'"),
    ),
)


# The same of the log of the function, where user data have it on the console before it starts.
_FUNCTION = (
    ("cloud-init, final stage, snf init", ("Starting supernetflow.service - SuperNetflow",)),
    ("the function: Python and imports", ("making the kernel programs",)),
    ("the function: verifier", ("making the kernel programs: ",)),
    ("the function: ports and configuration", ("putting the configuration in force: ",)),
)


@dataclass(frozen=True, slots=True)
class Packages:
    """The package that is in the image, and one of a lower version with other programs."""

    here: Path
    older: Path


@dataclass(slots=True)
class Story:
    """A machine that is told of, from power-on to its last reboot."""

    report: Report
    machine: Machine
    key: Path
    pair: tuple[str, str] = field(default_factory=key_pair)  # of the consumer of the bus
    told_early: bool = False  # the log of the function is on the console before it starts
    server_key: str = ""
    pseudonym: str = ""

    # -- power-on ------------------------------------------------------------------

    def power_on(self) -> None:
        """Follow the boot until NETCONF answers, and tell what each part took."""
        before = Said("", 0.0, 0.0)
        for name, words in (*_PARTS, *(_FUNCTION if self.told_early else ())):
            said = self.machine.hear(*words)
            self.report.part(name, said.processor_s - before.processor_s, said.clock_s - before.clock_s)
            self.report.say(f"{said.processor_s:6.1f} processor s: {name} is through")
            before = said
        with self.client() as client:
            answer = client.config("<nothing/>")
            assert answer is not None
            now = Said("", self.machine.processor_s, self.machine.clock_s)
            self.report.part(
                "NETCONF, to its answer" if self.told_early else "the function, to its answer",
                now.processor_s - before.processor_s,
                now.clock_s - before.clock_s,
            )
            self.report.answered(now.processor_s, now.clock_s)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a session with the function once it takes one."""
        begun = time.monotonic()
        while True:
            self.machine.listen()
            self.machine.check()
            try:
                opened = connect("127.0.0.1", self.machine.netconf_port, _USER, self.key, timeout_s=_RPC_S)
                client = opened.__enter__()
                break
            except SnfError as why:
                if time.monotonic() - begun > _PATIENCE_S:
                    raise LabError(f"{why} The machine's last words:\n{self.machine.last_words()}") from None
                time.sleep(0.5)  # between two tries: each costs the machine a handshake
        try:
            yield client
        finally:
            opened.__exit__(None, None, None)

    # -- what runs inside ------------------------------------------------------------

    def inside(self) -> None:
        """Look at cloud-init, the unit and its own times."""
        self.machine.hear("finished at")
        status = self.machine.must("cloud-init status --long")
        self.report.check("cloud-init", "status: done" in status, " ".join(status.split()))
        self.unit("unit")
        root = self.machine.must("getent shadow root | cut -d: -f2 | cut -c1")
        self.report.check("root is locked", root in "!*", root)
        failed = self.machine.must("systemctl --failed --no-legend --plain")
        self.report.check("no unit failed", not failed, failed or "none")
        self.report.say(self.machine.must("systemd-analyze time; systemd-analyze blame | head -12"))
        for name, text in self.phases():
            self.report.say(f"    {name}: {text}")

    def unit(self, what: str) -> None:
        """Check that the service runs under its hardening."""
        show = "ActiveState,SubState,User,NoNewPrivileges,ProtectSystem,CapabilityBoundingSet,MainPID"
        said = dict(
            line.split("=", 1) for line in self.machine.must(f"systemctl show -p {show} supernetflow").splitlines()
        )
        process = self.machine.must(f"grep -E 'NoNewPrivs|CapBnd|Seccomp:' /proc/{said['MainPID']}/status")
        state = dict(line.split(":\t") for line in process.splitlines())
        ok = (said["ActiveState"], said["User"], said["ProtectSystem"]) == ("active", "supernetflow", "strict")
        ok &= (state["NoNewPrivs"], state["Seccomp"]) == ("1", "2")
        capabilities = bin(int(state["CapBnd"], 16)).count("1")
        self.report.check(
            what,
            ok and capabilities <= 5,
            f"{said['ActiveState']}, user {said['User']}, {capabilities} capabilities, seccomp",
        )

    def phases(self) -> Iterator[tuple[str, str]]:
        """Yield what the service's own log says of its start: seconds of the machine."""
        text = self.machine.must("journalctl -b -u supernetflow -o json --output-fields=MESSAGE | cat")
        for line in text.splitlines():
            if not line.startswith("{"):
                continue
            entry: dict[str, Any] = json.loads(line)
            yield f"{int(entry['__MONOTONIC_TIMESTAMP']) / 1e6:.1f} s", str(entry.get("MESSAGE"))

    # -- NETCONF -------------------------------------------------------------------

    def ports(self, what: str) -> None:
        """Check that both ports are found by MAC address and read in the driver."""
        with self.client() as client:
            state = client.state(f'<interfaces xmlns="{_IF}"/>')
        found = {
            interface.findtext(f"{{{_IF}}}name"): (
                interface.findtext(f".//{{{_CAPTURE}}}attached-mode"),
                interface.findtext(f".//{{{_IF}}}phys-address"),
            )
            for interface in state.iter(f"{{{_IF}}}interface")
        }
        due = {name: ("native", MACS[name]) for name in ("n3", "n6")}
        self.report.check(what, found == due, ", ".join(f"{n} {m} {a}" for n, (m, a) in found.items()))

    def commit(self) -> None:
        """Name a subscriber and let a consumer in, in one change; read the bus's public key back."""
        consumer = (
            f'<exporter xmlns="{_EXPORTER}"><batch-interval>1000</batch-interval><curve><consumer>'
            f"<public-key>{escape(self.pair[0])}</public-key><topic>qoe.v1/</topic><topic>health.v1/</topic>"
            "</consumer></curve></exporter>"
        )
        key = bytes(range(7, 39))
        with self.client() as client:
            client.change(consumer + traffic.session() + operator.privacy(key))
            running = client.config()
        self.pseudonym = Pseudonymiser(key, 1).name(traffic.IMSI)
        self.server_key = running.findtext(f".//{{{_EXPORTER}}}curve/{{{_EXPORTER}}}public-key") or ""
        self.report.check("ncclient commits a change", self.configured(running), "session, consumer, key")

    def configured(self, running: etree._Element) -> bool:
        """Say if a configuration has what was committed."""
        keys = [e.text for e in running.iter(f"{{{_EXPORTER}}}public-key")]
        return self.pair[0] in keys and traffic.IMSI in etree.tostring(running, encoding="unicode")

    def counted(self) -> int:
        """Return how many frames of N3 are counted."""
        with self.client() as client:
            state = client.state(f'<interfaces xmlns="{_IF}"><interface><name>n3</name></interface></interfaces>')
        return int(state.findtext(f".//{{{_CAPTURE}}}packets") or 0)

    # -- traffic -------------------------------------------------------------------

    def traffic(self, what: str) -> None:
        """Send frames into N3: each is counted, and records of the right subscriber have all their bytes."""
        before = self.counted()
        keys = CurveKeys(self.server_key, *self.pair)
        with Subscriber(f"tcp://127.0.0.1:{self.machine.bus_port}", ["qoe.v1/"], keys) as bus:
            self._wait(lambda: bus.receive(1.0) is not None or bus.heard_s is not None, "nothing is heard on the bus")
            begun_s, begun_clock_s = self.machine.processor_s, self.machine.clock_s
            for frame in traffic.frames():
                self.machine.ports["n3"].send(frame)
            octets, packets, due = 0, 0, traffic.octets()
            others: set[str] = set()

            def complete() -> bool:
                nonlocal octets, packets
                message = bus.receive(1.0)
                if message is not None and message.topic.startswith("qoe.v1/"):
                    if not octets:
                        took = self.machine.processor_s - begun_s, self.machine.clock_s - begun_clock_s
                        self.report.part(f"first packet, to its record, {what}", *took)
                    octets += sum(self._mine(message, "ul_bytes", others))
                    packets += sum(self._mine(message, "ul_packets", others))
                return octets >= due

            self._wait(complete, f"{octets} of {due} bytes came out as records")
        counted = self.counted() - before
        self.report.check(f"frames counted, {what}", counted == traffic.FRAMES, f"{counted} of {traffic.FRAMES}")
        self.report.check(
            f"records over CURVE, {what}",
            (octets, packets, others) == (due, traffic.FRAMES, set()),
            f"{octets:,} of {due:,} bytes, {packets} packets of subscriber {self.pseudonym[:8]}, {len(others)} others",
        )

    def _mine(self, message: Message, column: str, others: set[str]) -> Iterator[int]:
        for name, value in zip(message.columns["subscriber"], message.columns[column], strict=True):
            if name == self.pseudonym:
                yield int(value)
            else:
                others.add(str(name))

    def _wait(self, true: Callable[[], bool], why: str) -> None:
        begun = time.monotonic()
        while not true():
            self.machine.listen()
            self.machine.check()
            if time.monotonic() - begun > _PATIENCE_S:
                raise LabError(f"{why}. The machine's last words:\n{self.machine.last_words()}")

    # -- another version, another start ------------------------------------------------

    def exchange(self, disk: str, package: str, what: str) -> None:
        """Install another version from a disk while the function runs: it takes the data plane over, counts go on."""
        before, program = self.counted(), self._program()
        self.machine.must(
            f"mkdir -p /run/packages && (mountpoint -q /run/packages || mount -o ro {disk} /run/packages)"
        )
        self.machine.must(f"dpkg --install --force-downgrade /run/packages/{package}")
        version = self.machine.must("dpkg-query -W -f '${Version}' supernetflow")
        self.ports(f"ports, {what} to {version}")
        after = self._program()
        counted = self.counted()
        self.report.check(f"counters, {what} to {version}", counted >= before, f"{before}, then {counted}")
        self.report.check(f"another program, {what} to {version}", program != after, f"{program}, then {after}")
        self.unit(f"unit, {what} to {version}")

    def _program(self) -> str:
        """Return the tag of the program on N3, which is another one for another text."""
        told = self.machine.must("cat /sys/class/net/*/address >/dev/null; ip -details -json link show")
        links = json.loads(told)
        (found,) = [link for link in links if link.get("address") == MACS["n3"]]
        return str(found["xdp"]["prog"]["tag"])

    def reboot(self) -> None:
        """Start the machine again: the configuration is the one that was committed."""
        at = len(self.machine.lines)
        self.machine.tell("systemctl --no-block reboot")
        self.machine.hear("Linux version", since=at)
        self.report.say("the machine starts again")
        with self.client() as client:
            running = client.config()
        self.report.check("configuration after a reboot", self.configured(running), "session, consumer, key")
        self.ports("ports after a reboot")


def user_key(folder: Path) -> tuple[Path, str]:
    """Make a key of whoever configures the machine; returns its file, and its public half."""
    key = folder / "operator.key"
    return key, operator.key_pair(key).strip()


def made_inside(public: str) -> str:
    """Return the user data of deploy/image/cloud-init/mirror.yaml, with the key and the ports of this machine."""
    text = re.sub(r"ssh-ed25519 \S+ operator", f"{public} operator", _EXAMPLE)
    text = text.replace("fa:16:3e:00:00:03", MACS["n3"]).replace("fa:16:3e:00:00:06", MACS["n6"])
    text = "".join(line for line in text.splitlines(keepends=True) if "--n4=" not in line)
    return seed.with_shell(text.replace('SNF_OPTIONS="', 'SNF_OPTIONS="--verbose '))


def made_elsewhere(public: str, below: Path) -> str:
    """Return the user data of deploy/image/user-data, with a configuration that snf init made on this host."""
    made, file = below / "site", below / "operator.pub"
    file.write_text(f"{public} operator\n")
    ports = [f"--{name}={MACS[name]}" for name in ("n3", "n6")]
    words = [sys.executable, "-m", "mgmt.cli.main", "init", "--elsewhere", f"--dir={made}", *ports]
    words += [f"--user={_USER}={file}", "--endpoint=tcp://*:5556"]
    for command in (words, ["deploy/image/user-data", str(made), "0.0.0.0:830"]):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            raise LabError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return seed.with_shell(done.stdout)


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for disks; they are large, so not in memory."""
    with tempfile.TemporaryDirectory(prefix="snf-image-", dir="/var/tmp") as name:
        yield Path(name)
