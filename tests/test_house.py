"""The house itself: the contents that a fresh clone must hold, whatever the code does."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
TREE = [
    ROOT / name
    for name in subprocess.run(
        ["git", "-C", ROOT, "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
TEXTS = [p for p in TREE if p.suffix not in {".png", ".pcap", ".gz"}]

# Candidates of apt-cache policy in bookworm, without the distribution's suffixes.
DEBIAN_12 = {
    "aiortc": "1.4.0",
    "click": "8.1.3",
    "cryptography": "38.0.4",
    "dnspython": "2.3.0",
    "hatchling": "1.12.2",
    "hypothesis": "6.67.1",
    "lxml": "4.9.2",
    "msgpack": "1.0.3",
    "mypy": "1.0.1",
    "ncclient": "0.6.13",
    "numpy": "1.24.2",
    "paramiko": "2.12.0",
    "pytest": "7.2.1",
    "pytest-timeout": "2.1.0",
    "pyzmq": "24.0.1",
    "rich": "13.3.1",
    "scapy": "2.5.0",
    "zstandard": "0.20.0",
}

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(r) for r in sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])]


def pinned(*names):
    text = "".join((ROOT / "constraints" / name).read_text() for name in names)
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))


PINNED = pinned("build.txt", "all.txt")


class TestReadme:
    """A reader first sees the commands to type."""

    def test_it_begins_with_the_two_commands(self):
        lines = (ROOT / "README.md").read_text().splitlines()
        fence = next(i for i, line in enumerate(lines) if line.startswith("```"))
        assert fence <= 3
        assert lines[fence + 1].startswith("make demo")
        assert lines[fence + 2].startswith("make test")

    def test_every_file_that_it_points_to_is_there(self):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
            assert (ROOT / target).exists(), target

    def test_every_make_target_in_the_documents_exists(self):
        makefile = (ROOT / "Makefile").read_text()
        targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
        for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
            used = set(re.findall(r"(?:sudo |`|^)make ([a-z-]+)", document.read_text(), re.MULTILINE))
            assert used <= targets, document


class TestMakefile:
    """Each target that ``make`` lists exists and does something."""

    def test_each_target_that_it_lists_exists_and_does_something(self):
        makefile = (ROOT / "Makefile").read_text()
        listed = re.findall(r"^# make ([a-z-]+) ", makefile, re.MULTILINE)
        assert listed[:3] == ["demo", "test", "check"]
        for target in listed:
            assert re.search(rf"^{target}:.*\n\t", makefile, re.MULTILINE), target

    def test_continuous_integration_calls_check_and_test(self):
        script = ROOT / ".ci" / "run"
        assert os.access(script, os.X_OK)
        assert {"make check", "make test"} <= set(script.read_text().splitlines())

    def test_the_interpreter_is_the_distribution_s(self):
        assert "python=/usr/bin/python3" in (ROOT / "scripts" / "setup").read_text()
        assert Path(sys.base_prefix) == Path("/usr")


class TestChangelog:
    """Its form is that of Keep a Changelog 1.1.0."""

    def test_it_has_what_is_not_released_yet_and_only_known_kinds_of_change(self):
        lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
        assert lines[0] == "# Changelog"
        assert next(line for line in lines if line.startswith("## ")) == "## [Unreleased]"
        kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        assert {line[4:] for line in lines if line.startswith("### ")} <= kinds


class TestPins:
    """Every machine gets the same versions, whatever its distribution has."""

    def test_each_requirement_is_pinned_to_a_version_that_it_allows(self):
        for want in WANTED:
            assert want.specifier.contains(PINNED[want.name.lower()]), want

    def test_the_two_files_agree(self):
        assert pinned("all.txt", "build.txt") == PINNED

    def test_no_requirement_is_met_by_the_distribution_s_old_copy(self):
        assert {want.name for want in WANTED} & DEBIAN_12.keys() == DEBIAN_12.keys()
        for want in WANTED:
            assert not want.specifier.contains(Version(DEBIAN_12.get(want.name, "0"))), want

    def test_what_is_installed_here_is_what_is_pinned(self):
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
        )
        installed = {
            re.sub(r"[._-]+", "-", name.lower()): version
            for name, _, version in (line.partition("==") for line in listed.stdout.splitlines())
        }
        assert {name: installed.get(re.sub(r"[._-]+", "-", name)) for name in PINNED} == PINNED

    def test_bcc_is_not_asked_of_the_index(self):
        assert not {"bcc", "python-bpfcc", "python3-bpfcc"} & ({w.name for w in WANTED} | PINNED.keys())


class TestTree:
    """Nothing of a machine, a registry or a download gets in."""

    def test_no_file_has_a_path_of_this_machine(self):
        places = ["/" + r"(?:home|root)/\w+", *([re.escape(str(ROOT))] if len(ROOT.parts) > 2 else [])]
        place = re.compile(r"(?<![\w.$}\"/~-])(?:" + "|".join(places) + ")")
        # The system inside `make fresh` has folders of its own; a bug's path there is found by it.
        texts = [p for p in TEXTS if p != ROOT / "scripts" / "fresh"]
        assert {str(p): m[0] for p in texts if (m := place.search(p.read_text(errors="replace")))} == {}

    def test_no_file_names_a_package_registry(self):
        hosts = re.compile("|".join(("pypi" + r"\.org/simple", "files" + r"\.pythonhosted", "registry" + r"\.npmjs")))
        assert [p for p in TEXTS if hosts.search(p.read_text(errors="replace"))] == []

    def test_pins_have_hashes_and_no_addresses(self):
        for path in (ROOT / "constraints").glob("*.txt"):
            text = path.read_text()
            pins = re.findall(r"^[a-z0-9][^\s=]*==", text, re.MULTILINE)
            assert pins
            assert text.count("--hash=sha256:") >= len(pins)
            assert "://" not in text

    def test_every_module_says_what_it_is(self):
        for path in TREE:
            if path.suffix == ".py" and path.parent != ROOT:
                assert ast.get_docstring(ast.parse(path.read_text())), path

    def test_every_kernel_source_says_its_licence(self):
        sources = [p for p in TREE if p.suffix in {".c", ".h"}]
        assert len(sources) > 10
        for path in sources:
            assert "SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)" in path.read_text().splitlines()[0], path

    def test_no_test_is_skipped_or_expected_to_fail(self):
        marks = re.compile(r"pytest\." + r"(skip|xfail|importorskip)|mark\." + r"(skip|xfail)")
        assert [p for p in TREE if p.match("tests/**/*.py") and marks.search(p.read_text())] == []


class TestWheel:
    """The installed package is the cloned one: programs and modules travel with the code."""

    def test_it_holds_the_kernel_sources_and_the_yang_modules(self, tmp_path):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = tmp_path.glob("*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        for folder, suffix in (
            ("bpf", ".h"),
            ("bpf", ".c"),
            ("yang", ".yang"),
            ("nf/apps", ".toml"),
            ("nf/apps", ".txt"),
        ):
            want = {
                str(p.relative_to(ROOT))
                for p in TREE
                if p.suffix == suffix and str(p.relative_to(ROOT)).startswith(folder)
            }
            assert want
            assert want <= names
        assert not [n for n in names if n.split("/")[0] in {"tests", "lab", "bench"}]

    def test_what_is_installed_from_it_finds_its_programs_modules_and_signatures(self, tmp_path):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = tmp_path.glob("*.whl")
        place = tmp_path / "site"
        zipfile.ZipFile(wheel).extractall(place)
        program = (
            "import nf.doctor; from nf.kernel import probe, source; "
            "from mgmt.netconf.model.yang_model import default_model, yang_dir\n"
            "from nf.apps.signatures import Signatures; default_model(); Signatures.load(); source.text()\n"
            "assert probe.programs() == '', probe.programs()\n"
            "print(nf.doctor.__file__, source.BPF_DIR, yang_dir(), sep='\\n')"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(place)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [str(place / p) for p in ("nf/doctor.py", "bpf", "yang")]


@pytest.mark.parametrize("name", ["LICENSE", "LICENSES/Apache-2.0.txt", "LICENSES/GPL-2.0-only.txt", "CHANGELOG.md"])
def test_it_is_there(name):
    assert (ROOT / name).stat().st_size > 500
