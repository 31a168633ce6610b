"""The package of ETSI NFV by the parser that Tacker has, and faults that it or the own checks refuse."""

from __future__ import annotations

import re
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.csar.checking import check
from tests.stacks.validators import environment, verdicts
from tests.test_house import ROOT

BUILD = ROOT / "deploy" / "csar" / "build"
VERSIONS = ("2.6.1", "2.7.1")
TEMPLATES = ("supernetflow_mirror.yaml", "supernetflow_inline.yaml", "supernetflow.yaml")
MIRROR = "Definitions/supernetflow_mirror.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    """Return a signed package with an image for each version of the types."""
    below = tmp_path_factory.mktemp("csar")
    (below / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(1000))
    name = ["-subj", "/CN=maker", "-keyout", below / "key", "-out", below / "certificate"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *name], check=True, stderr=subprocess.DEVNULL
    )
    environment("tosca")
    found = {version: below / f"{version}.csar" for version in VERSIONS}
    for version, out in found.items():
        given = ["--sol001", version, "--image", below / "disk.qcow2", "--key", below / "key"]
        subprocess.run([BUILD, out, *given, "--cert", below / "certificate"], check=True)
    return found


def unpacked(package: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def case(files: dict[str, bytes], folder: Path) -> dict[str, Any]:
    """Write the definitions of a package into a folder, for the parser."""
    for name, content in files.items():
        if name.startswith("Definitions/"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return {"files": [str(folder / "Definitions" / name) for name in TEMPLATES]}


class TestPackage:
    """The package is one that an orchestrator of SOL001 and SOL004 takes."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_the_own_checks_take_it(self, made, version):
        assert list(check(made[version], signed=True)) == []

    def test_the_parser_takes_it_with_the_types_of_each_version(self, made, tmp_path):
        cases = [case(unpacked(package), tmp_path / version) for version, package in made.items()]

        said = verdicts("tosca", "tosca_engine.py", cases)

        assert [verdict["refused"] for verdict in said] == [None, None]
        for verdict in said:
            mirror, inline, entry = verdict["templates"].values()
            assert {name for name, kind in mirror["nodes"].items() if kind.endswith("VduCp")} == {
                *("management_cp", "n3_cp", "n6_cp", "n4_cp")
            }
            assert {name for name, kind in inline["nodes"].items() if kind.endswith("VduCp")} == {
                *("management_cp", "n3_ran_cp", "n3_core_cp", "n4_cp", "n6_core_cp", "n6_dn_cp")
            }
            assert (mirror["mapped"], inline["mapped"], entry["mapped"]) == (True, True, False)
            assert entry["nodes"] == {"supernetflow": "supernetflow.nodes.VNF"}

    def test_its_types_are_those_of_the_pinned_source(self, made):
        for version, package in made.items():
            types = unpacked(package)["Definitions/etsi_nfv_sol001_vnfd_types.yaml"]
            assert yaml.safe_load(types)["metadata"]["template_version"] == version


@dataclass(frozen=True)
class Fault:
    """A mistake in a package, and the words in which it is refused."""

    words: str
    old: str = ""
    new: str = ""
    file: str = MIRROR
    replace: list[list[str]] = field(default_factory=list)
    stale: bool = False
    unparsed: bool = False

    def planted(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """Return a package with the fault in it, and in its manifest the hash of the file that changed."""
        text = files[self.file].decode()
        assert self.old in text, f"{self.file} has no {self.old}"
        changed = text.replace(self.old, self.new, 1) if self.old else text
        for pattern, by in self.replace:
            changed, count = re.subn(pattern, by, changed)
            assert count, f"{self.file} has no {pattern}"
        assert changed != text
        files = files | {self.file: changed.encode()}
        if not self.stale:
            before, after = (sha256(content.encode()).hexdigest() for content in (text, changed))
            files["supernetflow.mf"] = files["supernetflow.mf"].replace(before.encode(), after.encode())
        return files


FAULTS = {
    by: {name: Fault(**fault) for name, fault in faults.items()}
    for by, faults in yaml.safe_load((Path(__file__).parent / "faults_csar.yaml").read_text()).items()
}


@pytest.fixture(scope="module")
def refusals(made, tmp_path_factory) -> dict[str, str | None]:
    """Return the sentence in which the parser refuses each fault of a descriptor, if it does."""
    files, below = unpacked(made["2.6.1"]), tmp_path_factory.mktemp("faults")
    faults = {n: f for n, f in (FAULTS["parser"] | FAULTS["descriptor"]).items() if not f.unparsed}
    cases = [case(fault.planted(files), below / str(n)) for n, fault in enumerate(faults.values())]
    return dict(zip(faults, (said["refused"] for said in verdicts("tosca", "tosca_engine.py", cases)), strict=True))


def own(fault: Fault, files: dict[str, bytes], path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in fault.planted(files).items():
            archive.writestr(name, content)
    return check(path)


class TestFaults:
    """A package that is wrong is refused in one sentence."""

    @pytest.mark.parametrize("name", FAULTS["parser"])
    def test_by_the_parser(self, refusals, name):
        assert FAULTS["parser"][name].words in (refusals[name] or "")

    @pytest.mark.parametrize("name", FAULTS["descriptor"])
    def test_by_the_own_checks_and_not_by_the_parser(self, made, refusals, tmp_path, name):
        fault = FAULTS["descriptor"][name]

        said = list(own(fault, unpacked(made["2.6.1"]), tmp_path / "x.csar"))

        assert [s for s in said if fault.words in s], said
        assert refusals.get(name) is None

    @pytest.mark.parametrize("name", FAULTS["package"])
    def test_of_what_no_parser_reads(self, made, tmp_path, name):
        fault = FAULTS["package"][name]

        said = list(own(fault, unpacked(made["2.6.1"]), tmp_path / "x.csar"))

        assert [s for s in said if fault.words in s], said
