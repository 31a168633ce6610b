"""What this host can do, and the command that mends what it cannot: ``snf doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nf.kernel import probe

__all__ = ["Check", "checks", "main"]

OLDEST = (5, 15)  # ring buffers, bounded loops, atomic fetch and native XDP on veth are all there


@dataclass(frozen=True, slots=True)
class Check:
    """One line: ``required`` ones that are not ``ok`` keep the function from running."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def _kernel() -> Check:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    return Check(
        "kernel",
        numbers >= OLDEST,
        release,
        f"It must be {OLDEST[0]}.{OLDEST[1]} or newer; run: apt-get install linux-image-amd64, then reboot",
    )


def _root() -> Check:
    return Check("root", os.geteuid() == 0, f"user {os.geteuid()}", "Run the command again with sudo.")


def _tools() -> Iterator[Check]:
    for tool, package in (("ip", "iproute2"), ("ethtool", "ethtool")):
        path = shutil.which(tool)
        yield Check(tool, path is not None, path or "missing", f"Run: apt-get install {package}")


def _bcc() -> Iterator[Check]:
    origin = probe.bcc_origin()
    remedy = "Run: apt-get install python3-bpfcc, and make .venv from /usr/bin/python3 with --system-site-packages"
    yield Check("bcc", origin not in ("", "other"), origin or "missing", remedy)
    if origin in ("", "other") or os.geteuid() != 0:
        return
    failed = probe.program()
    yield Check(
        "BPF program",
        not failed,
        failed or "compiles and loads",
        "Boot a kernel with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT.",
    )
    if failed:
        return
    failed = probe.native_xdp()
    yield Check("native XDP on veth", not failed, failed or "attaches", "Run: modprobe veth (the lab needs it).")


def _libyang() -> Check:
    try:
        import libyang

        return Check("libyang", True, f"binding {getattr(libyang, '__version__', 'present')}")
    except (ImportError, OSError) as error:
        return Check("libyang", False, str(error), "Run: apt-get install libyang2-dev, then: make setup")


def _optional() -> Iterator[Check]:
    btf = Path("/sys/kernel/btf/vmlinux").exists()
    yield Check("BTF", btf, "present" if btf else "absent", "Not needed.", required=False)
    for _, name in socket.if_nameindex():
        driver = Path(f"/sys/class/net/{name}/device/driver")
        if driver.exists():
            yield Check(f"interface {name}", True, f"driver {driver.resolve().name}", required=False)


def checks() -> list[Check]:
    """Return all findings."""
    return [_root(), _kernel(), *_tools(), *_bcc(), _libyang(), *_optional()]


def main(*, quiet: bool = False) -> int:
    """Print the findings; return 1 when something required is missing, else 0. *quiet*: print only what is missing."""
    found = checks()
    missing = [c for c in found if c.required and not c.ok]
    if not quiet:
        table = Table(box=None, header_style="bold")
        for column in ("", "check", "found"):
            table.add_column(column)
        for c in found:
            mark = "[green]ok[/]" if c.ok else ("[red]missing[/]" if c.required else "[dim]absent[/]")
            table.add_row(mark, c.name, c.detail)
        Console().print(table)
    for c in missing:
        Console(stderr=True, highlight=False).print(f"{c.name}: {c.detail}. {c.remedy}")
    return 1 if missing else 0
