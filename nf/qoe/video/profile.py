"""The constants of the video estimates, each with its source; a service or an operator may have others."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BY_BYTES", "DEFAULT", "Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Constants of one kind of player; own where no source is named."""

    media_octets: float = 10_000.0  # the least answer that holds media: 2 s of sound at 40 kbit/s; playlists have less
    segment_s: float = (
        6.0  # content of an answer before the session has told it: the target of Apple's HLS authoring rules
    )
    sound_bps: float = 100e3  # of stereo sound: 96 to 128 kbit/s in Apple's HLS authoring table, 64 at the least
    segment_known: bool = False  # the service's answers hold segment_s, so nothing is learned
    idle_s: float = 0.7  # a player that asks for nothing for so long has a full buffer, or is paused
    startup_octets: float = 4e6  # bytes before the first picture at most: 10 s of a high level
    startup_answers: int = 2  # or so many whole answers that hold media: sound and picture
    counted: bool = True  # requests stand for equal content, unless a session says else; or answers are parts of files
    left_s: float = 0.5  # content at which a player stands still already (Shaka 0.5, dash.js and hls.js 0.1)
    show_s: float = 0.25  # from the last byte of what is enough to the first picture: way to the UE, decoder, screen
    resume_s: float = 1.0  # content that ends a stall
    resting_s: float = 5.0  # content that a player has at least when it asks again after a rest
    wait_s: float = 1.0  # a request without an answer for so long is evidence of a stall
    slower: float = 0.8  # an answer under so many times the media rate does not keep up with the picture
    irregular: float = 0.35  # share of rests that say another content of a request: above it bytes are counted
    complete_gaps: float = 5.0  # a gap of so many usual gaps with content in the buffer: all was fetched
    ladder_bps: tuple[float, ...] = (170e3, 330e3, 640e3, 1.4e6, 3.2e6)
    """Media rate where the next level begins: between usual H.264 rates (Apple's HLS authoring table, YouTube's)."""
    forest_content_s: float = 8.0  # the forest's data has at least so much content in an answer
    forest_bps: float = 1.2e6  # and at most this rate (its sessions: up to 0.98 Mbit/s)


DEFAULT = Profile()
BY_BYTES = Profile(
    startup_octets=850_000.0,  # 29 labelled sessions, left out in turn
    counted=False,
    left_s=0.0,
    resting_s=20.0,
    wait_s=3.0,
    slower=0.5,
)
"""For services that begin by bytes, whose answers are parts of files and whose buffers are long."""
