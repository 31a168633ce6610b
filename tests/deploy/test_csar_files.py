"""The package of ETSI NFV, as far as it can be made without ETSI's types; `make deploy-test` has them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from tests.test_house import ROOT

CSAR = ROOT / "deploy" / "csar"
# As many of the types of SOL001 as the own checks ask for, with their requirements.
TYPES = """
tosca_definitions_version: tosca_simple_yaml_1_2
capability_types:
  tosca.capabilities.nfv.VirtualLinkable: {derived_from: tosca.capabilities.Node}
  tosca.capabilities.nfv.VirtualBindable: {derived_from: tosca.capabilities.Node}
relationship_types:
  tosca.relationships.nfv.VirtualLinksTo: {derived_from: tosca.relationships.DependsOn}
artifact_types:
  tosca.artifacts.nfv.SwImage: {derived_from: tosca.artifacts.Deployment.Image}
node_types:
  tosca.nodes.nfv.VNF: {requirements: [{virtual_link: {capability: tosca.capabilities.nfv.VirtualLinkable}}]}
  tosca.nodes.nfv.Vdu.Compute: {capabilities: {virtual_binding: {type: tosca.capabilities.nfv.VirtualBindable}}}
  tosca.nodes.nfv.VduCp:
    requirements:
      - virtual_link: {capability: tosca.capabilities.nfv.VirtualLinkable}
      - virtual_binding: {capability: tosca.capabilities.nfv.VirtualBindable}
policy_types:
  tosca.policies.nfv.ScalingAspects: {}
  tosca.policies.nfv.VduInitialDelta: {}
  tosca.policies.nfv.VduScalingAspectDeltas: {}
  tosca.policies.nfv.InstantiationLevels: {}
  tosca.policies.nfv.VduInstantiationLevels: {}
  tosca.policies.nfv.AntiAffinityRule: {}
  tosca.policies.nfv.SecurityGroupRule: {}
