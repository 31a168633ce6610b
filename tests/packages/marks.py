"""The files of a machine, and its ports as the kernel has them, to be compared before and after."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path

from tests.machines.machine import Machine

__all__ = ["files", "ports", "unlike"]

_RUNTIME = {"dev", "proc", "run", "sys", "tmp"}  # and what is in them; /sys/fs/bpf is looked at by itself
# A machine changes these by itself, and the management of packages keeps there what it did.
_ITS_OWN = re.compile(
    r"/(srv|var/(backups|cache/(apt|debconf|ldconfig)|lib/(apt|dpkg|systemd)|log|tmp)"
    r"|etc/(ld\.so\.cache|\.pwd\.lock|machine-id|apt/.*|mtab|\.updated)|var/\.updated)(/.*)?"
)


def files(machine: Machine) -> dict[str, str]:
    """Return all files of the machine, each with its kind, mode, owner and content."""
    found = {}
    for folder, folders, names in os.walk(machine.root):
        here = "/" + str(Path(folder).relative_to(machine.root)).removeprefix(".")
        folders[:] = [each for each in folders if here != "/" or each not in _RUNTIME]
        for name in (*folders, *names):
            path = Path(here) / name
            if not _ITS_OWN.fullmatch(str(path)):
                found[str(path)] = _mark(Path(folder) / name)
    return found


def _mark(path: Path) -> str:
    status = path.lstat()
    said = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{said} -> {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"{said} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return said


def ports(machine: Machine) -> dict[str, str]:
    """Return the ports with flags, programs, promiscuity and offloads, and what the BPF file system has."""
    found = {}
    for link in json.loads(machine.run("ip", "-json", "-details", "link", "show")):
        name = link["ifname"]
        offloads = machine.run("ethtool", "--show-features", name, check=False)
        kept = {key: link.get(key) for key in ("flags", "mtu", "promiscuity", "allmulti", "address")}
        kept["xdp"] = link.get("xdp", {}).get("mode", "none")
        found[name] = json.dumps(kept | {"offloads": hashlib.sha256(offloads.encode()).hexdigest()[:16]})
    found["/sys/fs/bpf"] = " ".join(sorted(machine.run("find", "/sys/fs/bpf", "-mindepth", "1").split()))
    return found


def unlike(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return a line for each that came, went or changed."""
    lines = [f"came: {name} {after[name]}" for name in sorted(after.keys() - before.keys())]
    lines += [f"went: {name}" for name in sorted(before.keys() - after.keys())]
    both = sorted(before.keys() & after.keys())
    return lines + [f"changed: {name}: {before[name]}; {after[name]}" for name in both if before[name] != after[name]]
