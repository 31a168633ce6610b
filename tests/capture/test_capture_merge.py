"""Several captures are read as one, by time."""

from __future__ import annotations

from pathlib import Path

import pytest

from nf.capture import merged, open_capture
from nf.errors import BadCapture
from tests.capture.files import FRAME, PCAPS, enhanced, interface, pcap, section


class TestMerged:
    """Packets of all files in the order of their times, each with the number of its file."""

    def test_by_time(self, tmp_path: Path) -> None:
        one, two = tmp_path / "n3.pcap", tmp_path / "n6.pcapng"
        one.write_bytes(pcap([(1, 0, FRAME), (3, 0, FRAME)]))
        two.write_bytes(section() + interface(101, 9) + enhanced(2_000_000_000) + enhanced(4_000_000_000))

        assert [(index, t_ns, link) for index, t_ns, _, link, _ in merged([one, two])] == [
            (0, 1_000_000_000, 1),
            (1, 2_000_000_000, 101),
            (0, 3_000_000_000, 1),
            (1, 4_000_000_000, 101),
        ]

    def test_of_one_time_in_the_order_of_the_files(self, tmp_path: Path) -> None:
        paths = [tmp_path / name for name in "abc"]
        for path in paths:
            path.write_bytes(pcap([(1, 0, FRAME), (1, 0, FRAME)]))

        assert [index for index, *_ in merged(paths)] == [0, 0, 1, 1, 2, 2]

    def test_one_file_is_itself(self) -> None:
        path = PCAPS / "zeek__gtp1_gn_normal_incl_fragmentation.pcap"
        with open_capture(path) as capture:
            alone = [(0, t_ns, frame, link, wire) for t_ns, frame, wire, link in capture]

        assert list(merged([path])) == alone

    def test_real_files_lose_nothing(self) -> None:
        paths = sorted(PCAPS.glob("zeek__*"))[:6]
        alone = sum(1 for path in paths for _ in open_capture(path))
        times = [t_ns for _, t_ns, *_ in merged(paths)]

        assert len(times) == alone

    def test_progress_grows_to_the_size(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a", tmp_path / "b"]
        for path in paths:
            path.write_bytes(pcap([(n, 0, FRAME) for n in range(10)]))
        captures = merged(paths)
        seen = [captures.bytes_read for _ in captures]

        assert seen == sorted(seen)
        assert 0 < seen[0] < seen[-1] <= captures.size
        assert captures.bytes_read == captures.size == sum(path.stat().st_size for path in paths)

    def test_notes_of_all_files(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a", tmp_path / "b"]
        for path in paths:
            path.write_bytes(pcap([(1, 0, FRAME)])[:-1])
        captures = merged(paths)

        assert list(captures) == []
        assert dict(captures.notes) == {"a ends inside a packet": 1, "b ends inside a packet": 1}

    def test_one_bad_file_stops_it_before_the_first_packet(self, tmp_path: Path) -> None:
        (tmp_path / "good").write_bytes(pcap([(1, 0, FRAME)]))
        (tmp_path / "bad").write_bytes(b"nothing of the kind")

        with pytest.raises(BadCapture, match="bad is not a capture"):
            merged([tmp_path / "good", tmp_path / "bad"])
