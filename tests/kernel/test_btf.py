"""Offsets of members by BTF; the bytes are built as Documentation/bpf/btf.rst says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from nf.errors import Unsupported
from nf.kernel import btf

STRUCT, UNION = 4, 5  # BTF_KIND_*
BITFIELDS = 1 << 31  # kind_flag: the upper eight bits of a member's offset are the width of a bit field
NAMES = b"\0pair\0first\0second\0other\0"


def name(word: str) -> int:
    return NAMES.index(b"\0" + word.encode() + b"\0") + 1


def kind(of: str, what: int, *members: tuple[str, int], flag: int = 0) -> bytes:
    """Return a type section's entry: a struct or union with members at offsets in bits."""
    head = struct.pack("=III", name(of), flag | what << 24 | len(members), 16)
    return head + b"".join(struct.pack("=III", name(member), 1, at) for member, at in members)


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """Return a function that gives a kernel these types."""

    def have(*types: bytes) -> None:
        body = b"".join(types)
        header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(NAMES))
        (tmp_path / "vmlinux").write_bytes(header + body + NAMES)

    monkeypatch.setattr(btf, "VMLINUX", tmp_path / "vmlinux")
    return have


class TestOffsets:
    """A member is found in the struct that is asked for, in bytes."""

    def test_each_member_has_its_own(self, kernel):
        kernel(kind("other", STRUCT, ("second", 0)), kind("pair", STRUCT, ("first", 32), ("second", 64)))
        assert btf.offsets(("pair", "first"), ("pair", "second"), ("other", "second")) == (4, 8, 0)

    def test_a_union_of_that_name_is_another_type(self, kernel):
        kernel(kind("pair", UNION, ("second", 0)), kind("pair", STRUCT, ("first", 0), ("second", 96)))
        assert btf.offsets(("pair", "second")) == (12,)

    def test_the_width_of_bit_fields_is_no_part_of_an_offset(self, kernel):
        kernel(kind("pair", STRUCT, ("first", 3 << 24 | 0), ("second", 192), flag=BITFIELDS))
        assert btf.offsets(("pair", "second")) == (24,)

    def test_a_kernel_without_the_member_is_not_supported(self, kernel):
        kernel(kind("pair", STRUCT, ("first", 0)))
        with pytest.raises(Unsupported, match="struct pair has no member second"):
            btf.offsets(("pair", "second"))

    def test_a_kernel_without_btf_is_not_supported(self, monkeypatch):
        monkeypatch.setattr(btf, "VMLINUX", Path("/nonexistent"))
        with pytest.raises(Unsupported, match=r"CONFIG_DEBUG_INFO_BTF"):
            btf.offsets(("pair", "first"))
