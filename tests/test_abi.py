"""The contract of the kernel programs and user space: every number stands once, in the headers of bpf/."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nf import abi
from nf.apps.basis import Basis
from nf.kernel import source
from nf.kernel.compiled import MapDefinition, compile_programs, compiled

ROOT = Path(__file__).resolve().parents[1]
TREES = ("bench", "feed", "gtp", "history", "lab", "mgmt", "nf")
HELPERS = [p for p in (ROOT / "tests").rglob("*.py") if p != Path(__file__)]
FILES = sorted(p for p in [*(p for tree in TREES for p in (ROOT / tree).rglob("*.py")), *HELPERS])
# Names and values that equal those of a header by chance, or by a standard that both follow.
OTHERS = {"gtp/table.py": {"GOLDEN"}}  # of 64 bits; gtp knows nobody


def by_the_compiler() -> dict[str, MapDefinition]:
    """Return maps of the contract by clang: of each number the four bytes as lengths, and a field for each counter."""
    lengths = "".join(
        f"u8 {name}_{byte}[({name} >> {8 * byte} & 0xff) + 1];\n" for name in abi.NUMBERS for byte in range(4)
    )
    text = "".join(path.read_text() for path in abi.headers())
    text = re.sub(r'#include "abi_\w+\.h"\n', "", text)  # bcc sees one file
    fields = "#define FIELD(name, text) u8 name;\nstruct fields { SNF_COUNTERS(FIELD) };\n"
    text += f"struct lengths {{\n{lengths}}};\n{fields}struct count {{ u8 all[SNF_C_MAX]; }};\n"
    text += "".join(f"BPF_ARRAY({name}, struct {name}, 1);\n" for name in ("lengths", "fields", "count"))
    return dict(compile_programs(text, []).maps)


@pytest.fixture(scope="module")
def said() -> dict[str, MapDefinition]:
    return by_the_compiler()


class TestNumbers:
    """Numbers read from the headers are those that the C compiler makes of them."""

    def test_each_number_has_the_value_that_the_compiler_gives_it(self, said):
        lengths = said["lengths"].value.fields

        def value(name: str) -> int:
            return sum((lengths[f"{name}_{byte}"][0].shape[0] - 1) << 8 * byte for byte in range(4))

        assert {name: value(name) for name in abi.NUMBERS} == abi.NUMBERS

    def test_the_counters_are_those_of_the_compiler_in_its_order(self, said):
        names = [counter.name for counter in abi.COUNTERS]

        assert names == list(said["fields"].value.names)
        assert len(names) == said["count"].value["all"].shape[0]

    def test_each_define_and_each_member_of_an_enum_is_there(self):
        text = "".join(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) for path in abi.headers())
        defined = set(re.findall(r"^#define ([A-Z]\w+)[ \t]+\S", text, re.MULTILINE))
        members = set(re.findall(r"\b([A-Z][A-Z0-9_]+) = ", text))

        assert defined | members == abi.NUMBERS.keys()

    def test_a_member_without_a_value_is_one_more_than_that_before_it(self):
        assert abi.numbers("enum e { A, B, C = 7, D };") == {"A": 0, "B": 1, "C": 7, "D": 8}

    @pytest.mark.parametrize("text", ["#define A (1 + 2)", "enum e { A = 1 << 2 };", "#define A B"])
    def test_what_it_cannot_read_is_an_error_and_no_number(self, text):
        with pytest.raises(ValueError, match="invalid literal"):
            abi.numbers(text)

    def test_a_name_that_the_headers_do_not_have_is_none(self):
        with pytest.raises(AttributeError, match="define no number FLOW_FRIST_B"):
            _ = abi.FLOW_FRIST_B

    def test_the_grounds_that_the_programs_write_are_grounds_of_user_space(self):
        assert [Basis(abi.SNF_BY_SNI).text, Basis(abi.SNF_BY_DNS).text] == ["sni", "dns_answer"]

    def test_it_is_read_without_the_kernel_side(self):
        program = "import sys, nf.abi; print(*({'bcc', 'ctypes', 'numpy', 'nf.kernel'} & sys.modules.keys()))"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

        assert done.stdout.split() == []


class TestHeaders:
    """Headers are short, and hold nothing but declarations."""

    def test_no_part_is_longer_than_three_hundred_lines(self):
        assert {p.name for p in abi.headers() if len(p.read_text().splitlines()) >= 300} == set()

    def test_each_part_is_included_by_the_whole(self):
        assert set(abi.headers()) == set(abi.BPF_DIR.glob("abi*.h"))

    def test_there_is_no_code_in_them(self):
        for path in abi.headers():
            text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            assert not re.search(r"\b(static|return|inline|if \(|for \(|while \()", text), path

    def test_every_struct_that_goes_to_user_space_says_its_size(self):
        for path in abi.headers():
            text = path.read_text()
            structs = set(re.findall(r"^struct (\w+) \{", text, re.MULTILINE))
            # Inside another struct, or as long as there are counters.
            assert structs - set(re.findall(r"_Static_assert\(sizeof\(struct (\w+)\)", text)) <= {"port_stats"}, path

    def test_no_field_of_a_compiled_type_is_without_a_name(self):
        def names(dtype: np.dtype[Any]) -> Iterator[str]:
            for name, field in (dtype.base.fields or {}).items():
                yield name
                yield from names(field[0])

        types = [t for m in compiled(source.flags(replay=True)).maps.values() for t in (m.key, m.value)]

        assert "transport" in {name for t in types for name in names(t)}
        assert {name for t in types for name in names(t) if name.startswith("__anon")} == set()


def shortened(name: str) -> set[str]:
    """Return a name in C as somebody may write it in Python: without the words that it begins with."""
    words = name.upper().strip("_").split("_")
    return {"_".join(words[first:]) for first in range(len(words)) if len("_".join(words[first:])) > 1}


BY_NAME: dict[str, set[int]] = {}
for _name, _value in abi.NUMBERS.items():
    for _short in shortened(_name):
        BY_NAME.setdefault(_short, set()).add(_value)


def literal(node: ast.expr) -> int | None:
    """Return the number that an expression of literals is, also in a call of one argument such as np.uint32(1)."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        return literal(node.args[0])
    if any(isinstance(part, (ast.Name, ast.Attribute, ast.Call)) for part in ast.walk(node)):
        return None
    try:
        value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}})
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return value if type(value) is int else None


