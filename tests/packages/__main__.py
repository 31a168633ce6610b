"""The package in a minimal Debian of its own: ``python -m tests.packages [--keep FOLDER]``.

Two builds, this tree and one with a lower version and a changed program, are installed by apt under a service manager,
configured, upgraded and downgraded while packets pass, removed and purged; the machine is compared before and after.
Exit 1 when anything does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.net import interruptible
from tests.machines.machine import machine
from tests.packages import begin, built, change, collector, end, typed
from tests.packages.installed import Installed
from tests.packages.report import Report, Stopped

MOST_BYTES = 45_000_000  # of the probe's package
MOST_COLLECTOR_BYTES = 100_000_000
SHARED = Path(os.environ.get("SNF_SHARED") or built.ROOT.parent / "shared")
_FOLDERS = {"supernetflow": "debian", "supernetflow-collector": "debian-collector"}


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="snf-packages-", dir="/var/tmp") as name:
        yield Path(name)


def _packages(report: Report, folder: Path) -> list[Path]:
    made = []
    for version in (built.OLD, built.NEW):
        with report.step(f"build of {version}", needed=True) as said:
            found = next(folder.glob(f"supernetflow_{version}_*.deb"), None)
            if found is None:
                tree = built.ROOT
                if version == built.OLD:
                    tree = built.old_tree(folder / "tree") if not (folder / "tree").exists() else folder / "tree"
                found = built.build(folder, version, tree)
            size = found.stat().st_size
            said.append(f"{size / 1e6:.1f} MB (at most {MOST_BYTES / 1e6:.0f})")
            assert size <= MOST_BYTES
            made.append(found)
    return made


def _collectors(report: Report, folder: Path) -> list[Path]:
    """Return two of the collector's package, the older one first."""
    name = "supernetflow-collector"
    with report.step(f"build of {name}", needed=True) as said:
        found = next(folder.glob(f"{name}_{built.NEW}_*.deb"), None) or built.build(folder, built.NEW, name=name)
        size = found.stat().st_size
        said.append(f"{size / 1e6:.1f} MB (at most {MOST_COLLECTOR_BYTES / 1e6:.0f})")
        assert size <= MOST_COLLECTOR_BYTES
        old = next(folder.glob(f"{name}_{built.OLD}_*.deb"), None) or built.older(found)
    return [old, found]


def _again(report: Report, folder: Path, package: Path) -> None:
    with report.step("the same text, built again") as said:
        again = built.build(folder / "again", built.NEW)
        hashes = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (package, again)]
        again.unlink()
        assert len(set(hashes)) == 1, "its bytes are others"
        said.append(f"has the same bytes, SHA-256 {hashes[0][:16]}...")


def _lintian(report: Report, package: Path) -> None:
    name = package.name.split("_")[0]
    known = built.ROOT / "deploy/deb" / _FOLDERS[name] / f"{name}.lintian-overrides"
    with report.step(f"lintian, {name}") as said:
        words = ["lintian", "--no-cfg", "--allow-root", "--fail-on", "error", str(package)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        wrong = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]
        reasons = sum(line.startswith(f"{name}: ") for line in known.read_text().splitlines())
        said.append(f"no error but {reasons} kinds that have a reason beside them")
        assert not wrong, "\n".join(wrong)


def main() -> int:
    """Return 0 when all holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.packages", description=__doc__)
    parser.add_argument("--keep", type=Path, help="Folder for packages and root, which a next run takes.")
    kept = parser.parse_args().keep
    report = Report()
    with interruptible(), suppress(Stopped), _folder(kept) as folder:
        packages = _packages(report, folder)
        _again(report, folder, packages[-1])
        collectors = _collectors(report, folder)
        for package in (packages[-1], collectors[-1]):
            _lintian(report, package)
        root = folder / "root"
        if not (root / "sbin/init").exists():
            with report.step("a minimal Debian", needed=True):
                built.debian(root, packages, collectors)
        report.say("a service manager boots in it ...")
        with machine(root) as debian:
            place = Installed(debian, folder)
            begin.depend(report, place, packages[0])
            before = end.Before(place)
            collector.alone(report, place, collectors[0])
            begin.show(report, place, packages[0], SHARED)
            change.show(report, place, packages)
            collector.collects(report, place, collectors[1])
            end.show(report, place, packages[-1], before)
            collector.leaves(report, place)
            end.unchanged(report, place, before)
            typed.show(report, place, packages, SHARED)
    report.show()
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
