"""Two builds of the package, and the minimal Debian that they are installed in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.net import LabError

__all__ = ["NEW", "OLD", "ROOT", "build", "debian", "old_tree", "older", "unpacked_mb"]

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "0.0.9", "0.1.0"  # versions: lower than this tree's, and this tree's
_ARCHIVES = Path("/var/cache/snf-roots/archives")  # what apt downloaded, for the next run
_SOURCES = ("bpf", "constraints", "docs", "feed", "gtp", "history", "mgmt", "nf", "yang", "LICENSES")
_FILES = ("CHANGELOG.md", "LICENSE", "NOTICE", "README.md", "pyproject.toml")
_MANAGER = ("dbus", "ethtool", "iproute2", "openssh-client", "procps", "systemd", "systemd-sysv", "util-linux")


def build(out: Path, version: str, tree: Path = ROOT, name: str = "supernetflow") -> Path:
    """Build a package; raises LabError with the last words of the build."""
    words = [ROOT / "deploy/deb/build", "--package", name, "--version", version, "--tree", tree, out]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"The package {version} could not be built: {done.stderr[-2000:]}")
    return Path(done.stdout.split()[-1])


def older(package: Path) -> Path:
    """Pack a package of NEW anew as one of OLD, quicker than by another build; nothing but the version differs."""
    unpacked, made = package.parent / "unpacked", package.with_name(package.name.replace(NEW, OLD))
    edit = f"sed -i 's/^Version: {NEW}$/Version: {OLD}/'"
    steps: tuple[tuple[str | Path, ...], ...] = (
        ("dpkg-deb", "--raw-extract", package, unpacked),
        ("sh", "-c", f"{edit} $0/DEBIAN/control $0/usr/lib/*/lib/*/*/supernetflow-*/METADATA", unpacked),
        ("dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", unpacked, made),
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{package.name} could not be packed anew: {done.stderr[-500:]}")
    shutil.rmtree(unpacked)
    return made


def old_tree(place: Path) -> Path:
    """Copy this tree with a program that differs: a flood may use two seconds' worth of new flows instead of one."""
    for name in _SOURCES:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "compiled"))
    for name in _FILES:
        shutil.copy2(ROOT / name, place / name)
    limit = place / "bpf/limit.h"
    text = limit.read_text()
    assert "LIMIT_BURST_NS 1000000000ull" in text
    limit.write_text(text.replace("LIMIT_BURST_NS 1000000000ull", "LIMIT_BURST_NS 2000000000ull"))
    return place


def debian(root: Path, packages: list[Path], more: list[Path]) -> None:
    """Make a minimal Debian with a service manager, the packages in /srv, and what apt wants for them downloaded.

    So that apt resolves and installs inside of a machine that has no network.
    """
    subprocess.run([ROOT / "deploy/base", root, *_MANAGER], check=True)
    cache = root / "var/cache/apt/archives"
    _ARCHIVES.mkdir(parents=True, exist_ok=True)
    for file in _ARCHIVES.glob("*.deb"):
        shutil.copy2(file, cache)
    for package in (*packages, *more):
        shutil.copy2(package, root / "srv")
    shutil.copy2("/etc/resolv.conf", root / "etc/resolv.conf")
    for settings in Path("/etc/apt/apt.conf.d").glob("*proxy*"):
        shutil.copy2(settings, root / "etc/apt/apt.conf.d")
    newest = " ".join(f"/srv/{each[-1].name}" for each in (packages, more))
    steps = ("apt-get update -q", f"apt-get install -q -y --download-only {newest}")
    for step in steps:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        environment |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        words = ["chroot", root, *step.split()]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise LabError(f"{step}: {done.stdout.decode(errors='replace')[-2000:]}")
    for file in cache.glob("*.deb"):
        if not (_ARCHIVES / file.name).exists():
            shutil.copy2(file, _ARCHIVES)


def unpacked_mb(folder: Path) -> float:
    """Return what the files of a folder hold, in megabytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() or path.is_symlink()) / 1e6
