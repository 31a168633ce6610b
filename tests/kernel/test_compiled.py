"""The file of compiled programs: its contents, and the cases in which it is not believed."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from nf.errors import Unsupported
from nf.kernel import compiled as module
from nf.kernel import objects, source
from nf.kernel.compiled import Compiled, compiled

_SMALL = """
struct pair { u8 octets[2]; union { u16 half; u8 bytes[2]; }; u32 word; };
BPF_TABLE("hash", u32, struct pair, pairs, 8);
BPF_PERCPU_ARRAY(totals, u64, 3);
int probe(struct xdp_md *ctx)
{
	u32 key = 0;
	struct pair *p = pairs.lookup(&key);

	return p ? XDP_DROP : XDP_PASS;
}
"""
FLAGS = ["-DANY=1"]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds a small program, compiled by bcc; from here on there is no bcc."""
    monkeypatch.setenv("SNF_CACHE", str(tmp_path))
    monkeypatch.setattr(source, "text", lambda: _SMALL)
    compiled(FLAGS)
    monkeypatch.setitem(sys.modules, "bcc", None)
    (file,) = tmp_path.iterdir()
    return file


class TestContent:
    """A build that was kept is the one that was compiled."""

    def test_maps_have_the_types_and_sizes_of_the_source(self, kept):
        pairs, totals = compiled(FLAGS).maps["pairs"], compiled(FLAGS).maps["totals"]

        # linux/bpf.h: BPF_MAP_TYPE_HASH is 1, BPF_MAP_TYPE_PERCPU_ARRAY 6
        assert (pairs.kind, pairs.entries, pairs.key) == (1, 8, np.dtype("u4"))
        assert (totals.kind, totals.entries, totals.value) == (6, 3, np.dtype("u8"))
        assert pairs.value.itemsize == 8
        assert pairs.value["octets"] == np.dtype(("u1", (2,)))
        assert pairs.value.fields is not None
        assert pairs.value.fields["word"][1] == 4

    def test_a_program_names_its_maps(self, kept):
        build = compiled(FLAGS)

        assert set(build.programs["probe"].maps.values()) == {"pairs"} == build.used
        (row,) = build.programs["probe"].maps
        assert build.programs["probe"].instructions["code"][row] == 0x18  # BPF_LD | BPF_IMM | BPF_DW

    def test_other_flags_or_sources_are_another_build(self, kept, monkeypatch):
        with pytest.raises(Unsupported, match="bcc is not installed"):
            compiled([*FLAGS, "-DMORE"])
        monkeypatch.setattr(source, "text", lambda: _SMALL + "\n")
        with pytest.raises(Unsupported, match="bcc is not installed"):
            compiled(FLAGS)

    def test_the_kernel_that_runs_is_no_part_of_it(self, kept, monkeypatch):
        monkeypatch.setattr(module.platform, "release", lambda: "6.1.0-1-cloud-amd64")
        assert isinstance(compiled(FLAGS), Compiled)

    def test_an_image_brings_its_own(self, kept, monkeypatch, tmp_path):
        monkeypatch.setenv("SNF_CACHE", str(tmp_path / "empty"))
        monkeypatch.setattr(module, "_SHIPPED", kept.parent)
        assert isinstance(compiled(FLAGS), Compiled)


class TestTrust:
    """A file that somebody else could have written, or that a disk has damaged, is not loaded into the kernel."""

    @pytest.mark.parametrize("at", [0, 70, -3])
    def test_a_damaged_file(self, kept, at):
        raw = bytearray(kept.read_bytes())
        raw[at] ^= 1
        kept.write_bytes(raw)
        with pytest.raises(Unsupported, match="bcc is not installed"):
            compiled(FLAGS)

    @pytest.mark.parametrize("length", [0, 10, 100])
    def test_a_cut_file(self, kept, length):
        kept.write_bytes(kept.read_bytes()[:length])
        with pytest.raises(Unsupported, match="bcc is not installed"):
            compiled(FLAGS)

    @pytest.mark.parametrize("mode", [0o666, 0o664])
    def test_a_file_that_others_can_write(self, kept, mode):
        kept.chmod(mode)
        with pytest.raises(Unsupported, match="bcc is not installed"):
            compiled(FLAGS)

    def test_a_folder_that_takes_no_file_costs_the_next_start_only(self, tmp_path, monkeypatch, caplog):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SNF_CACHE", str(tmp_path / "file" / "below"))
        monkeypatch.setattr(source, "text", lambda: _SMALL)

        assert "probe" in compiled(FLAGS).programs
        assert "cannot be kept" in caplog.text

    def test_a_disk_without_room_is_left_as_it_was(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setenv("SNF_CACHE", str(tmp_path))
        monkeypatch.setattr(source, "text", lambda: _SMALL)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            assert "probe" in compiled(FLAGS).programs
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

        assert "cannot be kept" in caplog.text
        assert list(tmp_path.iterdir()) == []

    def test_old_builds_leave(self, kept, monkeypatch):
        monkeypatch.undo()
        monkeypatch.setenv("SNF_CACHE", str(kept.parent))
        monkeypatch.setattr(source, "text", lambda: _SMALL)
        for number in range(40):
            (kept.parent / f"{number}.snf").write_text("")
        compiled([*FLAGS, "-DMORE"])

        assert len(list(kept.parent.iterdir())) < 20


class TestRefusal:
    """The kernel's reason is told, not its trace."""

    def test_a_program_that_reads_beyond_the_packet(self):
        code = np.zeros(4, objects.INSTRUCTION)
        code["code"] = 0x61, 0x71, 0xB7, 0x95  # r2 = ctx->data; r0 = *(u8 *)r2; r0 = 0; exit
        code["registers"] = 0x12, 0x20, 0, 0
        with pytest.raises(objects.Refused, match="R2 offset is outside of the packet"):
            objects.load_program("beyond", code)

    def test_the_reason_stands_behind_a_long_trace(self):
        # A loop of 100,000 rounds, whose trace alone is some megabytes, and then a register that nobody wrote.
        code = np.zeros(6, objects.INSTRUCTION)
        code["code"] = 0xB7, 0x07, 0xA5, 0xBF, 0xB7, 0x95  # r1 = 0; r1 += 1; if r1 < n goto -2; r0 = r5; r0 = 0; exit
        code["registers"] = 0x01, 0x01, 0x01, 0x50, 0, 0
        code["offset"][2] = -2
        code["immediate"][1], code["immediate"][2] = 1, 100_000
        with pytest.raises(objects.Refused, match="R5 !read_ok"):
            objects.load_program("long", code)

    def test_what_the_verifier_processed_is_told(self):
        code = np.zeros(2, objects.INSTRUCTION)
        code["code"] = 0xB7, 0x95
        assert objects.verified("two", code).instructions == 2
