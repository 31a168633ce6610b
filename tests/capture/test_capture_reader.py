"""Capture files give the packets, times and lengths that wireshark reads in them."""

from __future__ import annotations

import gzip
import os
import random
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from nf.capture import open_capture
from nf.errors import BadCapture
from tests.capture.files import (
    BIG,
    FRAME,
    LITTLE,
    PCAPS,
    block,
    captures,
    enhanced,
    interface,
    nanoseconds,
    pcap,
    section,
    tshark,
)

Write = Callable[[bytes], Path]
Pack = Callable[[bytes], bytes]
SECOND = 1_000_000_000
ONE = pcap([(1, 0, FRAME)])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that makes a file of bytes."""

    def make(data: bytes) -> Path:
        path = tmp_path / "some.capture"
        path.write_bytes(data)
        return path

    return make


def read(path: Path) -> list[tuple[int, int, int]]:
    """Return (t_ns, captured length, wire length) of each packet."""
    with open_capture(path) as capture:
        return [(t_ns, len(frame), wire) for t_ns, frame, wire, _ in capture]


class TestRealCaptures:
    """The shared captures are read as wireshark reads them."""

    # Its one packet has 2,147 seconds in the fraction of a second; capinfos and tshark differ on it.
    FUZZED = "ndpi__fuzz-2021-06-07-c6c72a0a56.pcap"

    def test_count_bytes_first_and_last_of_all(self) -> None:
        files = [path for path in captures() if path.name != self.FUZZED]
        command = ["capinfos", "-TrMcdaeS", *map(str, files)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout

        for path, line in zip(files, output.splitlines(), strict=True):
            _, packets, octets, first, last = line.split("\t")
            found = read(path)
            assert len(found) == int(packets), path.name
            assert sum(wire for _, _, wire in found) == int(octets), path.name
            assert abs(min(t for t, _, _ in found) - nanoseconds(first)) < 1000, path.name
            assert abs(max(t for t, _, _ in found) - nanoseconds(last)) < 1000, path.name

    @pytest.mark.parametrize(
        "name",
        [
            "open5gs__testregistration.pcapng",  # Linux cooked
            "magma__inbound_roaming_01_210505_130828-1.pcapng",
            "wireshark__tls12-dsb.pcapng",  # raw IP, decryption secrets between
            "zeek__vlan-pcp-dei.pcapng",
            "ndpi__ip_fragmented_garbage.pcap",
            "arkime__http-syn-ack.pcap",
            "scapy__pfcp.pcap",
        ],
    )
    def test_each_packet(self, name: str) -> None:
        assert read(PCAPS / name) == tshark(PCAPS / name)

    def test_the_fuzzed_one_has_one_packet(self) -> None:
        ((_, captured, _),) = read(PCAPS / self.FUZZED)

        assert captured == 48

    def test_every_file_is_read_to_its_end(self) -> None:
        for path in captures():
            with open_capture(path) as capture:
                for _ in capture:
                    pass
                assert (capture.bytes_read, dict(capture.notes)) == (path.stat().st_size, {}), path.name

    @pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng"])
    def test_another_format_holds_the_same(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "converted"
        source = PCAPS / "zeek__gtp1_gn_normal_incl_fragmentation.pcap"
        subprocess.run(["editcap", "-F", kind, source, path], check=True)

        assert read(path) == read(source)


class TestPcap:
    """The classic format, in either byte order and both resolutions."""

    @pytest.mark.parametrize("order", [BIG, LITTLE])
    @pytest.mark.parametrize(("fine", "unit"), [(False, 1000), (True, 1)])
    def test_time_and_bytes(self, write: Write, order: str, fine: bool, unit: int) -> None:
        path = write(
            pcap([(1_700_000_000, 123_456, FRAME), (4_000_000_000, 999_999, FRAME[:20])], order, nanoseconds=fine)
        )

        with open_capture(path) as capture:
            assert list(capture) == [
                (1_700_000_000 * SECOND + 123_456 * unit, FRAME, 60, 1),
                (4_000_000_000 * SECOND + 999_999 * unit, FRAME[:20], 20, 1),
            ]
        assert read(path) == tshark(path)

    def test_a_cut_packet_keeps_its_length_on_the_wire(self, write: Write) -> None:
        path = write(pcap([]) + struct.pack("<IIII", 5, 6, 40, 1500) + FRAME[:40])

        assert read(path) == [(5 * SECOND + 6000, 40, 1500)]

    def test_no_packet_is_an_empty_capture(self, write: Write) -> None:
        assert read(write(pcap([]))) == []

    def test_the_check_sum_bits_of_the_link_type_are_not_part_of_it(self, write: Write) -> None:
        with open_capture(write(pcap([(1, 0, FRAME)], link=0x2400_0001))) as capture:
            assert [link for _, _, _, link in capture] == [1]


class TestPcapng:
    """Blocks in sections, each interface with its own link type and clock."""

    @pytest.mark.parametrize("order", [BIG, LITTLE])
    def test_interfaces_of_different_clocks(self, write: Write, order: str) -> None:
        path = write(
            section(order)
            + interface(1, order=order)  # microseconds when nothing is said
            + interface(113, 9, order=order)
            + interface(101, 0x80 | 20, order=order)  # 2^-20 s
            + interface(276, 3, 1000, order=order)  # milliseconds, a thousand seconds late
            + interface(1, 12, order=order)  # picoseconds
            + enhanced(1_700_000_000_123_456, number=0, order=order)
            + enhanced(1_700_000_000_123_456_789, number=1, order=order)
            + enhanced((1_700_000_000 << 20) + (1 << 19), number=2, order=order)
            + enhanced(1_700_000_000_123, number=3, order=order)
            + enhanced(1_700_000_000_123_456_789, number=4, order=order)
        )

        with open_capture(path) as capture:
            found = [(t_ns, link) for t_ns, _, _, link in capture]
        assert found == [
            (1_700_000_000_123_456_000, 1),
            (1_700_000_000_123_456_789, 113),
            (1_700_000_000_500_000_000, 101),
            (1_700_001_000_123_000_000, 276),
            (1_700_000_000_123_456, 1),
        ]
        assert [t for t, _, _ in read(path)] == [t for t, _, _ in tshark(path)]

    def test_a_clock_before_the_epoch_of_its_file(self, write: Write) -> None:
        path = write(section() + interface(1, 6, -3600) + enhanced(1_700_000_000_000_000))

        assert read(path)[0][0] == (1_700_000_000 - 3600) * SECOND

    def test_a_new_section_forgets_interfaces_and_byte_order(self, write: Write) -> None:
        first = section(BIG) + interface(1, 9, order=BIG) + enhanced(7, order=BIG)
        path = write(first + section() + interface(101, 6) + enhanced(7))

        with open_capture(path) as capture:
            assert [(t_ns, link) for t_ns, _, _, link in capture] == [(7, 1), (7000, 101)]

    def test_unknown_blocks_are_passed_over(self, write: Write) -> None:
        path = write(section() + block(0x80000001, b"secret") + interface() + block(4, bytes(8)) + enhanced(7))

        assert len(read(path)) == 1

    def test_a_simple_packet_has_the_time_of_the_one_before(self, write: Write) -> None:
        simple = block(3, struct.pack("<I", 1500) + FRAME)
        path = write(section() + interface(1, 9, snap=60) + enhanced(77, FRAME[:14]) + simple)

        assert read(path) == [(77, 14, 14), (77, 60, 1500)]

    def test_the_obsolete_packet_block_is_read(self, write: Write) -> None:
        old = block(2, struct.pack("<HHIIII", 1, 0, 0, 5_000_000, 60, 99) + FRAME)
        path = write(section() + interface(1) + interface(101) + old)

        with open_capture(path) as capture:
            assert list(capture) == [(5 * SECOND, FRAME, 99, 101)]

    @pytest.mark.parametrize(
        "bad",
        [
            enhanced(7, number=1),
            block(6, struct.pack("<IIIII", 0, 0, 7, 400, 400) + FRAME),
            block(2, struct.pack("<HHIIII", 3, 0, 0, 7, 60, 60) + FRAME),
            block(2, bytes(8)),
        ],
        ids=["unknown interface", "lying length", "unknown interface of an old block", "short old block"],
    )
    def test_a_packet_without_place_is_counted_and_the_next_is_read(self, write: Write, bad: bytes) -> None:
        with open_capture(write(section() + interface(1, 9) + bad + enhanced(8))) as capture:
            assert [t_ns for t_ns, _, _, _ in capture] == [8]
            assert sum(capture.notes.values()) == 1


class TestDamage:
    """A file that is not whole is read as far as it goes."""

    @pytest.mark.parametrize("cut", range(25, 24 + 16 + 60))
    def test_a_pcap_cut_in_a_packet(self, write: Write, cut: int) -> None:
        with open_capture(write(ONE[:24] + ONE[24:] + ONE[24:][: cut - 24])) as capture:
            assert len(list(capture)) == 1
            assert dict(capture.notes) == {"some.capture ends inside a packet": 1}
            assert capture.bytes_read == capture.size

    def test_a_pcapng_cut_at_each_byte_of_a_block(self, write: Write) -> None:
        whole = section() + interface(1, 9) + enhanced(1)
        last = enhanced(2)
        for cut in range(1, len(last)):
            with open_capture(write(whole + last[:cut])) as capture:
                assert len(list(capture)) == 1, cut
                assert dict(capture.notes) == {"some.capture ends inside a packet": 1}

    @pytest.mark.parametrize("length", [262_145, 0xFFFF_FFFF])
    def test_a_pcap_record_of_no_sensible_length_ends_it(self, write: Write, length: int) -> None:
        with open_capture(write(ONE + struct.pack("<IIII", 2, 0, length, 60) + bytes(300_000))) as capture:
            assert len(list(capture)) == 1
            assert dict(capture.notes) == {"some.capture has a damaged record; the rest is not read": 1}

    @pytest.mark.parametrize("length", [0, 8, 33, 1 << 30])
    def test_a_pcapng_block_of_no_sensible_length_ends_it(self, write: Write, length: int) -> None:
        bad = struct.pack("<II", 6, length) + bytes(64)
        with open_capture(write(section() + interface(1, 9) + enhanced(1) + bad)) as capture:
            assert len(list(capture)) == 1
            assert sum(capture.notes.values()) == 1


class TestRefusals:
    """A file that is no capture is refused with a sentence that says what to do."""

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"", "is empty"),
            (b"hello, world, this is text", "is not a capture"),
            (ONE[:20], "ends inside its file header"),
            (section()[:9], "has no section header"),
            (b"BZh9" + bytes(40), "bunzip2"),
            (b"\xfd7zXZ" + bytes(40), "unxz"),
            (pcap([], link=105), "link type 105"),
        ],
        ids=["empty", "text", "short pcap", "short pcapng", "bzip2", "xz", "wireless"],
    )
    def test_by_content(self, write: Write, data: bytes, says: str) -> None:
        with pytest.raises(BadCapture, match=says) as caught:
            open_capture(write(data))

        assert caught.value.remedy

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadCapture, match="No such file"):
            open_capture(tmp_path / "none.pcap")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadCapture, match="cannot be read"):
            open_capture(tmp_path)

    def test_a_device(self) -> None:
        with pytest.raises(BadCapture, match="not a regular file"):
            open_capture(Path(os.devnull))


SOME = pcap([(n, 0, bytes(800)) for n in range(100)])
PNG = section() + interface(1, 9) + enhanced(1) + enhanced(2)
SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0four"  # a skippable frame (RFC 8878, 3.1.2)


def gz(data: bytes) -> bytes:
    """Return *data* as gzip packs it."""
    return gzip.compress(data, mtime=0)


def zst(data: bytes) -> bytes:
    """Return *data* as zstd packs it."""
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("pack", [gz, zst])
class TestPacked:
    """An archive is read as what it holds, whatever it is called."""

    @pytest.mark.parametrize("data", [SOME, PNG], ids=["pcap", "pcapng"])
    def test_it_holds_the_same(self, write: Write, pack: Pack, data: bytes) -> None:
        plain = read(write(data))

        assert read(write(pack(data))) == plain

    def test_one_of_several_members_holds_all_of_them(self, write: Write, pack: Pack) -> None:
        assert len(read(write(pack(SOME[:5000]) + pack(SOME[5000:])))) == 100

    def test_progress_is_that_of_what_it_holds(self, write: Write, pack: Pack) -> None:
        with open_capture(write(pack(SOME))) as capture:
            assert sum(1 for _ in capture) == 100
            assert (capture.bytes_read, capture.size) == (len(SOME), len(SOME))
            assert not capture.notes

    def test_one_that_ends_early_gives_what_is_whole(self, write: Write, pack: Pack) -> None:
        noise = random.Random(1).randbytes(400_000)  # no packer makes it shorter
        packed = pack(pcap([(n, 0, noise[n * 1000 : n * 1000 + 1000]) for n in range(400)]))

        with open_capture(write(packed[: len(packed) // 2])) as capture:
            assert 50 < sum(1 for _ in capture) < 250
            assert capture.notes["some.capture ends inside its compressed data"] == 1

    def test_a_damaged_one_gives_what_is_whole(self, write: Write, pack: Pack) -> None:
        noise = random.Random(1).randbytes(400_000)
        packed = bytearray(pack(pcap([(n, 0, noise[n * 1000 : n * 1000 + 1000]) for n in range(400)])))
        packed[len(packed) // 2 :] = b"\xff" * 1000

        with open_capture(write(bytes(packed))) as capture:
            assert sum(1 for _ in capture) < 400
            assert [text for text in capture.notes if "compressed data" in text]

    @pytest.mark.parametrize("keep", [5, 12])
    def test_one_of_which_nothing_is_left_is_refused(self, write: Write, pack: Pack, keep: int) -> None:
        with pytest.raises(BadCapture, match="unpacks to nothing"):
            open_capture(write(pack(SOME)[:keep]))

    def test_one_that_holds_no_capture_is_refused(self, write: Write, pack: Pack) -> None:
        with pytest.raises(BadCapture, match="is not a capture"):
            open_capture(write(pack(b"hello, world, this is text")))

    def test_one_of_zeros_is_refused_at_its_beginning(self, write: Write, pack: Pack) -> None:
        with pytest.raises(BadCapture, match="is not a capture: it begins with 0x00000000"):
            open_capture(write(pack(bytes(1 << 24))))

    def test_one_that_unpacks_to_too_much_is_refused(self, write: Write, pack: Pack) -> None:
        bomb = write(pack(ONE + bytes(1 << 24)))

        with pytest.raises(BadCapture, match=r"unpacks to more than 0\.0078125 GiB") as caught:
            open_capture(bomb, most=1 << 23)

        assert caught.value.remedy.startswith("Unpack it first: gunzip" if pack is gz else "Unpack it first: unzstd")

    def test_an_archive_in_an_archive_is_refused(self, write: Write, pack: Pack) -> None:
        with pytest.raises(BadCapture, match="is not a capture"):
            open_capture(write(pack(pack(SOME))))


class TestParallelZstd:
    """Parallel packers begin with a frame that is to be passed over."""

    def test_it_is_passed_over(self, write: Write) -> None:
        assert len(read(write(SKIPPED + zst(SOME)))) == 100


class TestSpeed:
    """Replay must not wait for the reader: it costs little beside the least that Python can do for a packet."""

    def test_a_packet_costs_a_few_times_its_header_and_its_copy(self, write: Write) -> None:
        some = pcap([(1, n, bytes(800)) for n in range(1000)])
        data = some + some[24:] * 19
        path = write(data)

        def least() -> int:
            at, count = 24, 0
            while at < len(data):
                _, _, captured, _ = struct.unpack_from("<IIII", data, at)
                assert data[at + 16 : at + 16 + captured]
                at, count = at + 16 + captured, count + 1
            return count

        def read_all() -> int:
            with open_capture(path) as capture:
                return sum(1 for _ in capture)

        def cost(work: Callable[[], int]) -> float:
            best = float("inf")
            for _ in range(5):
                began = time.process_time()
                assert work() == 20_000
                best = min(best, time.process_time() - began)
            return best

        assert cost(read_all) < 5 * cost(least)
