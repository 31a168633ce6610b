"""A machine for tests: systemd of a Debian root as the first process of namespaces of its own.

The root is not written to: an overlay is. The kernel is this one, with its memory and process limits, so that units run
in their sandbox as they will. The network is one of its own, empty but for lo. Nothing of it is left once it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.wait import wait_until

__all__ = ["Machine", "machine"]

CGROUPS = Path("/sys/fs/cgroup")

# Mounts a root (the first word) as a container manager does, and becomes its systemd (systemd.io/CONTAINER_INTERFACE).
BOOT = """
set -eu
root=$1 work=$2 shared=$3
mount --make-rprivate /
mkdir -p $work/upper $work/inner $work/root
mount -t overlay -o lowerdir=$root,upperdir=$work/upper,workdir=$work/inner overlay $work/root
cd $work/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
for each in /sys/fs/cgroup/*; do
    name=${each##*/}
    mkdir sys/fs/cgroup/$name
    case $name in
    unified) mount -t cgroup2 cgroup2 sys/fs/cgroup/$name ;;
    systemd) mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/$name ;;
    *) mount -t cgroup -o $name cgroup sys/fs/cgroup/$name ;;
    esac
done
# As systemd mounts it at the boot of a host: for root alone.
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<<$node
    mknod -m 666 dev/$name c $major $minor
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
for folder in $shared; do
    mkdir -p .$folder
    mount --rbind $folder .$folder
done
ip link set lo up
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
exec env -i container=snf PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=journal-or-kmsg
"""


class Machine:
    """A running machine; ``pid`` is its first process, as this host counts, and ``root`` its files."""

    def __init__(self, pid: int) -> None:
        self.pid, self.root = pid, Path(f"/proc/{pid}/root")

    def words(self, *words: str) -> list[str]:
        """Return the words of a command that runs in the machine."""
        return ["nsenter", f"--target={self.pid}", "--all", "--wdns=/", *words]

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command and return what it says, on both streams."""
        done = subprocess.run(
            self.words(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}"
        return done.stdout

    def shell(self, text: str, *, check: bool = True) -> str:
        """Run lines of sh."""
        return self.run("sh", "-ec", textwrap.dedent(text), check=check)

    def shows(self, unit: str, name: str) -> str:
        """Return a property of a unit, as the manager tells it."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str, *more: str) -> str:
        """Return the messages of a unit."""
        return self.run("journalctl", f"--unit={unit}", "--no-pager", "--output=cat", *more)

    def process(self, inner: int) -> int:
        """Return the number that this host has for a process of the machine."""
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                text = status.read_text()
                found = next((line.split() for line in text.splitlines() if line.startswith("NSpid:")), [])
                if found[-1:] == [str(inner)] and len(found) > 2 and self._is_mine(int(found[1])):
                    return int(found[1])
        raise AssertionError(f"the machine has no process {inner}")

    def _is_mine(self, pid: int) -> bool:
        spaces = [os.stat(f"/proc/{each}/ns/pid").st_ino for each in (pid, self.pid)]
        return spaces[0] == spaces[1]


def _controllers() -> list[Path]:
    return [path for path in CGROUPS.iterdir() if path.is_dir()]


def _into_cgroups(pid: int, name: str) -> None:
    """Move a process into a group of its own of each hierarchy."""
    for controller in _controllers():
        (controller / name).mkdir(exist_ok=True)
        if controller.name == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                (controller / name / file).write_text((controller / file).read_text())
        (controller / name / "cgroup.procs").write_text(str(pid))


def _remove_cgroups(name: str) -> bool:
    for controller in _controllers():
        for folder, _, _ in os.walk(controller / name, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    return not any((controller / name).exists() for controller in _controllers())


@contextlib.contextmanager
def machine(root: Path, shared: Sequence[Path] = ()) -> Iterator[Machine]:
    """Boot a root; *shared* folders of this host are at the same place there."""
    work = Path(tempfile.mkdtemp(prefix="snf-machine-", dir="/var/tmp"))
    name = work.name
    namespaces = ["--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup"]
    words = ["unshare", "--fork", "--kill-child", *namespaces, "bash", "-c", BOOT, "boot", str(root), str(work)]
    # The cgroup namespace begins at the groups that a process is in when it is made.
    words = ["sh", "-c", 'read -r _ && exec "$@"', "wait", *words, " ".join(map(str, shared))]
    with (work / "log").open("w") as log:
        outer = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=log, stderr=log)
    _into_cgroups(outer.pid, name)
    assert outer.stdin is not None
    outer.stdin.write(b"go\n")
    outer.stdin.close()
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")

        def booted() -> Machine | None:
            assert outer.poll() is None, (work / "log").read_text()
            inner = children.read_text().split()
            if not inner or Path(f"/proc/{inner[0]}/comm").read_text() != "systemd\n":
                return None  # it mounts still
            made = Machine(int(inner[0]))
            state = made.run("systemctl", "is-system-running", check=False).strip()
            return made if state in {"running", "degraded"} else None

        yield wait_until(booted, "the machine is up", 60)
    finally:
        outer.send_signal(signal.SIGKILL)
        outer.wait()
        wait_until(lambda: _remove_cgroups(name), "its groups are gone")
        shutil.rmtree(work)
