"""A container image without a container engine: its root unpacked, and its commands run as a node's runtime would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.wait import wait_until

# Mounts a root read-only with volumes in it, and becomes a command there. Words: root, how many volumes, each SOURCE
# and TARGET, then the command. `kill 1` of the chart means the first process of a namespace of processes.
_ENTER = """
set -eu
root=$1 volumes=$2
shift 2
mount --make-rprivate /
mount --bind $root $root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t tmpfs tmpfs $root/dev
for node in null:1:3 zero:1:5 urandom:1:9 random:1:8; do
    IFS=: read -r name major minor <<<$node
    mknod -m 666 $root/dev/$name c $major $minor
done
while [ $volumes -gt 0 ]; do
    mount --bind $1 $root$2
    shift 2
    volumes=$((volumes - 1))
done
mount -o remount,bind,ro $root
cd $root
exec chroot $root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


def unpack(archive: Path, root: Path) -> dict[str, Any]:
    """Unpack the layers of an OCI archive, with capabilities of files; return its configuration (OCI image-spec)."""
    with tarfile.open(archive) as outer:

        def blob(descriptor: Mapping[str, Any]) -> Any:
            member = outer.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}")
            assert member is not None
            return member

        index = json.load(outer.extractfile("index.json"))  # type: ignore[arg-type]
        manifest = json.load(blob(index["manifests"][0]))
        root.mkdir()
        for layer in manifest["layers"]:
            words = [
                "tar",
                "--extract",
                "--gzip",
                "--directory",
                str(root),
                "--numeric-owner",
                "--preserve-permissions",
            ]
            with subprocess.Popen(
                [*words, "--xattrs", "--xattrs-include=security.capability"], stdin=subprocess.PIPE
            ) as tar:
                assert tar.stdin is not None
                source = blob(layer)
                while chunk := source.read(1 << 20):
                    tar.stdin.write(chunk)
                tar.stdin.close()
                assert tar.wait() == 0
        config: dict[str, Any] = json.load(blob(manifest["config"]))
    return config


@dataclass
class Sandbox:
    """A namespace of the network, and one of mounts in which the node's BPF file system is, as a pod has them."""

    root: Path
    network: Path
    mounts: int  # a process of the namespace
    volumes: dict[str, Path]  # by where they are in the container
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def words(self, command: Sequence[str], environment: Mapping[str, str], who: Sequence[str]) -> list[str]:
        """Return the command that runs one in the root."""
        given = [f"{name}={value}" for name, value in environment.items()]
        volumes = [str(word) for target, source in self.volumes.items() for word in (source, target)]
        enter = ["nsenter", f"--net={self.network}", f"--mount=/proc/{self.mounts}/ns/mnt"]
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", _ENTER, "enter"]
        return [*enter, *own, str(self.root), str(len(self.volumes)), *volumes, *given, "setpriv", *who, *command]

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], who: Sequence[str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.words(command, environment, who), capture_output=True, text=True, check=False, timeout=170
        )

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        who: Sequence[str],
        log: Path,
        ready: str = "NETCONF on",
    ) -> int:
        """Start a program, wait until it says that it is *ready* or has ended; return its process, 0 when it has."""
        with log.open("w") as file:
            child = subprocess.Popen(self.words(command, environment, who), stdout=file, stderr=file, text=True)
        self.children.append(child)
        wait_until(lambda: ready in log.read_text() or child.poll() is not None, "it answers or ends", 90)
        if child.poll() is not None:
            return 0
        (inner,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        return int(inner)

    def execute(
        self, process: int, command: Sequence[str], environment: Mapping[str, str], who: Sequence[str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command beside a process, as ``kubectl exec`` and probes do."""
        given = [f"{name}={value}" for name, value in environment.items()]
        enter = ["nsenter", "--target", str(process), "--net", "--mount", "--pid", "--root", "--wd"]
        words = [*enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *given, "setpriv", *who, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=170)

    def ended(self, number: int = -1) -> int:
        """Wait until one of the functions has ended; return its exit status."""
        return self.children[number].wait(timeout=120)

    def close(self) -> None:
        """End all that runs."""
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                child.wait()
        os.kill(self.mounts, signal.SIGKILL)
