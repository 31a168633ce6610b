"""The measure of the house: how long a file and a function may be, and how many doors a room has."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.test_house import ROOT, TREE

FILE_LINES, FUNCTION_LINES, DOORS = 500, 70, 20  # CONTRIBUTING, "How code reads"
PYTHON = [p for p in TREE if p.suffix == ".py"]
C = [p for p in TREE if p.suffix in {".c", ".h"}]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def python_functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def c_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield functions as clang-format leaves them: head and braces of the body begin in the first column."""
    lines, begun, head = path.read_text().splitlines(), 0, ""
    for number, line in enumerate(lines, 1):
        if re.match(r"[A-Za-z].*\(", line) and not line.rstrip().endswith(";"):
            begun, head = number, line
        elif line == "}" and begun:
            found = re.search(r"(\w+)\(", head)
            yield (found[1] if found else head), number - begun + 1
            begun = 0


class TestLength:
    """A file or function that is longer than a reader can hold is two things."""

    def test_of_files(self):
        lengths = {name(p): len(p.read_text().splitlines()) for p in PYTHON + C}

        assert {p: n for p, n in lengths.items() if n > FILE_LINES} == {}

    def test_of_python_functions(self):
        lengths = {(name(p), f): n for p in PYTHON for f, n in python_functions(p)}

        assert {f: n for f, n in lengths.items() if n > FUNCTION_LINES} == {}

    def test_of_c_functions(self):
        lengths = {(name(p), f): n for p in C for f, n in c_functions(p)}

        assert {f: n for f, n in lengths.items() if n > FUNCTION_LINES} == {}

    def test_c_functions_are_seen(self, tmp_path):
        source = tmp_path / "x.h"
        source.write_text("static int one(void)\n{\n\treturn 1;\n}\n\nint two(int a,\n\tint b)\n{\n\treturn a;\n}\n")

        assert dict(c_functions(source)) == {"one": 4, "two": 5}
        assert dict(c_functions(ROOT / "bpf" / "flow.h")).keys() >= {"flow_begin", "flow_of"}


INVERTED = re.compile(r"(Let|What|Who|Whose|Whom|Which|How|Where|When|Whether|That) ")


def sentences(text: str, module: ast.Module | None = None) -> Iterator[str]:
    """Yield each docstring and each comment of a module, which may be parsed already."""
    for node in ast.walk(module or ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")


class TestSentences:
    """A docstring or a comment begins with its subject or its verb, not with a clause."""

    def test_none_begins_inverted(self):
        said = [(name(p), sentence) for p in PYTHON for sentence in sentences(p.read_text(), parsed(p))]

        assert [(p, sentence) for p, sentence in said if INVERTED.match(sentence)] == []

    def test_those_that_do_are_seen(self):
        text = 'def f():\n    """Let nobody have it."""\n    return 1  # Whose it is\n'

        assert [s for s in sentences(text) if INVERTED.match(s)] == ["Let nobody have it.", "Whose it is"]


class TestDoors:
    """A room has as many doors as a newcomer can try."""

    def test_of_the_function(self):
        inside = {p.relative_to(ROOT / "nf").parts[0] for p in PYTHON if p.is_relative_to(ROOT / "nf")}
        doors = inside - {"__init__.py"}

        assert {"kernel", "flows", "service.py"} <= doors
        assert len(doors) <= DOORS

    def test_a_type_checker_of_a_user_sees_the_types(self):
        for package in ("feed", "gtp", "history", "nf", "mgmt"):
            assert (ROOT / package / "py.typed").exists()
