"""The function as a user of its own: the capabilities that it needs are enough, and one less is told by its name."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.net import Net, inside
from lab.operator import USER, exporter, interfaces, key_pair
from mgmt.cli.netconf_client import connect
from tests.live.conftest import wait_until
from tests.live.switchboard import ip

ROOT = Path(__file__).resolve().parents[2]
NOBODY = pwd.getpwnam("nobody")
FOUR = ("bpf", "net_admin", "net_raw", "perfmon")
PORT = 830  # of NETCONF over SSH (RFC 6242), which takes CAP_NET_BIND_SERVICE
BITS = {"net_admin": 12, "net_raw": 13, "perfmon": 38, "bpf": 39}  # include/uapi/linux/capability.h
# A BPF file system of the test, with a folder of the user; it is there as long as the mount namespace.
OWN_BPF = """
mount -t bpf bpf /sys/fs/bpf && install -d -o nobody /sys/fs/bpf/supernetflow && echo made && exec sleep infinity
"""


class Home:
    """A network namespace with a port, and a folder of the user."""

    def __init__(self, mounts: int, folder: Path) -> None:
        self.mounts, self.folder, self.log = mounts, folder, folder / "log"

    def words(self, *capabilities: str, port: int = PORT) -> list[str]:
        """Return the command of the function, as the user, with these capabilities."""
        given = ",".join(f"+{name}" for name in capabilities)
        own = ["nsenter", f"--mount=/proc/{self.mounts}/ns/mnt", f"--wd={ROOT}"]
        who = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps", f"-all,{given}"]
        who += ["--ambient-caps", f"-all,{given}", "--bounding-set", f"-all,{given}"]
        run = [sys.executable, "-m", "mgmt.cli.main", "run", "--verbose", "--netconf", f"127.0.0.1:{port}"]
        run += ["--state-dir", str(self.folder / "state"), "--users", str(self.folder / "users")]
        return [*own, *who, *run, "--startup", str(self.folder / "startup.xml")]

    def start(self, *capabilities: str) -> subprocess.Popen[str]:
        """Start the function and wait until it answers, or has ended."""
        environment = {**os.environ, "SNF_CACHE": "/var/cache/supernetflow"}
        with self.log.open("w") as file:
            child = subprocess.Popen(
                self.words(*capabilities), stdout=file, stderr=file, text=True, cwd=ROOT, env=environment
            )
        wait_until(lambda: "NETCONF on" in self.log.read_text() or child.poll() is not None, "it answers or ends", 90)
        assert child.poll() is None, self.log.read_text()
        return child

    def attached(self) -> str:
        """Return how the port is attached, as a NETCONF client reads it."""
        host_key = (self.folder / "state" / "ssh_host_key.pub").read_text()
        with connect("127.0.0.1", PORT, USER, self.folder / "key", host_key) as client:
            data = client.state('<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"/>')
        return data.findtext(".//{*}attached-mode") or "not attached"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = Path("/tmp/snf-privilege")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    (folder / "users").write_text(f"{USER} {key_pair(folder / 'key')} {USER}\n", encoding="ascii")
    n6 = interfaces({"n6": "n6"}, "local").replace("</mode>", "</mode><directions>both</directions>")
    document = interfaces({"n3": "n3"}).replace("</interfaces>", n6.partition(">")[2])
    document += exporter(f"ipc://{folder}/state/feed")
    (folder / "startup.xml").write_text(f"<config>{document}</config>", encoding="ascii")
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", NOBODY.pw_uid, NOBODY.pw_gid)
    with Net() as net:
        net.add("home")
        with inside(net.path("home")):
            ip("link", "add", "n3", "type", "veth", "peer", "name", "gnb")
            ip("link", "add", "n6", "type", "veth", "peer", "name", "dn")
            for end in ("lo", "n3", "gnb", "n6", "dn"):
                ip("link", "set", end, "up")
            holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", OWN_BPF], stdout=subprocess.PIPE, text=True)
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "made\n"
                yield Home(holder.pid, folder)
            finally:
                holder.kill()
                holder.wait()
    shutil.rmtree(folder)


def status(pid: int) -> list[dict[str, str]]:
    """Return what the kernel says of each thread of a process."""
    texts = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return [dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE)) for text in texts]


def sent_by(device: str) -> str:
    """Return the number of the program on what a device sends, as tc(8) tells it."""
    said = subprocess.check_output(["tc", "filter", "show", "dev", device, "egress"], text=True)
    found = re.search(r" snf_tx_\w+ direct-action .* id (\d+) ", said)
    return found[1] if found else ""


class TestEnough:
    """Four capabilities, and one more for a low port, are enough for a user who is not root."""

    def test_it_attaches_natively_answers_and_starts_again_after_a_kill(self, home: Home) -> None:
        first = home.start(*FOUR, "net_bind_service")
        try:
            assert home.attached() == "native"
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        assert "xdp" in subprocess.check_output(["ip", "link", "show", "n3"], text=True)
        left = sent_by("n6")

        second = home.start(*FOUR, "net_bind_service")
        try:
            log = home.log.read_text()
            assert home.attached() == "native"
            assert "takes over the data plane of process" in log, log
            assert left != sent_by("n6") != ""
            self.is_confined(second.pid)
        finally:
            second.terminate()
            assert second.wait() == 0
        assert "xdp" not in subprocess.check_output(["ip", "link", "show", "n3"], text=True)
        assert sent_by("n6") == ""
        assert "clsact" not in subprocess.check_output(["tc", "qdisc", "show", "dev", "n6"], text=True)

    def is_confined(self, pid: int) -> None:
        """Assert that each thread has the four capabilities, the filter, and no way to new privileges."""
        threads = status(pid)
        assert len(threads) > 3
        for thread in threads:
            assert int(thread["CapEff"], 16) == sum(1 << bit for bit in BITS.values()), thread["Name"]
            assert int(thread["CapPrm"], 16) == int(thread["CapEff"], 16), thread["Name"]
            assert (thread["NoNewPrivs"], thread["Seccomp"]) == ("1", "2"), thread["Name"]
            assert thread["Uid"].split() == [str(NOBODY.pw_uid)] * 4


class TestOneLess:
    """A start without one of them names it in one sentence, before anything is attached."""

    @pytest.mark.parametrize("less", [*FOUR, "net_bind_service"])
    def test_it_is_named(self, home: Home, less: str) -> None:
        given = [name for name in (*FOUR, "net_bind_service") if name != less]

        ended = subprocess.run(home.words(*given), capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)

        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert f"without CAP_{less.upper()} " in ended.stderr
        assert len(re.findall("CAP_", ended.stderr)) == 1
        assert "xdp" not in subprocess.check_output(["ip", "link", "show", "n3"], text=True)

    def test_a_high_port_needs_no_fifth(self, home: Home) -> None:
        """The next thing is missed instead: the users file, which is read after the capabilities."""
        words = [word.replace("/users", "/nobody-there") for word in home.words(*FOUR, port=1830)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
        assert "CAP_" not in ended.stderr
        assert "nobody-there" in ended.stderr


class TestDoctor:
    """``snf doctor``, run as the user of the function, says what he has."""

    def run(self, *capabilities: str) -> tuple[int, str]:
        given = ",".join(f"+{name}" for name in capabilities)
        words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps", f"-all,{given}"]
        words += ["--ambient-caps", f"-all,{given}", sys.executable, "-m", "mgmt.cli.main", "doctor"]
        environment = {**os.environ, "SNF_CACHE": "/var/cache/supernetflow", "COLUMNS": "200"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
        return done.returncode, done.stdout + done.stderr

    def test_four_are_enough_and_port_830_takes_a_fifth(self) -> None:
        status, said = self.run(*FOUR)
        assert status == 0, said
        assert re.search(r"absent +NETCONF on port 830 +not without CAP_NET_BIND_SERVICE", said)
        assert re.search(r"ok +filter of system calls", said)

    def test_one_that_is_missing_is_named(self) -> None:
        status, said = self.run("bpf", "net_admin", "net_raw")
        assert status == 1
        assert "capabilities: without CAP_PERFMON" in said


class TestRoot:
    """Root keeps what the function needs, and gives the rest away before it reads anything."""

    def test_the_rest_is_given_away(self) -> None:
        program = """
            from nf.kernel import privilege
            privilege.begin(830)
            print(hex(privilege.effective()))
            privilege.forget_low_ports()
            print(hex(privilege.effective()))
            import subprocess
            print(subprocess.check_output(["grep", "CapEff", "/proc/self/status"], text=True).split()[1])
        """
        said = subprocess.check_output([sys.executable, "-c", textwrap.dedent(program)], text=True, cwd=ROOT).split()
        four = sum(1 << bit for bit in BITS.values())
        assert [int(word, 16) for word in said] == [four | 1 << 10, four, four]
