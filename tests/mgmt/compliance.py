"""The compliance page: which clause is shown by which test, and with what result.

    python -m tests.mgmt.compliance     runs the marked tests and writes docs/compliance.md

A test or a class is marked with ``@pytest.mark.clause("R-11235", "RFC 6241, 8.4")``; the clauses are in `requirements`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.mgmt.requirements import NOT, ONAP, RFC

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "compliance.md"

_HEAD = """# Compliance

Made by `python -m tests.mgmt.compliance`, which runs the tests that are named here (in `tests/mgmt`); a test fails when
the page names others than are marked. A row without a test says why. The requirements of ONAP are those of VNFRQTS,
chapter 7, in our words. Some of them (`:url`, `:startup`, `:partial-lock`) this function leaves out on purpose.
"""


def marked() -> dict[str, list[str]]:
    """Return the tests that are marked, by clause: ``file::Class``, ``file::Class::test`` or ``file::test``."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.rglob("test_*.py")):
        file = str(path.relative_to(HERE))
        for name, clauses in _marks(ast.parse(path.read_text()).body, file):
            for clause in clauses:
                found.setdefault(clause, []).append(name)
    return found


def _marks(body: Iterable[ast.stmt], above: str) -> Iterator[tuple[str, list[str]]]:
    for node in body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        name = f"{above}::{node.name}"
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.clause":
                yield name, [ast.literal_eval(argument) for argument in mark.args]
        if isinstance(node, ast.ClassDef):
            yield from _marks(node.body, name)


class _Results:
    """A plugin of pytest that notes what failed."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid.partition("[")[0].removeprefix("tests/mgmt/"))


def page(tests: Mapping[str, Sequence[str]], failed: Iterable[str]) -> str:
    """Return the text of the page; *failed* are whole names of tests."""
    bad, parts = set(failed), [_HEAD]
    for title, clauses in (("ONAP VNFRQTS", ONAP), ("Standards", RFC)):
        rows = [_row(clause, what, tests.get(clause, ()), bad) for clause, what in clauses.items()]
        parts += [f"\n## {title}\n", "| clause | what | result | test |", "|---|---|---|---|", *rows]
    return "\n".join(parts) + "\n"


def _row(clause: str, what: str, tests: Sequence[str], failed: set[str]) -> str:
    if not tests:
        return f"| {clause} | {what} | {NOT.get(clause, 'not shown yet')} | |"
    wrong = any(f == name or f.startswith(f"{name}::") for name in tests for f in failed)
    shown = ", ".join(f"`{name.replace('::', '` ', 1).replace('::', ' ')}" for name in tests)
    return f"| {clause} | {what} | {'**failed**' if wrong else 'passed'} | {shown} |"


def main() -> int:
    """Run the marked tests and write the page; return 1 when one failed."""
    results = _Results()
    status = pytest.main(["-q", "-n0", "-m", "clause", str(HERE)], plugins=[results])
    PAGE.write_text(page(marked(), results.failed))
    return 0 if status == pytest.ExitCode.OK else 1


if __name__ == "__main__":
    sys.exit(main())
