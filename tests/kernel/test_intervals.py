"""Intervals of a flow in user space: nothing twice, nothing lost, nothing from before."""

from __future__ import annotations

from nf.flows.media import Media as MediaReader
from nf.flows.media import MediaInterval
from nf.kernel.dataplane import DataPlane
from tests.kernel.test_detail import Media, TestFrames, media

__all__ = ["media"]  # a fixture


def read(reader: MediaReader, plane: DataPlane) -> MediaInterval:
    """Read an interval as the pipeline does."""
    return reader.update(plane.read_details(), plane.read_chunks(), plane.epoch)


class TestFollowed:
    """A new follower of a subscriber is told of the interval, not of the life of its flows."""

    @staticmethod
    def frames(first: int, last: int) -> list[tuple[float, bytes]]:
        return [p for n in range(first, last) for p in TestFrames.frame(33 * n, 700 + 20 * (n % 7))]

    def test_the_first_interval_is_its_own(self, media: Media) -> None:
        media.play(*self.frames(0, 1_000))
        media.plane.new_epoch()
        media.play(*self.frames(1_000, 1_030))
        flow = media.plane.read_flows()[1]["number"]

        assert read(MediaReader(), media.plane).column("frames", flow).tolist() == [30]

    def test_a_flow_that_is_silent_in_it_has_none(self, media: Media) -> None:
        media.play(*self.frames(0, 100))
        media.plane.new_epoch()
        interval = read(MediaReader(), media.plane)
        flow = media.plane.read_flows()[1]["number"]

        assert (interval.column("frames", flow).tolist(), interval.column("peak_bps", flow).tolist()) == ([0], [0.0])

    def test_following_again_begins_anew(self, media: Media) -> None:
        reader, flow = MediaReader(), media.plane.read_flows()[1]["number"]
        media.play(*self.frames(0, 10))
        read(reader, media.plane)
        media.plane.new_epoch()
        reader.forget()
        media.play(*self.frames(10, 500))
        media.plane.new_epoch()
        media.play(*self.frames(500, 520))

        assert read(reader, media.plane).column("frames", flow).tolist() == [20]

    def test_while_somebody_follows_no_frame_is_lost_between(self, media: Media) -> None:
        """A frame may end after the read and before the next interval begins."""
        reader, flow = MediaReader(), media.plane.read_flows()[1]["number"]
        media.play(*self.frames(0, 10))
        first = read(reader, media.plane).column("frames", flow)
        media.play(*self.frames(10, 12))
        media.plane.new_epoch()
        media.play(*self.frames(12, 21))
        second = read(reader, media.plane).column("frames", flow)

        assert (first + second).tolist() == [20]
