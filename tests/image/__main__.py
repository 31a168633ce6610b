"""The image on both kernels, booted from its disk, and the box: ``python -m tests.image [6.1] [6.12] [box]``.

Power-on to cloud-init, the unit under its hardening, native XDP on two ports found by MAC, a change by ncclient,
frames counted one by one, records over CURVE; then upgrade and reboot. Exit 1 when anything of it does not hold.
``--disk``, ``--package``, ``--older`` take what is there instead of making it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.net import LabError, interruptible
from nf.errors import SnfError
from tests.image import boot, seed
from tests.image.machine import Machine
from tests.image.report import Report
from tests.packages import built

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ("6.1", "6.12")
BOX = "box"
EFI = Path("/usr/share/ovmf/OVMF.fd")  # of Debian's package ovmf
MOST_BYTES = 300_000_000


def _run(*words: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, cwd=cwd, check=False)
    if done.returncode:
        raise LabError(f"`{' '.join(map(str, words))}` failed; see above.")
    return done.stdout.strip()


def _packages(here: Path | None, older: Path | None, below: Path) -> boot.Packages:
    """Return the package of this tree, and one of a lower version whose programs are others."""
    here = here or Path(_run("deploy/deb/build", below / "packages"))
    older = older or built.build(below / "packages", built.OLD, built.old_tree(below / "older"))
    return boot.Packages(here, older)


def _overlay(disk: Path, path: Path, form: str = "qcow2") -> Path:
    """Make a disk that has what *disk* has, and keeps what is written."""
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.resolve(), "-F", form, path)
    return path


def _story(kernel: str, disk: Path, packages: boot.Packages, report: Report) -> None:
    size = disk.stat().st_size
    report.check("size", size <= MOST_BYTES, f"{size / 1e6:.0f} MB of {MOST_BYTES / 1e6:.0f}")
    with boot.folder() as below:
        key, public = boot.user_key(below)
        if kernel == KERNELS[0]:
            source = seed.no_cloud(below / "seed", boot.made_inside(public))
        else:
            source = seed.config_drive(below / "seed", boot.made_elsewhere(public, below))
        files = {"here.deb": packages.here, "older.deb": packages.older}
        more = [source, seed.disk(below / "packages", "PACKAGES", files)]
        with Machine(_overlay(disk, below / "disk.qcow2"), more) as machine:
            story = boot.Story(report, machine, key, told_early=kernel == KERNELS[0])
            story.power_on()
            story.inside()
            story.ports("native XDP by MAC address")
            story.commit()
            story.traffic("first start")
            story.exchange("/dev/vdc", "older.deb", "downgrade")
            story.exchange("/dev/vdc", "here.deb", "upgrade")
            story.traffic("after the upgrade")
            story.reboot()
            story.traffic("after the reboot")


def _efi(disk: Path, report: Report) -> None:
    """Boot the disk as a machine with EFI does, as far as the kernel: what comes then is as with a BIOS."""
    with boot.folder() as below, Machine(_overlay(disk, below / "disk.qcow2"), efi=EFI) as machine:
        said = machine.hear("Run /init as init process")
        report.check("EFI", True, f"the kernel runs after {said.processor_s:.0f} processor seconds")


def _box(package: Path, report: Report) -> None:
    """Unpack a box for libvirt, and boot its disk as far as ssh; VirtualBox's has the same disk."""
    with boot.folder() as below:
        disk, made = below / "disk.qcow2", below / "libvirt.box"
        _run("deploy/image/build", "--package", package, "--box", disk)
        _run("deploy/image/box", "--disk", disk, "libvirt", made)
        _run("deploy/image/box", "--disk", disk, "virtualbox", below / "virtualbox.box")
        for name in ("libvirt", "virtualbox"):
            (below / name).mkdir()
            _run("tar", "-C", below / name, "-xf", below / f"{name}.box")
        told = json.loads((below / "libvirt/metadata.json").read_text())
        report.check(
            "metadata", told == {"provider": "libvirt", "format": "qcow2", "virtual_size": 2}, json.dumps(told)
        )
        same = subprocess.run(
            ["qemu-img", "compare", below / "libvirt/box.img", below / "virtualbox/disk.vmdk"],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        report.check("VirtualBox's disk", same.returncode == 0, same.stdout.strip())
        _answers(below / "libvirt/box.img", below / "virtualbox/disk.vmdk", report)


def _answers(libvirt: Path, virtualbox: Path, report: Report) -> None:
    """Boot the disks of both boxes, each at the controller that it will have, as far as ssh."""
    with boot.folder() as below:
        for bus, image, form in (("virtio", libvirt, "qcow2"), ("ide", virtualbox, "vmdk")):
            with Machine(_overlay(image, below / f"{bus}.qcow2", form), bus=bus, service=22) as machine:
                machine.hear("Reached target getty.target", "Reached target Login Prompts")
                name = machine.greeting()
                report.check(f"box, disk at {bus}", name.startswith("SSH-2.0-"), f"ssh says {name}")


def _each(names: list[str], given: argparse.Namespace) -> Iterator[Report]:
    """Yield the report on each kernel's image, and on the box."""
    with boot.folder() as below:
        packages = _packages(given.package, given.older, below)
        for name in names:
            report = Report(name)
            try:
                if name == BOX:
                    _box(packages.here, report)
                else:
                    disk = given.disk or below / f"{name}.qcow2"
                    if not given.disk:
                        report.say("making the image")
                        _run("deploy/image/build", "--kernel", name, "--package", packages.here, disk)
                    _story(name, disk, packages, report)
                    if name == KERNELS[-1]:
                        _efi(disk, report)
            except (LabError, SnfError, OSError) as why:
                report.failed(str(why))
            yield report


def main() -> int:
    """Return 0 when all holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    names = (*KERNELS, BOX)
    parser.add_argument("part", nargs="*", metavar="PART", help=f"of: {', '.join(names)}; all without a name")
    parser.add_argument("--disk", type=Path, help="a disk that is there already; of one kernel")
    parser.add_argument("--package", type=Path, help="the package in it, which is there already")
    parser.add_argument("--older", type=Path, help=f"the package {built.OLD}, which is there already")
    given = parser.parse_args()
    wanted = given.part or [*names]
    if unknown := set(wanted) - set(names):
        parser.error(f"nothing is named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if given.disk and len(wanted) > 1:
        parser.error("--disk is of one kernel: name it")
    try:
        with interruptible():
            reports = list(_each(wanted, given))
    except LabError as why:
        print(f"image-test: {why}", file=sys.stderr)
        return 1
    for report in reports:
        report.show()
    return 0 if all(report.ok for report in reports) else 1


sys.exit(main())
