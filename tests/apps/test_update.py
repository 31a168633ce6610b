"""Plain lists that are merged into signature files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nf.apps.entries import KNOWN, files
from nf.apps.signatures import Signatures
from nf.apps.update import main

VIDEO = """# Streaming on demand.

[Tube]
class = "video"
# the only one with a comment
domains = ["tube.example"] # its own
ports = ["udp/5000"]

[Flix]
class = "video"
prefixes = ["198.18.0.0/24"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    (made / "video.toml").write_text(VIDEO)
    return made


def merge(folder: Path, text: str, *options: str) -> int:
    path = folder.parent / "list.txt"
    path.write_text(text)
    return main([str(path), "--folder", str(folder), *options])


class TestMerge:
    """The entries of a list are in the files afterwards, and older entries stay."""

    def test_claims_of_each_kind_come_to_their_lists(self, folder: Path) -> None:
        assert merge(folder, "video Flix flix.example 198.18.1.0/24  udp/6000-6001 # more\n\n# nothing\n") == 0

        found = Signatures.load(path=folder)
        flix = found.number("Flix")
        assert found.match("www.flix.example") == found.match_address("198.18.1.9") == flix
        assert found.match_address("198.18.0.9") == found.match_port(17, 6001) == flix

    def test_comments_and_order_stay(self, folder: Path) -> None:
        merge(folder, "video Tube tube2.example\n")

        expected = VIDEO.replace('["tube.example"]', '["tube.example", "tube2.example"]')
        assert (folder / "video.toml").read_text() == expected

    def test_an_application_of_a_new_class_gets_a_file(self, folder: Path) -> None:
        merge(folder, "music Song song.example\n")

        assert (folder / "music.toml").read_text() == '[Song]\nclass = "music"\ndomains = ["song.example"]\n'

    def test_a_list_of_one_application(self, folder: Path) -> None:
        assert merge(folder, "198.18.9.0/24\nTUBE3.example.\n", "--class", "video", "--app", "Tube") == 0

        found = Signatures.load(path=folder)
        assert found.match("tube3.example") == found.match_address("198.18.9.1") == found.number("Tube")

    def test_what_is_there_already_changes_nothing(self, folder: Path) -> None:
        merge(folder, "video Tube tube.example udp/5000\nvideo Flix 198.18.0.0/24\n")

        assert (folder / "video.toml").read_text() == VIDEO

    def test_the_shipped_files_merged_with_themselves_stay_as_they_are(self, tmp_path: Path) -> None:
        before = {}
        for path in files():
            before[tmp_path / path.name] = path.read_text()
            (tmp_path / path.name).write_text(path.read_text())
        rows = [f"video YouTube {d}" for d in ("youtube.com", "ytimg.com")]

        assert tmp_path != KNOWN
        assert merge_into(tmp_path, rows) == 0
        assert {path: path.read_text() for path in before} == before


def merge_into(folder: Path, rows: list[str]) -> int:
    listed = folder.parent / "rows.txt"
    listed.write_text("\n".join(rows))
    return main([str(listed), "--folder", str(folder)])


class TestContradictions:
    """A list that contradicts is refused with both places, and nothing is written."""

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("video Flix a.example tube.example", "list.txt:1: tube.example belongs to Tube (video.toml:6) and Flix."),
            (
                "video A a.example\nvideo B b.example a.example",
                "list.txt:2: a.example belongs to A (list.txt:1) and B.",
            ),
            ("video A 198.18.0.0/24", "list.txt:1: 198.18.0.0/24 belongs to Flix (video.toml:11) and A."),
            ("video A udp/4990-5003", "list.txt:1: udp/5000 belongs to Tube (video.toml:"),
            ("\n\nmusic Tube t.example", "list.txt:3: Tube is of the class video in video.toml."),
            ("video A 198.18.5.1/24", "list.txt:1: A has a prefix that is none"),
            ("video A no_domain", "list.txt:1: A has the domain 'no_domain'"),
            ("video A akamaized.net", "list.txt:1: A has the domain akamaized.net, under which many"),
            ("video A udp/99999", "list.txt:1: A has the port"),
            ("film A a.example", "list.txt:1: 'film A a.example' names no application of a class"),
            ("video A", "list.txt:1: 'video A' names no application of a class"),
            ('video A" a.example', "names no application of a class"),
        ],
    )
    def test_it_says_where(self, folder: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
        assert merge(folder, text) == 1

        assert says in capsys.readouterr().err
        assert (folder / "video.toml").read_text() == VIDEO
        assert len(list(folder.iterdir())) == 1
