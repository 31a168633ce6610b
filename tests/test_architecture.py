"""docs/architecture.md leads a reader to the file in which something is decided, or would be added."""

from __future__ import annotations

import re

import pytest

from tests.test_house import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()

DECIDED = [  # question, file, what in it answers
    ("Which of two sources is believed about a session?", "nf/sessions/binding.py", "rank"),
    ("When does a flow ask for its session again?", "bpf/flow.h", "flow_rebind"),
    ("Which fragments and ports does a signalling socket get at all?", "nf/signalling/filter.py", "assembled"),
    ("When is a round trip of TCP taken?", "bpf/tcp.h", "tcp_probe"),
    ("Whose is a flow that began before signalling told of its session?", "nf/subscribers/who.py", "subjects"),
    ("What makes a commit undo its steps?", "nf/apply/transaction.py", "change"),
    ("Is it us, the radio or the application?", "nf/subscribers/suspect.py", "suspect"),
    ("Why is a host name not believed?", "nf/naming/doubts.py", "judge"),
    ("How are floats written into a message of the bus?", "feed/columns.py", "pack_columns"),
    ("Which flows on N6 are nobody's?", "nf/flows/outside.py", "owned"),
]
WOULD_BE = [  # question, file beside which or in which it would be
    ("A check of who may change which node (RFC 8341)", "mgmt/netconf/rpc.py", "Dispatcher"),
    ("An estimator for short videos", "nf/qoe/models.py", "MODELS"),
    ("A sink that writes records to a data base", "nf/pipeline/stages.py", "Sink"),
    ("An encapsulation of a cloud's mirror: Geneve", "bpf/outer.h", "through_header"),
    ("Another source of identities: Diameter Gx", "nf/signalling/trackers.py", "Signalling"),
    ("A column of the published record", "feed/records.py", "RECORD_COLUMNS"),
    ("A command of the command line", "mgmt/cli/main.py", "main"),
    ("A setting", "nf/settings.py", "Settings"),
    ("An application whose domains are known", "nf/apps/known", "domains"),
    ("A parser of another protocol that says a name", "nf/apps/parsers", "NeedMore"),
]


def shown(path: str) -> bool:
    """Say whether the page names the file: whole, or by its last part in the row of its room."""
    folder, _, last = path.rpartition("/")
    if path in PAGE:
        return True
    return any(f"`{folder}/" in line and last in line for line in PAGE.splitlines())


class TestTwentyQuestions:
    """Ten about what is there, ten about what is not: the page names the file, and the file has what it is for."""

    @pytest.mark.parametrize(("question", "path", "answer"), DECIDED + WOULD_BE, ids=lambda v: str(v)[:40])
    def test_the_page_leads_to_it(self, question, path, answer):
        place = ROOT / path
        texts = [place] if place.is_file() else [p for p in place.iterdir() if p.is_file()]

        assert shown(path)
        assert any(re.search(rf"\b{answer}\b", p.read_text()) for p in texts)


class TestPage:
    """Every file that the page names exists, and a walk is one that a reader can hold in mind."""

    def test_every_file_is_there(self):
        named = set(re.findall(r"`((?:bpf|gtp|feed|nf|mgmt|lab|bench)/[\w/]+\.(?:py|h|c))`", PAGE))

        assert len(named) > 40
        assert {path for path in named if not (ROOT / path).is_file()} == set()

    def test_every_station_has_what_it_names(self):
        stations = re.findall(r"\| `([\w/]+\.\w+)`, `([\w.]+)`", PAGE)
        for path, name in [s for s in stations if not s[1].endswith(".py")]:
            assert re.search(rf"\b{name.rpartition('.')[2]}\b", (ROOT / path).read_text()), (path, name)

    def test_a_walk_has_at_most_seven_stations(self):
        walks = [part for part in PAGE.split("\n## ") if part.startswith("Walk of")]

        assert len(walks) == 6
        for walk in walks:
            assert 4 <= len(re.findall(r"^\| \d \|", walk, re.MULTILINE)) <= 7

    def test_every_room_of_the_function_is_told(self):
        rooms = {p.name for p in (ROOT / "nf").iterdir() if (p / "__init__.py").is_file()}

        assert {room for room in rooms if f"`nf/{room}/`" not in PAGE} == set()
