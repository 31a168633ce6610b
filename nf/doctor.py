"""Checks of this host, each with the command that mends what is missing: ``snf doctor``.

Nothing is guessed where it can be tried: a program is compiled and loaded, a device is made and attached to,
and both are removed again. ``python -m nf.doctor`` is the check of the make targets: silent, and it asks for
what the lab needs as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from nf.errors import SnfError
from nf.fast import library
from nf.kernel import bpffs, confine, devices, links, privilege, probe, redirects

__all__ = ["Check", "checks", "main"]

OLDEST = (6, 1)  # the oldest one that is tried (make kernels)
_SYS_ADMIN = 21  # linux/capability.h; it allows the lab's namespaces
_LOW_PORT = 830  # of NETCONF over SSH (RFC 6242)


@dataclass(frozen=True, slots=True)
class Check:
    """One line: ``required`` ones that are not ``ok`` keep the function, or the lab, from running."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def _root(lab: bool) -> Check:
    """Say who runs it: the lab is root's, the function needs capabilities alone."""
    return Check("root", os.geteuid() == 0, f"user {os.geteuid()}", "Run the command again with sudo.", required=lab)


def _capabilities(lab: bool) -> Check:
    missing = privilege.missing() + ["CAP_SYS_ADMIN"] * (lab and not privilege.effective() >> _SYS_ADMIN & 1)
    return Check(
        "capabilities",
        not missing,
        f"without {' and '.join(missing)}" if missing else "for XDP" + " and namespaces" * lab,
        f"Start the service or container with {', '.join(privilege.NEEDED)}, or run the command with sudo.",
    )


def _low_port() -> Check:
    lacks = set(privilege.missing(_LOW_PORT)) - set(privilege.missing())
    return Check(
        f"NETCONF on port {_LOW_PORT}",
        not lacks,
        f"not without {' and '.join(lacks)}" if lacks else "can be listened on",
        "Start the service with CAP_NET_BIND_SERVICE, or with --netconf ADDRESS:PORT.",
        required=False,
    )


def _filter() -> Check:
    lacks = confine.available()
    remedy = "Run: apt-get install python3-seccomp"
    return Check("filter of system calls", not lacks, lacks or "is loaded once it runs", remedy, required=False)


