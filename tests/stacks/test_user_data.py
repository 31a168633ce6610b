"""User data of all variants, read by cloud-init as the image has it, and by the list of keys that the image reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.test_house import ROOT

pytestmark = pytest.mark.timeout(1800)

EXAMPLES = sorted((ROOT / "deploy/image/cloud-init").glob("*.yaml"))
# Values that mirror.yaml of OpenStack puts in, of the forms that first-boot.yaml asks for.
WORDS = {
    "%name%": "upf-7",
    "%listen%": "0.0.0.0",
    "%admin%": "admin",
    "%admin_key%": "ssh-ed25519 AAAA admin",
    "%keys%": "",
    "%ports%": "--n3, 'fa:16:3e:00:00:03'",
}


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    words = [ROOT / "deploy/image/check-user-data", *files]
    return subprocess.run(words, capture_output=True, text=True, check=False)


class TestVariants:
    """Each variant is taken."""

    def test_the_examples_what_is_made_elsewhere_and_openstack_s(self, tmp_path):
        (tmp_path / "users").write_text("alice ssh-ed25519 AAAA\n")
        (tmp_path / "startup.xml").write_text("<config/>\n")
        made = tmp_path / "made.yaml"
        with made.open("w") as file:
            subprocess.run([ROOT / "deploy/image/user-data", tmp_path], stdout=file, check=True)
        openstack = tmp_path / "first-boot.yaml"
        text = (ROOT / "deploy/openstack/first-boot.yaml").read_text()
        for word, value in WORDS.items():
            text = text.replace(word, value)
        openstack.write_text(text)

        done = check(*EXAMPLES, made, openstack)

        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == str(len(EXAMPLES) + 2)


class TestFaults:
    """User data that cloud-init would take otherwise than meant are refused, and the fault is named."""

    @pytest.mark.parametrize(
        ("right", "wrong", "named"),
        [
            ("runcmd:", "runcmnd:", "runcmnd"),
            ("write_files:", "write-files:", "write-files"),
            ("hostname:", "hostnme:", "hostnme"),
            ("    content:", "    contents:", "contents"),
            ("#cloud-config", "# cloud-config", "#cloud-config"),
            ("runcmd:\n", "runcmd: yes\nbootcmd:\n", "runcmd"),
            ("hostname: snf1", "packages: [vim]", "packages"),
        ],
    )
    def test_it_is_refused(self, tmp_path, right, wrong, named):
        text = EXAMPLES[0].read_text()
        assert right in text
        file = tmp_path / "user-data"
        file.write_text(text.replace(right, wrong, 1))

        done = check(file)

        assert done.returncode == 1
        assert named in done.stderr
