"""The function under a service manager: what it tells, and what is kept for it over a kill, whatever becomes of names.

The manager is one of the test (tests/live/manager.py), the user, the capabilities, the ports and the kills are real.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.net import Net, inside
from lab.operator import USER, exporter, interfaces, key_pair
from lab.wait import wait_until
from mgmt.cli.netconf_client import connect
from nf.service import Service
from nf.settings import Export, Settings
from tests.live.manager import Manager
from tests.live.switchboard import ip
from tests.live.test_crash import payload
from tests.live.test_privilege import FOUR, NOBODY, OWN_BPF, PORT, Home

GIVEN = (*FOUR, "net_bind_service")
PHASES = ["checking options and files", "making the kernel programs", "putting the configuration in force"]
STATE = '<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"/>'


class Managed:
    """The function of `Home`, started by a manager."""

    def __init__(self, home: Home, manager: Manager, far_end: socket.socket) -> None:
        self.home, self.manager, self._far_end = home, manager, far_end
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, percent: int = 0, cache: str = "/var/cache/supernetflow") -> subprocess.Popen[bytes]:
        """Start it and wait until it is ready; *percent*: of a processor, at most, until then."""
        environment = {**os.environ, "SNF_CACHE": cache}
        child = self._child = self.manager.start(self.home.words(*GIVEN), self.home.log, environment)
        brake = (
            subprocess.Popen(["cpulimit", f"--pid={child.pid}", f"--limit={percent}", "--lazy"]) if percent else None
        )
        patience_s = 90 * 100 / (percent or 100)
        wait_until(lambda: self.manager.heard("READY") or child.poll() is not None, "it is ready or ends", patience_s)
        if brake is not None:
            brake.terminate()
            brake.wait()
            child.send_signal(signal.SIGCONT)
        assert child.poll() is None, self.log
        return child

    def end(self) -> None:
        """Kill what a test that failed has left."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    @property
    def log(self) -> str:
        return self.home.log.read_text()

    def send(self, port: int, count: int) -> None:
        """Send frames of a flow that nobody in the kernel can name."""
        for _ in range(count):
            self._far_end.send(payload(port))

    def counters(self) -> dict[str, int]:
        """Return the counters of the port, as a NETCONF client reads them."""
        host_key = (self.home.folder / "state" / "ssh_host_key.pub").read_text()
        with connect("127.0.0.1", PORT, USER, self.home.folder / "key", host_key) as client:
            data = client.state(STATE)
        return {c.findtext("{*}name") or "": int(c.findtext("{*}value") or 0) for c in data.iterfind(".//{*}counter")}

    def unname(self) -> None:
        """Take all names out of the BPF file system, as when its mount is gone."""
        names = "find /sys/fs/bpf/supernetflow -type f -delete"
        subprocess.run(["nsenter", f"--mount=/proc/{self.home.mounts}/ns/mnt", "sh", "-c", names], check=True)

    def names(self) -> list[str]:
        names = "find /sys/fs/bpf/supernetflow -type f"
        words = ["nsenter", f"--mount=/proc/{self.home.mounts}/ns/mnt", "sh", "-c", names]
        return subprocess.check_output(words, text=True).split()


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Managed]:
    folder = Path("/tmp/snf-managed")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    (folder / "users").write_text(f"{USER} {key_pair(folder / 'key')} {USER}\n", encoding="ascii")
    document = interfaces({"n3": "n3"}) + exporter(f"ipc://{folder}/state/feed")
    (folder / "startup.xml").write_text(f"<config>{document}</config>", encoding="ascii")
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", NOBODY.pw_uid, NOBODY.pw_gid)
    with Net() as net:
        net.add("home")
        with inside(net.path("home")):
            ip("link", "add", "n3", "type", "veth", "peer", "name", "gnb")
            for end in ("lo", "n3", "gnb"):
                ip("link", "set", end, "up")
            holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", OWN_BPF], stdout=subprocess.PIPE, text=True)
            far_end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            far_end.bind(("gnb", 0))
            manager = Manager(folder, watchdog_s=4.0)
            made = Managed(Home(holder.pid, folder), manager, far_end)
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "made\n"
                yield made
            finally:
                made.end()
                manager.close()
                far_end.close()
                holder.kill()
                holder.wait()
    shutil.rmtree(folder)


