"""A start that fails ends with one sentence, and a status that says whether another start can help.

docs/operation.md, When it does not start: 2 is for a person to mend, 75 (EX_TEMPFAIL) may be over in a while.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.net import Net, inside
from mgmt.cli.main import main
from nf.kernel import links
from nf.sessions.restart.statedir import hold
from nf.settings import Interface, Role

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "systemd" / "supernetflow.service"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYrPZNHX//xbP1GP4dmsp//NxaALCsteT8lU+LwJ6h7 alice@noc\n"
# Of the examples of 2026-11-23: everybody knows it.
PUBLISHED = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
FUNCTION = '<network-function xmlns="urn:supernetflow:yang:snf-function">{}</network-function>'
WITHOUT_BPF = """
import errno, os, seccomp, sys
rules = seccomp.SyscallFilter(seccomp.ALLOW)
rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "bpf")
rules.load()
os.execv(sys.argv[1], sys.argv[1:])
"""
LITTLE_BYTES = 120 << 20  # more than the tables take, less than tables and process
MAY_PASS, TO_BE_MENDED = os.EX_TEMPFAIL, 2


@pytest.fixture(scope="module")
def host() -> Iterator[None]:
    """A host with a port; the tests run there."""
    with Net() as net:
        net.add("host")
        net.veth(("host", "n3"), ("host", "far"))
        with inside(net.path("host")):
            yield


@pytest.fixture
def made(host: None, tmp_path: Path) -> Path:
    """A first configuration, as snf init makes it."""
    (tmp_path / "alice.pub").write_text(PUBLIC)
    words = ["init", "--dir", str(tmp_path / "etc"), "--n3", "n3", "--user", f"alice={tmp_path}/alice.pub"]
    main([*words, "--endpoint", "tcp://127.0.0.1:5599"])
    return tmp_path / "etc"


@pytest.fixture
def fails(made: Path) -> Callable[..., str]:
    """Start the function, which fails with a status and one sentence; return that."""

    def run(status: int, *more: str, before: tuple[str, ...] = ()) -> str:
        words = [*before, sys.executable, "-m", "mgmt.cli.main", "run"]
        words += ["--users", f"{made}/users", "--startup", f"{made}/startup.xml", "--netconf", "127.0.0.1:1899"]
        words += [*([] if "--state-dir" in more else ["--state-dir", f"{made}/state"]), *more]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        said = [line for line in done.stderr.splitlines() if line.startswith("snf: ")]
        assert len(said) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert all(re.match(r"snf: |\d{4}-\d\d-\d\d ", line) for line in done.stderr.splitlines()), done.stderr
        return said[0]

    return run


@contextmanager
def within(controller: str, files: tuple[str, ...], limit: int) -> Iterator[tuple[str, ...]]:
    """Make a control group with a limit; yield the words before a command that runs in it."""
    root = Path("/sys/fs/cgroup") / controller
    group = (root if root.is_dir() else root.parent) / f"snf-test-{os.getpid()}"
    group.mkdir()
    try:
        next(group / name for name in files if (group / name).exists()).write_text(str(limit))
        yield "sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"
    finally:
        group.rmdir()


def fill(file: Path) -> None:
    """Write a file until its disk is full."""
    with file.open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))


def plant(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text, count=1))


class TestMayPass:
    """Another process has it, or it is not there now."""

    def test_a_port_that_is_gone(self, made: Path, fails):
        plant(made / "startup.xml", "<name>n3<", "<name>n33<")
        assert "No interface has the name n33" in fails(MAY_PASS)

    def test_a_port_that_another_function_holds(self, fails):
        lock = links.claim(links.find(Interface("n3", Role.N3)))
        try:
            assert f"in use by another snf (process {os.getpid()})" in fails(MAY_PASS)
        finally:
            links.release(lock)

    def test_a_second_instance(self, made: Path, fails):
        with hold(made / "state"):
            assert f"in use by another snf (process {os.getpid()})" in fails(MAY_PASS)

    @pytest.mark.parametrize(("port", "says"), [(1899, "NETCONF cannot listen"), (5599, "The publisher cannot bind")])
    def test_an_address_that_another_process_has(self, port: int, says: str, fails):
        with socket.create_server(("127.0.0.1", port)):
            assert says in fails(MAY_PASS)

    def test_a_full_disk(self, tmp_path: Path, fails):
        (tmp_path / "disk").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path / "disk"], check=True)
        try:
            (tmp_path / "disk" / "state").mkdir()
            (tmp_path / "disk" / "state" / "lock").touch()
            with pytest.raises(OSError, match="No space"):
                fill(tmp_path / "disk" / "rest")
            said = fails(MAY_PASS, "--state-dir", f"{tmp_path}/disk/state")
            assert "takes no file: No space left on device. Make room" in said
        finally:
            subprocess.run(["umount", tmp_path / "disk"], check=True)

    def test_a_disk_with_room_for_half_of_it(self, tmp_path: Path, fails):
        (tmp_path / "disk").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", tmp_path / "disk"], check=True)
        try:
            said = fails(MAY_PASS, "--state-dir", f"{tmp_path}/disk")
            assert "could not be stored, so it was not changed: No space left on device." in said
        finally:
            subprocess.run(["umount", tmp_path / "disk"], check=True)

    def test_no_room_for_the_lock_of_a_port(self, tmp_path: Path, monkeypatch, fails):
        (tmp_path / "run").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", tmp_path / "run"], check=True)
        try:
            monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/run")
            with pytest.raises(OSError, match="No space"):
                fill(tmp_path / "run" / "rest")
            said = fails(MAY_PASS)
            assert f"The lock of n3 cannot be written to {tmp_path}/run: No space left on device. Make room" in said
        finally:
            subprocess.run(["umount", tmp_path / "run"], check=True)

    def test_no_memory_for_the_tables_beside_all_else(self, fails):
        with within("memory", ("memory.limit_in_bytes", "memory.max"), LITTLE_BYTES) as joins:
            assert "Cannot allocate memory. Lower limits/flows" in fails(MAY_PASS, before=joins)

    def test_a_limit_of_tasks_below_its_threads(self, fails):
        with within("pids", ("pids.max",), 2) as joins:
            assert "TasksMax=" in fails(MAY_PASS, before=joins)


class TestToBeMended:
    """Nobody but a person can change it."""

    def test_a_kernel_without_bpf(self, fails):
        before = ("/usr/bin/python3", "-c", WITHOUT_BPF)
        assert "Function not implemented. Run: snf doctor" in fails(TO_BE_MENDED, before=before)

    def test_a_limit_of_memory_below_the_tables(self, made: Path, fails):
        plant(
            made / "startup.xml", "<exporter", FUNCTION.format("<limits><flows>16777216</flows></limits>") + "<exporter"
        )
        with within("memory", ("memory.limit_in_bytes", "memory.max"), 200 << 20) as joins:
            assert "the memory of this service is limited" in fails(TO_BE_MENDED, before=joins)

    def test_a_datastore_of_which_nothing_is_whole(self, made: Path, fails):
        (made / "state").mkdir(mode=0o700)
        (made / "state" / "running.xml").write_text("<config/>")
        assert "is whole. Put a backup there" in fails(TO_BE_MENDED)

    def test_a_key_of_an_example(self, made: Path, fails):
        plant(made / "startup.xml", "<key>.*</key>", f"<key>{PUBLISHED}</key>")
        assert "everybody can read. Make keys of your own" in fails(TO_BE_MENDED)

    def test_a_key_that_everybody_can_read(self, made: Path, fails):
        (made / "startup.xml").chmod(0o644)
        assert f"chmod o= {made}/startup.xml" in fails(TO_BE_MENDED)

    def test_keys_that_are_no_pair(self, made: Path, fails):
        plant(made / "startup.xml", r"<secret-key>(?:&\w+;|.){4}", "<secret-key>abcd")
        assert "does not belong to its secret key" in fails(TO_BE_MENDED)

    @pytest.mark.parametrize("file", ["users", "startup.xml"])
    def test_nothing_is_made_for_a_start_that_is_refused(self, file: str, made: Path, fails):
        (made / file).write_text("alice\n")
        before = {*made.rglob("*")}
        fails(TO_BE_MENDED)
        assert {*made.rglob("*")} == before

    def test_a_host_key_that_is_none(self, made: Path, fails):
        (made / "users").chmod(0o600)
        assert "is not a private key" in fails(TO_BE_MENDED, "--host-key", f"{made}/users")

    def test_an_address_of_netconf_with_a_zone(self, fails):
        assert "has a zone. Give an address" in fails(TO_BE_MENDED, "--netconf", "[fe80::1%n3]:1899")

    def test_a_user_without_a_key(self, made: Path, fails):
        (made / "users").write_text("alice\n")
        assert "Line 1 of the users file" in fails(TO_BE_MENDED)


class TestUnit:
    """The unit of the service does not try again what only a person can mend, nor anything for ever."""

    def test_it_names_the_status(self):
        unit = UNIT.read_text()
        assert re.search(r"^Restart=on-failure$", unit, re.MULTILINE)
        assert re.search(rf"^RestartPreventExitStatus={TO_BE_MENDED}$", unit, re.MULTILINE)
        assert re.search(r"^StartLimitBurst=\d+$", unit, re.MULTILINE)
