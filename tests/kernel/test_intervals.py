"""Intervals of a flow in user space: nothing twice, nothing lost, nothing from before."""

from __future__ import annotations

from nf.flows.media import Media as MediaReader
from nf.kernel.dataplane import DataPlane
from tests.kernel.test_detail import Media, TestFrames, media, read

__all__ = ["media"]  # a fixture


def reader_of(plane: DataPlane) -> MediaReader:
    return MediaReader(len(plane.details))


class TestEach:
    """Each interval is told, also of a flow that nobody follows."""

    @staticmethod
    def frames(first: int, last: int) -> list[tuple[float, bytes]]:
        return [p for n in range(first, last) for p in TestFrames.frame(33 * n, 700 + 20 * (n % 7))]

    def test_a_flow_that_is_silent_in_it_has_none(self, media: Media) -> None:
        reader, flow = reader_of(media.plane), media.plane.read_flows()[1]["number"]
        media.play(*self.frames(0, 100))
        read(reader, media.plane)
        media.plane.new_epoch()
        interval = read(reader, media.plane)

        assert (interval.column("frames", flow).tolist(), interval.column("peak_bps", flow).tolist()) == ([0], [0.0])

    def test_what_came_before_the_first_look_is_of_no_interval(self, media: Media) -> None:
        """A process takes over what another one left, which counted on while nobody read."""
        media.play(*self.frames(0, 1_000))
        reader, flow = reader_of(media.plane), media.plane.read_flows()[1]["number"]
        reader.begin(media.plane.details.present())
        media.play(*self.frames(1_000, 1_030))

        assert read(reader, media.plane).column("frames", flow).tolist() == [30]

    def test_no_frame_is_lost_between(self, media: Media) -> None:
        """Frames may come after the read and before the next interval begins, in which the flow may be silent."""
        reader, flow = reader_of(media.plane), media.plane.read_flows()[1]["number"]
        counts = []
        for first, then, last in ((0, 10, 12), (12, 12, 21), (21, 21, 21), (21, 40, 41), (41, 41, 41)):
            media.play(*self.frames(first, then))
            counts += read(reader, media.plane).column("frames", flow).tolist()
            media.play(*self.frames(then, last))
            media.plane.new_epoch()

        assert counts == [10, 2, 9, 19, 1]
        assert media.plane.details.present().states["equal"]["n"][0] == 40  # which ended, and one is open

    def test_a_flow_whose_packets_came_after_its_table_was_read_is_of_the_next_interval(self, media: Media) -> None:
        """The details are read after the flows, so that a flow may be in the one and not in the other."""
        reader, flow = reader_of(media.plane), media.plane.read_flows()[1]["number"]
        media.play(*self.frames(0, 11))
        now_us = media.plane.now_ns() // 1000
        early = reader.update(flow[:0], media.plane.details.moved(), media.plane.read_chunks(), now_us)
        media.plane.new_epoch()

        assert len(early) == 0
        assert read(reader, media.plane).column("frames", flow).tolist() == [11]
