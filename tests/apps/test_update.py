"""Signatures from plain lists: they join what is there, and nothing is written that contradicts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nf.apps.signatures import KNOWN, TCP, Signatures
from nf.apps.update import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the signatures."""
    made = tmp_path / "known"
    shutil.copytree(KNOWN, made)
    return made


def plain(folder: Path, *lines: str) -> str:
    path = folder.parent / "list.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


class TestUpdate:
    """What a list says is known afterwards, with all that was known before."""

    def test_a_new_application(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        domains = plain(folder, "# of the operator", "Portal.example.org", "", "cdn.example.org  # pictures")
        assert main(["web", "My Portal", "--domains", domains, "--into", str(folder)]) == 0
        known = Signatures.load((), folder)

        assert capsys.readouterr().out == "My Portal: 2 added\n"
        assert known.name(known.match("www.portal.example.org")) == "My Portal"
        assert known.app_class(known.number("My Portal")) == "web"

    def test_more_of_one_that_is_there(self, folder: Path) -> None:
        before = Signatures.load((), folder)
        assert main(["video", "Netflix", "--prefixes", plain(folder, "203.0.113.0/24"), "--into", str(folder)]) == 0
        assert main(["video", "Netflix", "--ports", plain(folder, "tcp/4999"), "--into", str(folder)]) == 0
        after = Signatures.load((), folder)

        assert after.name(after.match_address("203.0.113.9")) == after.name(after.match_port(TCP, 4999)) == "Netflix"
        assert after.name(after.match_address("45.57.1.2")) == after.name(after.match("netflix.com")) == "Netflix"
        assert dict(after.suffixes) == dict(before.suffixes)

    def test_twice_is_once(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        domains = plain(folder, "portal.example.org")
        for _ in range(2):
            main(["web", "Portal", "--domains", domains, "--into", str(folder)])

        assert capsys.readouterr().out == "Portal: 1 added\nPortal: 0 added\n"


class TestRefusal:
    """A list that makes no sense is refused with its line, and changes nothing."""

    @pytest.mark.parametrize(
        ("option", "lines", "says"),
        [
            ("--domains", ("good.example.org", "*.example.org"), "list.txt:2: It has the domain '*.example.org'"),
            ("--prefixes", ("# remark", "", "192.0.2.1/24"), "list.txt:3: It has a prefix that is none"),
            ("--ports", ("udp/70000",), "list.txt:1: It has the port 'udp/70000'"),
            ("--domains", ("netflix.com",), "netflix.com belongs to Netflix and Portal"),
        ],
    )
    def test_it_says_where(
        self, folder: Path, capsys: pytest.CaptureFixture[str], option: str, lines: tuple[str, ...], says: str
    ) -> None:
        before = texts(folder)

        assert main(["web", "Portal", option, plain(folder, *lines), "--into", str(folder)]) == 1
        assert says in capsys.readouterr().err
        assert texts(folder) == before

    def test_a_list_that_is_not_there(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["web", "Portal", "--domains", str(folder / "none.txt"), "--into", str(folder)]) == 1
        assert "none.txt cannot be read" in capsys.readouterr().err
