"""The scripts of image, box and playground: what they refuse, and user data that they make."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from lab.operator import key_pair
from mgmt.cli.main import main
from tests.test_house import ROOT

IMAGE = ROOT / "deploy/image"
# developer.hashicorp.com/vagrant/docs: providers/virtualbox/configuration, synced-folders/rsync; vagrant-libvirt's.
PROVIDERS = {
    "libvirt": {"memory", "cpus", "driver", "disk_bus", "nic_model_type", "machine_type", "cpu_mode", "qemuargs"},
    "virtualbox": {"name", "memory", "cpus", "gui", "customize", "linked_clone", "default_nic_type"},
}
RSYNC = {"rsync__exclude", "rsync__args", "rsync__auto", "rsync__chown", "rsync__verbose"}
EXAMPLES = sorted(IMAGE.glob("cloud-init/*.yaml"))


def run(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / script, *words], capture_output=True, text=True, check=False)


class TestRefusals:
    """Bad input is refused in one sentence with status 2, before anything is made."""

    @pytest.mark.parametrize(
        ("script", "words", "says"),
        [
            ("deploy/image/build", (), "usage"),
            ("deploy/image/build", ("--kernel", "6.2", "@/x.qcow2"), "take 6.1 or 6.12"),
            ("deploy/image/build", ("--kernl", "6.1", "@/x.qcow2"), "usage"),
            ("deploy/image/build", ("@/x.img",), "ends in .qcow2"),
            ("deploy/image/build", ("@/no/x.qcow2",), "make it first"),
            ("deploy/image/build", ("--package", "@/no.deb", "@/x.qcow2"), "no Debian package"),
            ("deploy/image/disk", ("@",), "usage"),
            ("deploy/image/disk", ("@", "@/x.qcow2"), "install a kernel package"),
            ("deploy/image/trim", ("@",), "usage"),
            ("deploy/image/box", ("vmware", "@/x.box"), "take libvirt or virtualbox"),
            ("deploy/image/box", ("libvirt", "@/x.tar"), "ends in .box"),
            ("deploy/image/box", ("--disk", "@/no.qcow2", "libvirt", "@/x.box"), "is no file"),
            ("deploy/image/check-user-data", (), "usage"),
            ("deploy/image/check-user-data", ("@/no.yaml",), "is no file"),
            ("deploy/image/user-data", (), "usage"),
            ("deploy/image/user-data", ("@", "localhost"), "no address with a port"),
            ("deploy/image/user-data", ("@", "999.0.2.1:830"), "no address with a port"),
            ("deploy/image/user-data", ("@", "[::]:70000"), "no address with a port"),
            ("deploy/image/user-data", ("@",), "snf init --elsewhere"),
        ],
    )
    def test_it_is_refused(self, tmp_path, script, words, says):
        done = run(script, *(word.replace("@", str(tmp_path)) for word in words))

        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []


class TestUserData:
    """User data carry what snf init made elsewhere, readable by the function alone."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Path:
        (tmp_path / "users").write_text("alice ssh-ed25519 AAAA\n")
        (tmp_path / "startup.xml").write_text('<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"/>\n')
        return tmp_path

    def test_both_files_and_the_address(self, site):
        found = yaml.safe_load(run("deploy/image/user-data", site, "[::]:830").stdout)["write_files"]

        assert {file["path"]: (file["owner"], file["permissions"]) for file in found} == {
            "/etc/supernetflow/users": ("root:supernetflow", "0640"),
            "/etc/supernetflow/startup.xml": ("root:supernetflow", "0640"),
            "/etc/default/supernetflow": ("root:root", "0644"),
        }

    def test_what_openstack_would_not_take_is_refused(self, site):
        whole = (site / "startup.xml").read_text()
        (site / "startup.xml").write_text(f"{whole}<!-- {'x' * 40_000} -->\n")

        done = run("deploy/image/user-data", site)

        assert done.returncode == 2
        assert "65,535" in done.stderr

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("users", "# nobody\n", "users names nobody"),
            ("startup.xml", "", "startup.xml is no XML: "),
            ("startup.xml", "<html/>", "startup.xml is no configuration: its element is html."),
            (
                "startup.xml",
                '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><key>@pseudonyms@</key></config>',
                "startup.xml has no key for @pseudonyms@.",
            ),
        ],
    )
    def test_what_no_function_could_start_with_is_refused_here(self, site, name, content, says):
        (site / name).write_text(content)

        done = run("deploy/image/user-data", site)

        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert says in done.stderr


class TestExamples:
    """The command takes what the examples of user data run, and their keys are those that the image reads."""

    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_snf_init_takes_what_they_say(self, path, tmp_path):
        public = tmp_path / "operator.pub"
        public.write_text(key_pair(tmp_path / "key") + "\n")
        command = yaml.safe_load(path.read_text())["runcmd"][0]
        words = [word.replace("/etc/supernetflow/operator.pub", str(public)) for word in command[1:]]

        main([*words, "--elsewhere", f"--dir={tmp_path / 'made'}"])

        assert command[0] == "snf"
        assert (tmp_path / "made/startup.xml").exists()

    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_their_keys_are_in_the_list(self, path):
        known = {line for line in (IMAGE / "cloud-init/keys").read_text().splitlines() if not line.startswith("#")}

        assert yaml.safe_load(path.read_text()).keys() <= known


class TestBox:
    """The descriptor for VirtualBox is well formed, and names the disk that is in the box."""

    def test_it_names_the_disk_and_has_places_for_its_sizes(self):
        text = (IMAGE / "box.virtualbox/box.ovf").read_text()
        envelope = "{http://schemas.dmtf.org/ovf/envelope/1}"

        (file,) = ET.fromstring(text).iter(f"{envelope}File")

        assert file.attrib[f"{envelope}href"] == "disk.vmdk"
        assert re.findall(r"@(\w+)@", text) == ["size", "bytes"]


class TestVagrantfiles:
    """Words of a Vagrantfile that Vagrant lets pass without the provider's plugin are those of its documentation."""

    FILES = ("vagrant/Vagrantfile", "deploy/image/box.libvirt/Vagrantfile", "deploy/image/box.virtualbox/Vagrantfile")

    def unknown(self, text: str) -> set[str]:
        """Return the words that no documentation has."""
        found = set(re.findall(r"\brsync__\w+", text)) - RSYNC
        for name, inside in re.findall(r"config\.vm\.provider\W+(\w+)\W+do \|\w+\|(.*?)^  end", text, re.M | re.S):
            keys = set(re.findall(r"^ +\w+\.(\w+)", inside, re.M))
            found |= keys - PROVIDERS[name] if name in PROVIDERS else {name}
        return found

    @pytest.mark.parametrize("name", FILES)
    def test_ours_have_no_other(self, name):
        assert self.unknown((ROOT / name).read_text()) == set()

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [("rsync__exclude", "rsync__exclud"), ('"libvirt"', '"libvrt"'), ("machine.name", "machine.nam")],
    )
    def test_a_misspelt_one_would_be_found(self, right, wrong):
        text = (ROOT / "vagrant/Vagrantfile").read_text()
        assert right in text

        assert self.unknown(text.replace(right, wrong)) == {wrong.strip('"').rpartition(".")[2]}
