"""Kernels of Debian 12 as its packages bring them, unpacked and not installed."""

from __future__ import annotations

import lzma
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.net import LabError
from tests.kernels.archive import Archive

__all__ = ["PACKAGES", "Kernel", "kernel"]

PACKAGES = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}
_DRIVERS = ("virtio_pci", "virtio_net")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_PACKAGE = re.compile(r"Depends: (linux-image-\S+)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to boot: its release, its image, and an archive with the drivers of a virtual machine."""

    release: str
    image: Path
    drivers: Path


def _run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode:
        raise LabError(f"`{' '.join(words)}` failed: {done.stderr.strip().splitlines()[-1:] or done.stdout}")
    return done.stdout


def _package(name: str) -> str:
    """Return the package with the image itself, which the one of a series names."""
    for attempt in range(2):
        found = (
            _PACKAGE.search(_run("apt-cache", "show", "--no-all-versions", name)) if attempt or _known(name) else None
        )
        if found:
            return found[1]
        _run("apt-get", "update")
    raise LabError(f"apt knows no package {name}; add Debian 12's sources, with its security updates.")


def _known(name: str) -> bool:
    return bool(subprocess.run(["apt-cache", "show", name], capture_output=True, check=False).stdout)


def kernel(series: str, folder: Path) -> Kernel:
    """Return the newest kernel of a series, from *folder* or from Debian; raises LabError."""
    package = _package(PACKAGES[series])
    release = package.removeprefix("linux-image-")
    place = folder / release
    made = Kernel(release, place / "vmlinuz", place / "drivers.cpio")
    if made.drivers.exists():
        return made
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as name:
        below = Path(name)
        _run("apt-get", "download", "-o", "APT::Sandbox::User=root", package, cwd=below)
        (deb,) = below.glob("*.deb")
        _run("dpkg-deb", "-x", str(deb), str(below / "root"))
        (below / "root/boot" / f"vmlinuz-{release}").rename(made.image)
        partly = below / "drivers"
        partly.write_bytes(_drivers(below / "root/lib/modules" / release))
        partly.rename(made.drivers)
    return made


def _drivers(modules: Path) -> bytes:
    """Return an archive of the drivers, numbered in the order in which they are to be loaded."""
    files = {re.sub(r"\.ko(\.xz)?$", "", path.name).replace("-", "_"): path for path in modules.rglob("*.ko*")}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name not in files:  # a driver that is in no file is built into the kernel
            return
        raw = files[name].read_bytes()
        code = lzma.decompress(raw) if files[name].suffix == ".xz" else raw
        found = _DEPENDS.search(code)
        for other in found[1].decode().split(",") if found else ():
            add(other.replace("-", "_"))
        ordered[name] = code

    for driver in _DRIVERS:
        add(driver)
    archive = Archive()
    archive.directory("/drivers")
    for number, (name, code) in enumerate(ordered.items()):
        archive.data(f"/drivers/{number:02}-{name}.ko", code)
    return archive.pack()
