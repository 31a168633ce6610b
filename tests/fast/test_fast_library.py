"""The build of this text runs, else the references, and somebody says so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nf import doctor
from nf.fast import build, library
from tests.test_house import ROOT

ASK = (
    "import logging; logging.basicConfig()\n"
    "from nf.fast.library import loaded, status\n"
    "print(loaded() is not None, status()[1], sep='\\n')"
)


def ask(**environment: str) -> tuple[list[str], str]:
    """Return what a process says that has this in its environment: whether they run, which, and its log."""
    done = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, env=os.environ | environment, capture_output=True,
                          text=True, check=True)  # fmt: skip
    return done.stdout.splitlines(), done.stderr


class TestBuild:
    """A build is of one text, which it knows."""

    def test_that_of_the_set_up_is_used(self):
        (runs, which), said = ask()

        assert runs == "True"
        assert which.startswith(f"columns.so {build.digest()[:12]}, by compiler ")
        assert said == ""

    def test_another_place_is_used_when_it_is_asked_for(self, tmp_path):
        build.build(tmp_path / "other.so")

        (runs, which), _ = ask(SNF_FAST=str(tmp_path / "other.so"))

        assert runs == "True"
        assert which.startswith("other.so ")

    def test_of_another_header_it_is_refused(self, tmp_path, monkeypatch):
        changed = [tmp_path / path.name for path in build.sources()]
        for path, copy in zip(build.sources(), changed, strict=True):
            copy.write_bytes(path.read_bytes())
        header = next(path for path in changed if path.name == "abi_flows.h")
        header.write_text(header.read_text().replace("__u16 frags;", "__u16 fragments;"))
        monkeypatch.setattr(build, "sources", lambda: changed)
        build.build(tmp_path / "other.so")
        monkeypatch.undo()

        (runs, why), said = ask(SNF_FAST=str(tmp_path / "other.so"))

        assert runs == "False"
        assert why.endswith(
            "is a build of another text of nf/fast/columns.c or bpf/abi.h; run: python3 -m nf.fast.build"
        )
        assert why in said

    @pytest.mark.parametrize("text", [b"", b"\x7fELF no more"])
    def test_what_is_no_build_is_refused(self, tmp_path, text):
        (tmp_path / "broken.so").write_bytes(text)

        (runs, why), said = ask(SNF_FAST=str(tmp_path / "broken.so"))

        assert runs == "False"
        assert "cannot be loaded" in why
        assert "Traceback" not in said

    def test_one_that_does_not_compile_names_the_complaint(self, tmp_path, monkeypatch):
        (tmp_path / "columns.c").write_text("int f(void)\n{\n\treturn x;\n}\n")
        monkeypatch.setattr(build, "SOURCE", tmp_path / "columns.c")

        with pytest.raises(build.SnfError, match=r"cannot compile .*columns\.c: .*error: .*x.* undeclared"):
            build.build(tmp_path / "columns.so")
        assert list(tmp_path.glob("*.so")) == list(tmp_path.glob("*.new")) == []


class TestReference:
    """The references run where there is no build."""

    def test_where_it_was_not_built(self, tmp_path):
        (runs, why), said = ask(SNF_FAST=str(tmp_path / "nothing.so"))

        assert runs == "False"
        assert why == f"{tmp_path}/nothing.so was not built; run: python3 -m nf.fast.build"
        assert said.count("\n") == 1

    def test_where_it_is_asked_for(self):
        (runs, why), said = ask(SNF_FAST="numpy")

        assert (runs, why, said) == ("False", "SNF_FAST=numpy asks for the references in numpy", "")

    def test_without_a_compiler_the_build_says_so_and_is_no_error(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("PATH", str(tmp_path))

        assert build.main(["--output", str(tmp_path / "columns.so")]) == 0
        assert capsys.readouterr().err == "There is no C compiler: the passes run in numpy, several times slower.\n"
        assert list(tmp_path.iterdir()) == []


class TestDoctor:
    """One line tells which of the two runs."""

    def test_the_build(self, monkeypatch):
        monkeypatch.delenv(library.ENVIRONMENT, raising=False)

        check = next(c for c in doctor.checks() if c.name == "compiled passes")

        assert (check.ok, check.required) == (True, False)
        assert check.detail.startswith("columns.so ")

    def test_none(self, monkeypatch, tmp_path):
        monkeypatch.setenv(library.ENVIRONMENT, str(tmp_path / "nothing.so"))

        check = next(c for c in doctor.checks() if c.name == "compiled passes")

        assert (check.ok, check.required) == (False, False)
        assert check.detail.startswith("numpy runs instead, several times slower: ")
        assert check.remedy == "Run: python3 -m nf.fast.build"
