"""The house itself: what a fresh clone must hold, whatever the code does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


class TestReadme:
    """The first thing a reader sees is what to type."""

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
        targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
        for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
            used = set(re.findall(r"(?:sudo |`|^)make ([a-z]+)", document.read_text(), re.MULTILINE))
            assert used <= targets, document


class TestTree:
    """Nothing of a machine, a registry or a download gets in."""

    def test_no_file_names_a_package_registry(self):
        hosts = re.compile("|".join(("pypi" + r"\.org/simple", "files" + r"\.pythonhosted", "registry" + r"\.npmjs")))
        assert [p for p in TEXTS if hosts.search(p.read_text(errors="replace"))] == []

    def test_pins_have_hashes_and_no_addresses(self):
        for name in ("all.txt", "build.txt"):
            text = (ROOT / "constraints" / name).read_text()
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
    """What is installed is what was cloned: programs and modules travel with the code."""

    def test_it_holds_the_kernel_sources_and_the_yang_modules(self, tmp_path):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = tmp_path.glob("*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        for folder, suffix in (("bpf", ".h"), ("bpf", ".c"), ("yang", ".yang"), ("nf/apps", ".toml")):
            want = {
                str(p.relative_to(ROOT))
                for p in TREE
                if p.suffix == suffix and str(p.relative_to(ROOT)).startswith(folder)
            }
            assert want
            assert want <= names


@pytest.mark.parametrize("name", ["LICENSE", "LICENSES/Apache-2.0.txt", "LICENSES/GPL-2.0-only.txt", "CHANGELOG.md"])
def test_it_is_there(name):
    assert (ROOT / name).stat().st_size > 500