def _version(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _kernel() -> Check:
    release = platform.release()
    return Check(
        "kernel",
        _version(release) >= OLDEST,
        release,
        f"It must be {OLDEST[0]}.{OLDEST[1]} or newer; run: apt-get install linux-image-amd64, then reboot",
    )


def _tools(lab: bool) -> Iterator[Check]:
    for tool, package, needed in (("ip", "iproute2", True), ("ethtool", "ethtool", lab), ("tshark", "tshark", False)):
        path = shutil.which(tool)
        yield Check(tool, path is not None, path or "missing", f"Run: apt-get install {package}", required=needed)


def _data_plane(lab: bool) -> Iterator[Check]:
    """Yield the checks of bcc and the kernel; a check that needs one that failed is left out."""
    origin = probe.bcc_origin()
    remedy = "Run: apt-get install python3-bpfcc, and make .venv from /usr/bin/python3 with --system-site-packages"
    yield Check(
        "bcc", origin not in ("", "other"), {"other": "another project's"}.get(origin, origin) or "missing", remedy
    )
    if origin in ("", "other") or not _capabilities(lab).ok:
        return
    failed = probe.programs()
    remedy = "Boot a kernel of Debian 12 or newer, with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT, outside of a container."
    yield Check("BPF programs and tables", not failed, failed.rstrip(".") or "the kernel takes each of them", remedy)
    if failed:
        return
    failed = probe.native_xdp()
    yield Check("native XDP on veth", not failed, failed or "attaches", "Run: modprobe veth", required=lab)
    failed = probe.sent()
    remedy = "Run: modprobe -a sch_ingress cls_bpf"
    yield Check("programs on what is sent", not failed, failed or "attach (directions both)", remedy, required=False)
    failed = _namespace()
    remedy = "Boot a kernel with CONFIG_NET_NS, outside of an unprivileged container."
    yield Check("network namespaces", not failed, failed or "can be made", remedy, required=lab)


def _namespace() -> str:
    """Make a network namespace that ends with its only process; return "" or what failed."""
    try:
        tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"unshare: {error.strerror}"
    return "" if tried.returncode == 0 else tried.stderr.strip() or "refused"


def _libyang() -> Check:
    try:
        import libyang

        libyang.Context().destroy()
    except (ImportError, OSError) as error:
        return Check("libyang", False, str(error), "Run: apt-get install libyang2-dev, remove .venv, then: make setup")
    return Check("libyang", True, "loads")


def _names() -> Check:
    place = bpffs.home()
    return Check(
        "BPF file system",
        place is not None,
        f"at {place}"
        if place
        else "absent, or not for this user: after a crash names and payloads rest until the next start",
        "Run: mount -t bpf bpf /sys/fs/bpf, and: install -d -o USER /sys/fs/bpf/supernetflow",
        required=False,
    )


def _losses() -> Check:
    unseen = redirects.watchable()
    return Check(
        "loss of redirected frames",
        not unseen,
        f"cannot be counted: {unseen}" if unseen else "can be counted",
        "Boot a kernel with CONFIG_DEBUG_INFO_BTF, and run with CAP_BPF and CAP_PERFMON",
        required=False,
    )


def _passes() -> Check:
    runs, detail = library.status()
    return Check("compiled passes", runs, detail if runs else f"numpy runs instead, several times slower: {detail}",
                 "Run: python3 -m nf.fast.build", required=False)  # fmt: skip


def _optional() -> Iterator[Check]:
    yield _low_port()
    yield _filter()
    yield _names()
    yield _losses()
    yield _passes()
    for device in devices.devices():
        yield describe(device)
    with contextlib.suppress(SnfError, OSError):  # without `ip`, which is told above
        for link in links.links():
            if not link.ethernet:
                yield describe_link(link)


def describe_link(link: links.Link) -> Check:
    """Say whether a device without Ethernet header, as the TUN of a UPF, is read."""
    said = f"link type {link.kind}, which is not read: take the Ethernet device below it"
    if link.bare:
        said = "no Ethernet header: read where it receives, and both ways with directions both; not in mode inline"
    return Check(f"XDP on {link.name}", True, said, required=False)


def describe(device: devices.Device) -> Check:
    """Say what the driver of an interface does, and what it lacks."""
    has = device.features
    words = ["native or generic: this kernel does not say", f"driver {device.driver}"]
    if has is not None:
        words[0] = "native" if has & devices.BASIC else "generic only"
    words += [f"{device.rx_queues} receive queue{'s' * (device.rx_queues != 1)}", f"MTU {device.mtu}"]
    if has is not None and has & devices.BASIC:
        if not has & devices.TARGET:
            words.append("no target of inline or monitor until a program is attached to it, or not at all")
        if device.mtu > devices.mtu_limit() and not has & devices.MULTI_BUFFER:
            words.append(
                f"frames of MTU {device.mtu} need several buffers, which it lacks: lower it to {devices.mtu_limit()}"
            )
    if device.rx_vlan:
        words.append("takes VLAN tags off, which is switched off at attach where it can be")
    return Check(f"XDP on {device.name}", True, ", ".join(words), required=False)


def checks(*, lab: bool = False) -> list[Check]:
    """Return all findings; *lab*: what the lab and the tests need is required as well."""
    return [_root(lab), _capabilities(lab), _kernel(), *_tools(lab), *_data_plane(lab), _libyang(), *_optional()]


def _as_json(check: Check) -> dict[str, object]:
    told = {"name": check.name, "ok": check.ok, "required": check.required, "fact": check.detail}
    return told if check.ok else told | {"remedy": check.remedy}


def main(*, quiet: bool = False, lab: bool = False, output: str = "table", more: Sequence[Check] = ()) -> int:
    """Print the findings, and *more*; return 1 when something required is missing, else 0.

    *quiet*: print only the first thing that is missing, in one sentence. With the output json they are one object.
    """
    found = [*checks(lab=lab), *more]
    missing = [c for c in found if c.required and not c.ok]
    if output == "json":
        print(json.dumps({"ok": not missing, "checks": [_as_json(c) for c in found if not quiet or c in missing]}))
        return 1 if missing else 0
    if not quiet:
        table = Table(box=None, header_style="bold")
        for column in ("", "check", "found"):
            table.add_column(column)
        for c in found:
            mark = "[green]ok[/]" if c.ok else ("[red]missing[/]" if c.required else "[dim]absent[/]")
            table.add_row(mark, c.name, c.detail)
        Console().print(table)
    for c in missing[: 1 if quiet else None]:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"{c.name}: {c.detail}. {c.remedy}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(quiet=True, lab=True))