def bindings(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield what is bound to a name outside of functions, in an enum or a table by its key."""
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.ClassDef):
            yield from ((name, value) for name, value in bindings(node) if name.isupper())  # the others are attributes
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from _bound(target, node.value)
            for table in (n for n in ast.walk(node.value) if isinstance(n, ast.Dict)):
                for key, value in zip(table.keys, table.values, strict=True):
                    if isinstance(key, (ast.Attribute, ast.Name)):
                        yield key.attr if isinstance(key, ast.Attribute) else key.id, value


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, its in zip(target.elts, value.elts, strict=True):
            yield from _bound(one, its)


def copies(text: str) -> list[str]:
    """Return the names in a Python text that are bound to a number which the headers give to such a name."""
    found = []
    for name, node in bindings(ast.parse(text)):
        value = literal(node)
        plain = name.upper().strip("_")
        if value is not None and (plain in abi.NUMBERS or value in BY_NAME.get(plain, ())):
            found.append(name)
    return found


class TestCopies:
    """No number of the headers stands again in Python."""

    @pytest.mark.parametrize(
        "text",
        [
            "FLOW_FIRST_B = 8",
            "_FIRST_B = 8  # of abi.h",
            "_first_b: int = 1 << 3",
            "_A, _UE_UNKNOWN = 7, 2",
            "_GOLDEN = np.uint32(0x9E3779B1)",
            "_MODES = {Mode.MIRROR: 0}",
            "class Mode(enum.IntEnum):\n    INLINE = 2",
            "SNF_STATS = 17",  # a copy that is wrong by now
        ],
    )
    def test_a_copy_is_found(self, text):
        assert copies(text)

    @pytest.mark.parametrize(
        "text", ["_FIRST_B = FLOW_FIRST_B", 'class Mode(enum.Enum):\n    MIRROR = "mirror"', "GROUPS = 3"]
    )
    def test_what_is_no_copy_is_not(self, text):
        assert not copies(text)

    def test_there_is_none(self):
        found = {str(p.relative_to(ROOT)): set(copies(p.read_text())) for p in FILES}
        found = {path: names - OTHERS.get(path, set()) for path, names in found.items()}

        assert {path: names for path, names in found.items() if names} == {}

    def test_what_is_excused_is_there(self):
        for path, names in OTHERS.items():
            assert names <= set(copies((ROOT / path).read_text())), path
