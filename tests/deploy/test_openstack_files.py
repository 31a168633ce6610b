"""The templates of OpenStack, as far as they can be read without Heat; `make deploy-test` asks its engine."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.test_house import ROOT

OPENSTACK = ROOT / "deploy" / "openstack"
TEMPLATES = {name: yaml.safe_load((OPENSTACK / name).read_text()) for name in ("mirror.yaml", "inline.yaml")}


def check(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([OPENSTACK / "check", *arguments], capture_output=True, text=True, check=False)


class TestCheck:
    """The own checks are a command for who changes a template."""

    def test_ours_are_well(self):
        done = check()

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (
                "tap_service: {get_resource: n3_tap}",
                "tap_service: {get_resource: n3_tapp}",
                "mirror.yaml: resources.n3_copies.properties.tap_service.get_resource refers to n3_tapp, "
                "which is none of the resources.",
            ),
            (
                "port_security_enabled: false",
                "port_security_enabled: true",
                "mirror.yaml: The port n3_port has port security, so the switch keeps frames of others from it.",
            ),
            ("parameters:\n  name:", "parameters: name:", None),
        ],
    )
    def test_a_fault_is_one_sentence_and_the_status_is_1(self, tmp_path, old, new, said):
        shutil.copytree(OPENSTACK, tmp_path / "mine")
        path = tmp_path / "mine" / "mirror.yaml"
        path.write_text(path.read_text().replace(old, new, 1))

        done = check(tmp_path / "mine")

        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout.count("\n") == 1
        assert done.stdout == f"{said}\n" if said else done.stdout.startswith("mirror.yaml: It is no YAML: ")

    @pytest.mark.parametrize("arguments", [("nowhere",), ("a", "b"), ("--help",)])
    def test_what_it_cannot_look_at_is_refused(self, arguments):
        done = check(*arguments)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1


class TestReadme:
    """An operator finds each parameter and output in one table."""

    def test_it_has_each_parameter_with_its_templates(self):
        rows = re.findall(r"^\| (`[^|]+`) \| (mirror|inline|both) \|", (OPENSTACK / "README.md").read_text(), re.M)
        told = {(name, where) for names, where in rows for name in re.findall(r"`(\w+)`", names)}
        mirror, inline = (set(template["parameters"]) for template in TEMPLATES.values())

        assert told == (
            {(name, "both") for name in mirror & inline}
            | {(name, "mirror") for name in mirror - inline}
            | {(name, "inline") for name in inline - mirror}
        )

    def test_it_has_each_output(self):
        text = (OPENSTACK / "README.md").read_text()

        assert all(f"`{name}`" in text for template in TEMPLATES.values() for name in template["outputs"])

    def test_the_two_templates_say_the_same_of_what_both_have(self):
        mirror, inline = (template["parameters"] for template in TEMPLATES.values())
        same = (mirror.keys() & inline.keys()) - {"n4_network", "n4_tapped"}

        assert len(same) > 10
        assert {name: mirror[name] for name in same} == {name: inline[name] for name in same}
