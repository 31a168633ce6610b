"""The contract of the kernel programs and user space: every number stands once, in the headers of bpf/."""

from __future__ import annotations

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
    """They are what the C compiler makes of the headers."""

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
    """They are short, and hold nothing but declarations."""

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