def programs() -> str:
    return subprocess.check_output(["ip", "-details", "link", "show", "n3"], text=True)


class TestLife:
    """A manager hears of the phases of a start, that it is ready, that it goes on, and that it ends."""

    def test_it_tells_and_leaves_nothing_to_keep(self, managed):
        child = managed.start()
        try:
            told = managed.manager.heard("STATUS")
            assert told[:3] == PHASES
            assert told[3].startswith(f"NETCONF on 127.0.0.1:{PORT}")
            # More time is asked for with each phase: a slow machine may need it.
            assert len(managed.manager.heard("EXTEND_TIMEOUT_USEC")) >= 2
            beats = len(managed.manager.heard("WATCHDOG"))
            wait_until(lambda: len(managed.manager.heard("WATCHDOG")) >= beats + 2, "the watchdog hears twice")
            assert {"flows", "control", "next_program", "snf_n3", "ring_0_0"} <= managed.manager.store.keys()
        finally:
            child.terminate()
            assert child.wait() == 0
        assert managed.manager.heard("STOPPING") == ["1"]
        wait_until(lambda: not managed.manager.store, "no descriptor is kept")
        assert not managed.names()
        assert "xdp" not in programs()
        assert "promiscuity 0" in programs()
        assert managed.manager.strangers == 0


class TestKilled:
    """After SIGKILL the next start takes over what the manager kept, also where no name is left."""

    def test_without_any_name_payloads_are_handed_over_and_counters_go_on(self, managed):
        first = managed.start()
        managed.send(40_000, 64)
        wait_until(lambda: managed.counters()["frames"] >= 64, "the frames are counted")
        before = managed.counters()
        first.send_signal(signal.SIGKILL)
        first.wait()
        killed_s = time.monotonic()
        managed.unname()

        managed.send(41_000, 64)  # the kernel hands payloads over by tail calls, which only the manager holds now
        second = managed.start()
        print(f"ready again {time.monotonic() - killed_s:.1f} s after the kill")
        try:
            after = managed.counters()
            assert "takes over the data plane of process" in managed.log
            assert after["frames"] - before["frames"] >= 64
            assert after["handed_off"] - before["handed_off"] >= 1
            assert managed.names(), "names are given anew"
        finally:
            second.terminate()
            assert second.wait() == 0

    def test_descriptors_that_are_not_what_their_names_say_are_not_used(self, managed):
        """The names in the BPF file system are, which are asked next."""
        first = managed.start()
        managed.send(40_000, 64)
        wait_until(lambda: managed.counters()["frames"] >= 64, "the frames are counted")
        first.send_signal(signal.SIGKILL)
        first.wait()
        store = managed.manager.store
        store["flows"], store["policies"] = store["policies"], store["flows"]

        second = managed.start()
        try:
            assert "takes over the data plane of process" in managed.log
            assert managed.counters()["frames"] >= 64
        finally:
            second.terminate()
            assert second.wait() == 0

    def test_half_of_them_without_names_are_no_data_plane(self, managed):
        first = managed.start()
        managed.send(40_000, 64)
        wait_until(lambda: managed.counters()["frames"] >= 64, "the frames are counted")
        first.send_signal(signal.SIGKILL)
        first.wait()
        managed.unname()
        for name in ("routes", "ring_0_0"):
            os.close(managed.manager.store.pop(name))

        second = managed.start()
        try:
            assert "takes over" not in managed.log
            assert "n3: its program has tables of other sizes or of another version: counts begin anew" in managed.log
            assert managed.counters()["frames"] < 64
        finally:
            second.terminate()
            assert second.wait() == 0
        assert "xdp" not in programs()


