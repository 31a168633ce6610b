"""The image on both kernels, booted from its disk: ``python -m tests.image [6.1] [6.12]``, both without a name.

Power-on to cloud-init, the unit under its hardening, native XDP on two ports found by MAC address, a change by ncclient,
frames counted one by one, records over CURVE; then upgrade and reboot. Exit 1 when anything of it does not hold.
``--disk FILE`` boots a disk that is there instead of making one; only one kernel then.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from lab.net import LabError, interruptible
from nf.errors import SnfError
from tests.image import boot, seed
from tests.image.machine import Machine
from tests.image.report import Report

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ("6.1", "6.12")
OLDER = "0.0.9"
MOST_BYTES = 300_000_000


def _run(*words: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, cwd=cwd, check=False)
    if done.returncode:
        raise LabError(f"`{' '.join(map(str, words))}` failed; see above.")
    return done.stdout.strip()


def _older(below: Path) -> Path:
    """Build a package of a lower version from another tree: this one with a program that is another."""
    tree = below / "older"
    _run("git", "-c", "safe.directory=*", "worktree", "prune")
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "build", "dist", ".*_cache", "__pycache__")
    )
    text = tree / "bpf/parse.h"
    if "SNF_OLDER" in text.read_text():
        raise LabError("bpf/parse.h knows SNF_OLDER already.")
    _change(tree / "bpf/snf.c")
    return Path(_run("deploy/deb/build", "--version", OLDER, "--tree", tree, below / "packages"))


def _change(program: Path) -> None:
    """Change the programs so that they are other ones and do the same: what they multiply hashes by."""
    raise NotImplementedError(program)


def _overlay(disk: Path, path: Path) -> Path:
    """Make a disk that has what *disk* has, and keeps what is written."""
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.resolve(), "-F", "qcow2", path)
    return path


def _story(kernel: str, disk: Path, packages: boot.Packages | None, report: Report) -> None:
    size = disk.stat().st_size
    report.check("size", size <= MOST_BYTES, f"{size / 1e6:.0f} MB of {MOST_BYTES / 1e6:.0f}")
    with boot.folder() as below:
        key, public = boot.user_key(below)
        if kernel == KERNELS[0]:
            source = seed.no_cloud(below / "seed", boot.made_inside(public))
        else:
            source = seed.config_drive(below / "seed", boot.made_elsewhere(public, below))
        more = [source]
        if packages:
            files = {"here.deb": packages.here, "older.deb": packages.older}
            more.append(seed.disk(below / "packages", "PACKAGES", files))
        with Machine(_overlay(disk, below / "disk.qcow2"), more) as machine:
            story = boot.Story(report, machine, key)
            story.power_on()
            story.inside()
            story.ports("native XDP by MAC address")
            story.commit()
            story.traffic("first start")
            if packages:
                story.exchange("/dev/vdc", "older.deb", "downgrade")
                story.exchange("/dev/vdc", "here.deb", "upgrade")
                story.traffic("after the upgrade")
            story.reboot()
            story.traffic("after the reboot")


def main() -> int:
    """Return 0 when all holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("kernel", nargs="*", metavar="KERNEL", help=f"of: {', '.join(KERNELS)}")
    parser.add_argument("--disk", type=Path, help="a disk that is there already")
    parser.add_argument("--package", type=Path, help="the package, when it is there already")
    given = parser.parse_args()
    names = given.kernel or [*KERNELS]
    if unknown := set(names) - set(KERNELS):
        parser.error(f"no kernel is named {', '.join(sorted(unknown))}; there are {', '.join(KERNELS)}")
    if given.disk and len(names) > 1:
        parser.error("--disk is of one kernel: name it")
    reports = []
    with interruptible(), boot.folder() as below:
        packages = None
        for name in names:
            report = Report(name)
            reports.append(report)
            try:
                disk = given.disk or below / f"{name}.qcow2"
                if not given.disk:
                    report.say("making the image")
                    _run("deploy/image/build", "--kernel", name, disk)
                _story(name, disk, packages, report)
            except (LabError, SnfError, OSError) as why:
                report.failed(str(why))
    for report in reports:
        report.show()
    return 0 if all(report.ok for report in reports) else 1


sys.exit(main())