"""


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CSAR / name, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """Return a folder with types, a disk, a key and its certificate, and another key."""
    here = tmp_path_factory.mktemp("csar")
    (here / "types").mkdir()
    (here / "types" / "etsi_nfv_sol001_common_types.yaml").write_text(TYPES)
    (here / "types" / "etsi_nfv_sol001_vnfd_types.yaml").write_text(
        "tosca_definitions_version: tosca_simple_yaml_1_2\n"
    )
    (here / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(1000))
    for name in ("key", "other"):
        out = ["-keyout", here / name, "-out", here / f"{name}.cert", "-subj", f"/CN={name}"]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run([*command, *out], check=True, capture_output=True)
    return here


@pytest.fixture(scope="module")
def package(here) -> Path:
    out = here / "signed.csar"
    given = ["--image", here / "disk.qcow2", "--key", here / "key", "--cert", here / "key.cert"]
    done = run("build", out, "--types", here / "types", *given)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out


class TestBuild:
    """A package has its parts where SOL004 wants them, and is the same each time."""

    def test_it_has_each_part_that_its_metadata_name(self, package):
        with zipfile.ZipFile(package) as archive:
            names = archive.namelist()
            meta = yaml.safe_load(archive.read("TOSCA-Metadata/TOSCA.meta"))

        assert names[0] == "TOSCA-Metadata/TOSCA.meta"
        assert {meta[key] for key in meta if key.startswith(("Entry", "ETSI"))} == {
            "Definitions/supernetflow.yaml",
            "supernetflow.mf",
            "ChangeLog.txt",
            "Tests",
            "Licenses",
            "supernetflow.cert",
        }
        assert {"Files/images/supernetflow.qcow2", "BaseHOT/mirror/mirror.yaml", "BaseHOT/inline/inline.yaml"} < {
            *names
        }

    def test_the_image_is_the_one_that_the_descriptor_tells_of(self, package, here):
        with zipfile.ZipFile(package) as archive:
            flavour = yaml.safe_load(archive.read("Definitions/supernetflow_inline.yaml"))
        told = flavour["topology_template"]["node_templates"]["probe"]["properties"]["sw_image_data"]

        assert told["checksum"] == {
            "algorithm": "sha-256",
            "hash": sha256((here / "disk.qcow2").read_bytes()).hexdigest(),
        }
        assert (told["size"], told["disk_format"]) == ("1004 B", "qcow2")

    def test_without_an_image_the_descriptor_tells_of_none(self, here):
        assert run("build", here / "plain.csar", "--types", here / "types").returncode == 0
        with zipfile.ZipFile(here / "plain.csar") as archive:
            flavour = yaml.safe_load(archive.read("Definitions/supernetflow_mirror.yaml"))
        probe = flavour["topology_template"]["node_templates"]["probe"]

        assert not {"artifacts"} & probe.keys()
        assert "sw_image_data" not in probe["properties"]
        assert run("check", here / "plain.csar").returncode == 0

    def test_the_same_files_give_the_same_package(self, here):
        given = ["--types", here / "types", "--image", here / "disk.qcow2"]
        for name in ("one.csar", "two.csar"):
            assert run("build", here / name, *given).returncode == 0

        assert (here / "one.csar").read_bytes() == (here / "two.csar").read_bytes()

    def test_the_time_of_the_release_is_that_of_the_environment(self, here):
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1796000000"}
        subprocess.run([CSAR / "build", here / "dated.csar", "--types", here / "types"], check=True, env=environment)
        with zipfile.ZipFile(here / "dated.csar") as archive:
            manifest = archive.read("supernetflow.mf").decode()

        assert "  vnf_release_date_time: 2026-11-30T00:53:20Z\n" in manifest

    @pytest.mark.parametrize("epoch", ["99999999999999", "yesterday", "-1", "²"])
    def test_a_time_that_is_none_is_refused(self, here, epoch):
        environment = os.environ | {"SOURCE_DATE_EPOCH": epoch}
        command = [CSAR / "build", here / "x.csar", "--types", here / "types"]

        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

        assert (done.returncode, done.stderr) == (
            2,
            "The time of the release is not known: set SOURCE_DATE_EPOCH to seconds since 1970.\n",
        )

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["{here}/x.zip"], "{here}/x.zip is no name for a package: it ends in .csar (R-506221)."),
            (["{here}/no/x.csar"], "{here}/no is no folder: make it first."),
            (["{here}/x.csar", "--key", "{here}/key"], "A signature needs both: give --key and --cert."),
            (["{here}/x.csar", "--image", "{here}/none"], "{here}/none is no file."),
            (["{here}/x.csar", "--image", "{here}/key"], "{here}/key is no qcow2: deploy/image/build makes one."),
            (
                ["{here}/x.csar", "--key", "{here}/key", "--cert", "{here}/key"],
                "{here}/key has a private key in it, and would be in the package: give the certificate alone.",
            ),
            (
                ["{here}/x.csar", "--key", "{here}/shown", "--cert", "{here}/key.cert"],
                "Others on this host can read the key {here}/shown: chmod go= {here}/shown",
            ),
            (["{here}/x.csar", "--key", "{here}/key", "--cert", "{here}/other.cert"], None),
            (
                ["{here}/x.csar", "--types", "{here}"],
                "{here} has no etsi_nfv_sol001_common_types.yaml: give the folder of the types of SOL001.",
            ),
        ],
    )
    def test_what_makes_no_package_is_refused_in_one_sentence(self, here, arguments, said):
        (here / "shown").write_bytes((here / "key").read_bytes())
        (here / "shown").chmod(0o644)

        given = [argument.format(here=here) for argument in arguments]
        done = run("build", *(["--types", here / "types"] if "--types" not in given else []), *given)

        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        if said:
            assert done.stderr == said.format(here=here) + "\n"
        else:
            assert done.stderr.startswith(f"openssl does not sign with {here}/key and {here}/other.cert: ")
        assert not (here / "x.csar").exists()
        assert not list(here.glob(".x.csar*"))


class TestCheck:
    """A package is checked in one command: 0 is well, 1 is a fault, 2 is no package."""

    def test_ours_is_well_with_and_without_its_certificate(self, package, here):
        for arguments in ([], ["--signed"], ["--ca", here / "key.cert"]):
            done = run("check", package, *arguments)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), arguments

    def test_another_authority_is_a_fault(self, package, here):
        done = run("check", package, "--ca", here / "other.cert")

        assert done.returncode == 1
        assert done.stdout == "The signature of the manifest does not hold: certificate verify error.\n"

    def test_a_package_that_should_be_signed_and_is_not_is_a_fault(self, here):
        run("build", here / "unsigned.csar", "--types", here / "types")

        done = run("check", "--signed", here / "unsigned.csar")

        assert (done.returncode, done.stdout) == (1, "The manifest is not signed.\n")

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("Files/extra.txt", b"x", "Files/extra.txt is in the package and not in the manifest."),
            ("../etc/passwd", b"x", "The package has ../etc/passwd, which leads out of it."),
        ],
    )
    def test_what_was_added_is_a_fault(self, package, tmp_path, name, content, said):
        path = tmp_path / "x.csar"
        path.write_bytes(package.read_bytes())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, content)

        done = run("check", path)

        assert done.returncode == 1
        assert said in done.stdout.splitlines()

    def test_what_is_no_zip_is_a_fault(self, here):
        done = run("check", here / "key")

        assert (done.returncode, done.stdout) == (1, "key is no zip: File is not a zip file.\n")

    def test_what_is_damaged_or_locked_is_a_fault_in_one_sentence(self, package, tmp_path):
        whole, path = bytearray(package.read_bytes()), tmp_path / "x.csar"
        with zipfile.ZipFile(package) as archive:
            entry = archive.getinfo("supernetflow.mf")
        at = entry.header_offset
        for name, place, value in (("damaged", at + 30 + len(entry.filename), 0xFF), ("locked", at + 6, 0x01)):
            changed = whole.copy()
            changed[place] = value
            if name == "locked":  # the list at the end says so as well (APPNOTE.TXT, 4.4.4)
                listed = changed.rindex(entry.filename.encode()) - 46
                changed[listed + 8] |= 0x01
            path.write_bytes(changed)

            done = run("check", path)

            assert (done.returncode, done.stderr) == (1, ""), name
            assert done.stdout.splitlines()[-1].startswith("x.csar "), name

    def test_what_is_not_there_is_refused(self, here):
        done = run("check", here / "none.csar")

        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{here}/none.csar is no file.\n")


Files = dict[str, bytes]


def rewritten(package: Path, out: Path, change: Callable[[Files], None], links: tuple[str, ...] = ()) -> Path:
    """Write a package with other files, and with the hashes of these in its manifest, which is not signed then."""
    with zipfile.ZipFile(package) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    whole = files["supernetflow.mf"].decode()
    hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
    said = re.compile(r"\nSource: (.*)\nAlgorithm: SHA-256\nHash: .*\n")
    whole = said.sub(lambda m: m[0][: m[0].index("Hash:")] + f"Hash: {hashes[m[1]]}\n" if m[1] in hashes else "", whole)
    gone = [line for line in re.findall(r"    Source: .*\n", whole) if line.split()[1] not in files]
    for line in gone:
        whole = whole.replace(line, "")
    files["supernetflow.mf"] = whole.encode()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3  # Unix (APPNOTE.TXT, 4.4.2.2)
            entry.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            archive.writestr(entry, content)
    return out


def instead(name: str, old: str, new: str) -> Callable[[Files], None]:
    """Return a change of a text of a package."""

    def change(files: Files) -> None:
        text = files[name].decode()
        assert old in text
        files[name] = text.replace(old, new, 1).encode()

    return change


class TestHidden:
    """A package that is not what was made is refused, also where a part of it would be taken without a look."""

    META, MANIFEST = "TOSCA-Metadata/TOSCA.meta", "supernetflow.mf"

    @pytest.fixture(scope="class")
    @classmethod
    def plain(cls, here: Path) -> Path:
        out = here / "whole.csar"
        assert run("build", out, "--types", here / "types").returncode == 0
        return out

    @pytest.mark.parametrize(
        ("entry", "value"),
        [
            ("ETSI-Entry-Manifest", "supernetflow.mf"),
            ("Entry-Definitions", "Definitions/supernetflow.yaml"),
            ("ETSI-Entry-Change-Log", "ChangeLog.txt"),
        ],
    )
    def test_an_entry_that_is_read_and_leads_to_a_folder(self, package, tmp_path, here, entry, value):
        path = tmp_path / "x.csar"
        with zipfile.ZipFile(package) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                text = old.read(name)
                new.writestr(name, text.replace(f"{entry}: {value}".encode(), f"{entry}: Files".encode()))

        done = run("check", "--ca", here / "key.cert", path)

        assert done.returncode == 1
        assert f"{self.META} has Files for {entry}, which is not a file of the package." in done.stdout.splitlines()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                instead(META, "CSAR-Version: 1.1\n", "CSAR-Version: 1.1\nCSAR-Version: 1.1\n"),
                "TOSCA-Metadata/TOSCA.meta has CSAR-Version twice.",
            ),
            (
                instead(MANIFEST, "vnf_product_name: SuperNetflow", "vnf_product_name: Other"),
                "The manifest has Other for vnf_product_name, and the descriptor SuperNetflow for product_name.",
            ),
            (
                instead(MANIFEST, "vnf_provider_id: SuperNetflow", "vnf_provider_id: Other"),
                "The manifest has Other for vnf_provider_id, and the descriptor SuperNetflow for provider.",
            ),
            (
                instead("ChangeLog.txt", "#", "-----BEGIN EC PRIVATE KEY-----\n#"),
                "ChangeLog.txt has a private key in it.",
            ),
            (
                lambda files: files.pop("BaseHOT/inline/first-boot-pair.yaml"),
                "BaseHOT/inline/inline.yaml reads BaseHOT/inline/first-boot-pair.yaml, which is not in the package.",
            ),
            (
                instead("BaseHOT/mirror/env/upfs-mirror.yaml", "../mirror.yaml", "../miror.yaml"),
                "BaseHOT/mirror/env/upfs-mirror.yaml reads BaseHOT/mirror/miror.yaml, which is not in the package.",
            ),
        ],
    )
    def test_it_is_told_in_one_sentence(self, plain, tmp_path, change, said):
        done = run("check", rewritten(plain, tmp_path / "x.csar", change))

        assert (done.returncode, done.stdout, done.stderr) == (1, f"{said}\n", "")

    def test_a_link(self, plain, tmp_path):
        path = rewritten(plain, tmp_path / "x.csar", lambda _: None, links=("ChangeLog.txt",))

        done = run("check", path)

        assert (done.returncode, done.stdout) == (1, "The package has ChangeLog.txt, which is a link and no file.\n")

    def test_what_was_only_written_again_is_well(self, plain, tmp_path):
        done = run("check", rewritten(plain, tmp_path / "x.csar", lambda _: None))

        assert (done.returncode, done.stdout) == (0, "")


class TestDescriptor:
    """The descriptor says of the machine what the templates of OpenStack say."""

    @pytest.mark.parametrize("flavour", ["mirror", "inline"])
    def test_its_ports_are_those_of_the_template_in_the_same_order(self, flavour):
        described = yaml.safe_load((CSAR / "Definitions" / f"supernetflow_{flavour}.yaml").read_text())
        heat = yaml.safe_load((ROOT / "deploy" / "openstack" / f"{flavour}.yaml").read_text())
        nodes = described["topology_template"]["node_templates"]
        points = {n["properties"]["order"]: name for name, n in nodes.items() if n["type"].endswith("VduCp")}
        (server,) = (r for r in heat["resources"].values() if r["type"] == "OS::Nova::Server")
        ports = [(p.get("if") or [None, p])[1]["port"]["get_resource"] for p in server["properties"]["networks"]]

        assert [points[n].removesuffix("_cp") for n in sorted(points)] == [p.removesuffix("_port") for p in ports]