class TestLeft:
    """SIGUSR1 ends the function as for an update: the next process goes on where it was."""

    def test_the_port_keeps_its_program_and_the_counters_go_on(self, managed):
        first = managed.start()
        managed.send(40_000, 64)
        wait_until(lambda: managed.counters()["frames"] >= 64, "the frames are counted")
        first.send_signal(signal.SIGUSR1)
        assert first.wait() == 0
        assert "the data plane is left to the next process: n3" in managed.log
        assert "xdp" in programs()
        assert managed.manager.store

        managed.send(41_000, 64)
        second = managed.start()
        try:
            assert managed.counters()["frames"] >= 128
            assert re.search(r"takes over the data plane of process \d+", managed.log)
        finally:
            second.terminate()
            assert second.wait() == 0
        assert "xdp" not in programs()


class TestSlow:
    """On a slow machine a start takes longer than a limit for what hangs: it goes on, and says with what."""

    def test_more_time_is_asked_for_before_it_is_over(self, managed):
        child = managed.start(percent=25)
        try:
            assert managed.manager.heard("STATUS")[:3] == PHASES
            assert managed.manager.silence_s(limit_s=30) == 0.0
        finally:
            child.terminate()
            assert child.wait() == 0


class TestHang:
    """The watchdog hears nothing once rings are not read, intervals do not end, or the publisher turns no more."""

    @pytest.fixture
    def service(self) -> Iterator[Service]:
        """Return a function that runs, with no port."""
        with Net() as net:
            net.add("home")
            with inside(net.path("home")), Service() as made:
                made.apply(Settings(), Settings(export=Export(endpoint="ipc:///tmp/snf-hang.sock")))
                loop = threading.Thread(target=made.run)
                loop.start()
                try:
                    wait_until(lambda: made.goes_on(2.0), "it goes on")
                    yield made
                finally:
                    made.stop()
                    loop.join()

    def test_a_loop_that_waits_for_something(self, service):
        with service._engine.sweeping:
            wait_until(lambda: not service.goes_on(2.0), "it is seen to hang")
        wait_until(lambda: service.goes_on(2.0), "it goes on")

    def test_intervals_that_fail(self, service, monkeypatch):
        def fail(now_s: float) -> None:
            raise ValueError(now_s)

        monkeypatch.setattr(service.pipeline, "sweep", fail)
        wait_until(lambda: not service.goes_on(2.0), "it is seen to make no records")
        monkeypatch.undo()
        wait_until(lambda: service.goes_on(2.0), "it goes on")

    def test_a_publisher_that_has_ended(self, service):
        service.publisher.stop()

        assert not service.goes_on(2.0)


class TestReload:
    """SIGHUP reads users, host key and signatures again; what is refused is said with the reason."""

    def test_what_is_good_is_taken_and_what_is_bad_is_told(self, managed):
        child = managed.start()
        try:
            child.send_signal(signal.SIGHUP)
            wait_until(lambda: len(managed.manager.heard("READY")) == 2, "it has reloaded")
            begun_us = int(managed.manager.heard("MONOTONIC_USEC")[0])
            assert managed.manager.heard("RELOADING") == ["1"]
            assert 0 <= time.monotonic() * 1e6 - begun_us < 60e6
            assert "read the users file again: 1 users" in managed.log
            assert "read the host key again: SHA256:" in managed.log
            assert re.search(r"read the signatures again: \d+ applications", managed.log)

            (managed.home.folder / "users").write_text("operator no-key\n")
            child.send_signal(signal.SIGHUP)
            wait_until(lambda: len(managed.manager.heard("READY")) == 3, "it has reloaded")
            assert "the users file cannot be used, and nobody logs in by it until it is mended: Line 1 " in managed.log
            assert child.poll() is None
        finally:
            child.terminate()
            assert child.wait() == 0
