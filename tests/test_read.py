"""Nothing is written, counted or offered that nobody reads: neither a field of the kernel nor a function."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nf import abi
from tests.test_house import ROOT, TREE

PRODUCT = ("feed", "gtp", "history", "mgmt", "nf")
READERS = (*PRODUCT, "bench", "lab", "scripts")
# Fields that the kernel fills ahead of their reader; each is held to be right by a test that names it.
PLANNED = {
    "chunk": {
        "request_us",
        "first_us",
        "idle_us",
        "request_length",
    },  # estimates of a video: its chunks
    "detail": {"down_sizes", "up_sizes"},  # estimates of a video: what its packets are like
    "flow": {"handshake_us"},  # delay of the first answer; the QUIC reader needs it already
}
# Methods that a library calls by its name.
CALLED_BY = {
    "paramiko": {
        "get_allowed_auths",
        "check_auth_interactive",
        "check_auth_none",
        "check_auth_password",
        "check_auth_publickey",
        "check_channel_request",
        "check_channel_subsystem_request",
        "start_handshake",
    },
    "logging": {"emit"},
    "netconf": {"send_hello", "_reader_handle_message", "_reader_exits", "send_pdu", "receive_pdu"},
}


def text_of(folders: tuple[str, ...], suffixes: set[str]) -> Iterator[tuple[Path, str]]:
    for path in TREE:
        if path.relative_to(ROOT).parts[0] in folders and path.suffix in suffixes:
            yield path, path.read_text()


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def fields() -> Iterator[tuple[str, str]]:
    """Yield (struct, field) of the headers that both sides share."""
    for path in abi.headers():
        for struct, body in re.findall(r"^struct (\w+) \{(.*?)^\};", without_comments(path.read_text()), re.M | re.S):
            for declared in re.findall(r"(?:__[us]\d+|struct \w+)\s+([^;{]+);", body):
                for name in declared.split(","):
                    yield struct, re.sub(r"[\[:].*", "", name).strip()


class TestKernelState:
    """A field of the contract is read by a program, by user space, or by what is planned and named here."""

    def read_by_programs(self, field: str, text: str) -> bool:
        """Say whether a field stands anywhere but alone on the left of an assignment or before ++."""
        rest = re.sub(rf"^\s*[\w>.\[\]-]+(?:->|\.){field}(?:\[[^\]]*\])*(?: [+|&]?= |\+\+;)", "", text, flags=re.M)
        return re.search(rf"(?:->|\.){field}\b", rest) is not None

    def unread(self) -> dict[str, set[str]]:
        python = "\n".join(text for _, text in text_of(READERS, {".py"}))
        words = set(re.findall(r"\w+", python))
        programs = "\n".join(
            without_comments(text) for path, text in text_of(("bpf",), {".h", ".c"}) if path not in abi.headers()
        )
        found: dict[str, set[str]] = {}
        for struct, field in fields():
            if not field.startswith("pad") and field not in words and not self.read_by_programs(field, programs):
                found.setdefault(struct, set()).add(field)
        return found

    def test_each_field_has_a_reader_or_a_plan(self):
        assert {s: f - PLANNED.get(s, set()) for s, f in self.unread().items() if f - PLANNED.get(s, set())} == {}

    def test_what_is_planned_is_a_field_and_a_test_names_it(self):
        tests = "\n".join(text for path, text in text_of(("tests",), {".py"}) if path != Path(__file__))
        known = set(fields())

        for struct, names in PLANNED.items():
            assert {(struct, name) for name in names} <= known
            assert {name for name in names if f'"{name}"' not in tests} == set()

    def test_the_fields_are_seen(self):
        assert {("flow", "handshake_us"), ("delay_key", "teid"), ("tcp_rare", "spurious")} <= set(fields())

    def test_a_field_that_is_only_written_is_seen(self):
        text = "\tx->lost = 3;\n\tx->n[side]++;\n\tif (x->kept)\n\t\tx->kept = 0;\n"

        assert not self.read_by_programs("lost", text)
        assert not self.read_by_programs("n", text)
        assert self.read_by_programs("kept", text)


def names_used(tree: ast.AST) -> Iterator[str]:
    """Yield each name that a module reads, calls or hands over; imports and definitions are no use."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def offered(tree: ast.AST) -> Iterator[str]:
    """Yield the functions and classes of a module that nothing registers as it defines them."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            registered = any(isinstance(d, ast.Call) and isinstance(d.func, ast.Attribute) for d in node.decorator_list)
            if not registered and not node.name.startswith("__"):
                yield node.name


class TestFunctions:
    """A function of the product has a caller beside its test."""

    def test_each_is_used_by_the_product_its_lab_or_its_bench(self):
        used = Counter(name for _, text in text_of(READERS, {".py"}) for name in names_used(ast.parse(text)))
        # Messages of PFCP are written for the lab and for tests, as that module says.
        mine = ((p, t) for p, t in text_of(PRODUCT, {".py"}) if p != ROOT / "gtp" / "pfcp" / "build.py")
        unused = {(str(p.relative_to(ROOT)), name) for p, t in mine for name in offered(ast.parse(t)) if not used[name]}
        known = set().union(*CALLED_BY.values())

        assert {(path, name) for path, name in unused if name not in known} == set()
        assert {name for _, name in unused} >= known, "what is not there needs no exception"

    def test_one_without_a_caller_is_seen(self):
        tree = ast.parse("def used():\n    pass\n\ndef alone():\n    pass\n\n@cli.command()\ndef said():\n    used()\n")

        assert set(offered(tree)) - set(names_used(tree)) == {"alone"}
