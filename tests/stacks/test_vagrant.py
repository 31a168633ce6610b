"""The Vagrantfiles by Vagrant itself, and what they run in a machine, in a fresh Debian.

Vagrant and its plugin for libvirt are Debian's, in a root of their own (deploy/base); no libvirtd runs there, and
nothing is started: that takes a hypervisor. For VirtualBox only what Vagrant itself knows of it is looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.wait import wait_until
from tests.test_house import ROOT

FILES = ("vagrant/Vagrantfile", "deploy/image/box.libvirt/Vagrantfile", "deploy/image/box.virtualbox/Vagrantfile")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "VAGRANT_NO_COLOR": "1"}
PASSED_ON = ("PIP_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT", "REQUESTS_CA")

pytestmark = pytest.mark.timeout(3600)


def debian(root: Path, *packages: str) -> Path:
    """Make a minimal Debian."""
    subprocess.run([ROOT / "deploy/base", root, *packages], check=True)
    return root


def words(root: Path, command: str) -> list[str]:
    """Return the words that run a command in a root, in a namespace of mounts that ends with it."""
    mounts = "mount -t proc proc $0/proc && mount -t sysfs sysfs $0/sys && mount -t bpf bpf $0/sys/fs/bpf"
    mounts += " && mount --rbind /dev $0/dev"
    script = f'{mounts} && mount -t tmpfs tmpfs $0/run && mkdir $0/run/netns && exec chroot $0 sh -ec "$1"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, str(root), command]


def environment() -> dict[str, str]:
    return ENVIRONMENT | {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}


def inside(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a root to its end."""
    return subprocess.run(
        words(root, command),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def first_record(root: Path, command: str) -> str:
    """Run the lab in a root until its feed is written down; returns what was, and ends the lab."""
    there = root / "tmp"
    with (root / "tmp/said").open("w+") as said:
        before = set(there.glob("snf-lab-*"))
        lab = subprocess.Popen(
            words(root, command), env=environment(), stdout=said, stderr=said, stdin=subprocess.DEVNULL
        )
        try:
            found: list[str] = []

            def heard() -> bool:
                files = [path / "records.jsonl" for path in there.glob("snf-lab-*") if path not in before]
                found[:] = [path.read_text() for path in files if path.exists() and path.stat().st_size]
                return bool(found) or lab.poll() is not None

            wait_until(heard, "the feed is written down", 600)
            said.seek(0)
            assert found, said.read()
            return found[0]
        finally:
            lab.terminate()
            lab.wait()


@pytest.fixture(scope="module")
def vagrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = debian(tmp_path_factory.mktemp("vagrant"), "vagrant", "vagrant-libvirt")
    yield root
    shutil.rmtree(root)


def validate(root: Path, text: str, provider: str) -> subprocess.CompletedProcess[str]:
    place = root / "srv/here"
    place.mkdir(parents=True, exist_ok=True)
    (place / "Vagrantfile").write_text(text)
    words = "--ignore-provider" if provider == "virtualbox" else ""
    return inside(root, f"cd /srv/here && VAGRANT_DEFAULT_PROVIDER={provider} vagrant validate {words}")


class TestVagrantfiles:
    """Vagrant takes each Vagrantfile, and refuses it with a misspelt key."""

    @pytest.mark.parametrize("name", FILES)
    def test_it_is_valid(self, vagrant, name):
        provider = "virtualbox" if "virtualbox" in name else "libvirt"

        done = validate(
            vagrant,
            (ROOT / name).read_text().replace("config.vm.base_mac", "config.vm.box = 'x'; config.vm.base_mac"),
            provider,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert "validated successfully" in done.stdout

    @pytest.mark.parametrize(
        ("right", "misspelt"),
        [
            ("config.vm.hostname", "config.vm.hostnme"),
            ("config.vm.boot_timeout", "config.vm.boot_timeot"),
            ("config.vm.box ", "config.vn.box "),
            ("machine.cpus = 2", "machine.cpuz = 2"),
            ("machine.memory = 4096", "machine.memry = 4096"),
            ('type: "rsync"', 'type: "rsnyc"'),
            ('provision "shell"', 'provision "shel"'),
        ],
    )
    def test_a_misspelt_key_is_refused(self, vagrant, right, misspelt):
        text = (ROOT / "vagrant/Vagrantfile").read_text()
        assert right in text

        done = validate(vagrant, text.replace(right, misspelt, 1), "libvirt")

        assert done.returncode != 0, done.stdout


class TestProvisioning:
    """The provisioning of `vagrant up` installs package and lab, and the network comes up from them."""

    @pytest.fixture(scope="class")
    @classmethod
    def machine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        root = debian(tmp_path_factory.mktemp("machine"), "systemd", "systemd-sysv", "ca-certificates", "iproute2")
        tree = root / "srv/supernetflow"
        anywhere = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "*.so")

        def skipped(folder: str, names: list[str]) -> set[str]:
            """Skip what the Vagrantfile keeps out, and packages of another day; deploy/deb/build is a file."""
            return set(anywhere(folder, names)) | ({"build", "dist"} if Path(folder) == ROOT else set())

        shutil.copytree(ROOT, tree, ignore=skipped)
        for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"):
            if Path(file).exists():
                shutil.copy(file, root / file.strip("/"))
        for file in Path("/etc/apt/apt.conf.d").glob("*proxy*"):
            shutil.copy(file, root / "etc/apt/apt.conf.d")
        yield root
        shutil.rmtree(root)

    def test_it_installs_both_and_a_second_run_is_no_error(self, machine):
        for _ in range(2):
            done = inside(machine, "/srv/supernetflow/vagrant/provision")
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "the network comes up at the next boot" in done.stdout

        known = inside(
            machine, "dpkg-query -W -f '${Status}' supernetflow; snf --version; systemctl is-enabled playground"
        )

        assert known.returncode == 0, known.stderr
        assert known.stdout.startswith("install ok installed")
        assert known.stdout.splitlines()[-1] == "enabled"
        assert inside(machine, "systemd-analyze verify /etc/systemd/system/playground.service").stderr == ""

    def test_the_network_comes_up_and_its_feed_is_written_down(self, machine):
        unit = (machine / "etc/systemd/system/playground.service").read_text()
        (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)

        assert '"subscriber"' in first_record(machine, f"cd /srv/supernetflow; exec {command}")

    def test_another_system_is_refused(self, machine):
        said = machine / "etc/os-release"
        kept = said.read_text()
        said.unlink()
        said.write_text(kept.replace("bookworm", "trixie"))
        try:
            done = inside(machine, "/srv/supernetflow/vagrant/provision")
        finally:
            said.write_text(kept)

        assert done.returncode == 2
        assert "Debian 12" in done.stderr
