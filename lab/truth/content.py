"""Content of the players: ladders of encodings, made once by ffmpeg, looped, and cut into segments.

A level is encoded once for 24 s and repeated without encoding, so that a ladder costs seconds of processor time and
its segments still vary in size as real ones do: the picture is busy for some seconds of each loop and quiet for others.
DASH and HLS manifests share the segments (CMAF). Everything is kept in a cache folder under a name that says all that
it depends on. Pictures a second are few, so that two shared processors can decode the highest level.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.net import LabError, command

__all__ = ["LADDERS", "SEGMENTS_S", "Ladder", "Level", "camera", "make"]

SEGMENTS_S = (2, 4, 6, 10)
LOOP_S, ROUNDS, GOP_S = 24, 9, 2
_PIXELS = {144: 256, 240: 426, 360: 640, 480: 854, 720: 1280, 1080: 1920}  # width by height


@dataclass(frozen=True, slots=True)
class Level:
    """One encoding: lines of picture, and its mean rate."""

    height: int
    bps: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """The encodings that a player chooses from: of one picture (a source of ffmpeg), with sound or without."""

    name: str
    levels: tuple[Level, ...]
    picture: str
    noise: int
    audio_bps: int = 0
    fps: int = 12


def _ladder(name: str, rates: dict[int, int], picture: str, noise: int, audio: int = 0, fps: int = 12) -> Ladder:
    levels = tuple(Level(height, kbps * 1000) for height, kbps in rates.items())
    return Ladder(name, levels, picture, noise, audio * 1000, fps)


# Rates a level as services publish them: "wide" as HLS authoring guides give them, "lean" as a service with efficient
# encoders, "rich" as one that pays for quality, and so on. Fitting and judging use different ones (`sets.toml`).
LADDERS = {
    ladder.name: ladder
    for ladder in (
        _ladder("wide", {144: 145, 240: 300, 360: 600, 480: 1100, 720: 2400, 1080: 4500}, "testsrc2", 22, 96),
        _ladder("lean", {144: 90, 240: 180, 360: 360, 480: 650, 720: 1400, 1080: 2500}, "mandelbrot", 10, 64),
        _ladder("rich", {240: 400, 360: 800, 480: 1500, 720: 3200, 1080: 6000}, "testsrc2", 34, 128),
        _ladder("plain", {144: 110, 240: 230, 360: 480, 480: 850, 720: 1900, 1080: 3500}, "mandelbrot", 16),
        _ladder("other", {144: 120, 240: 260, 360: 540, 480: 950, 720: 2100, 1080: 4000}, "life", 18, 96),
        _ladder("short", {360: 450, 480: 1200, 720: 2800, 1080: 5000}, "mandelbrot", 26),
        _ladder("still", {144: 80, 240: 150, 360: 300, 480: 520, 720: 1100, 1080: 2000}, "smptehdbars", 9, 64, 10),
        _ladder("dense", {144: 100, 240: 200, 360: 420, 480: 750, 720: 1600, 1080: 3000}, "testsrc2", 14, 128, 15),
    )
}


def _source(ladder: Ladder, level: Level) -> str:
    size = f"{_PIXELS[level.height]}x{level.height}"
    if ladder.picture == "life":
        picture = f"life=s=320x180:r={ladder.fps}:ratio=0.3:mold=10:seed=7,scale={size.replace('x', ':')}"
    else:
        picture = f"{ladder.picture}=s={size}:{'r' if ladder.picture != 'mandelbrot' else 'rate'}={ladder.fps}"
    busy = f"noise=alls={ladder.noise}:allf=t:enable='lt(mod(t,8),5)'"
    return f"{picture},{busy},setdar=16/9,format=yuv420p"  # one aspect ratio, as DASH wants of a set


def _encode(cache: Path, ladder: Ladder, level: Level) -> Path:
    """Return the encoding of a level, made if it is not there."""
    file = cache / "levels" / f"{ladder.name}-{level.height}-{level.bps // 1000}k-{ladder.fps}.mp4"
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part.mp4")
    gop, rate = str(GOP_S * ladder.fps), level.bps
    _ffmpeg(
        "-f", "lavfi", "-i", _source(ladder, level), "-t", str(LOOP_S), "-c:v", "libx264", "-preset", "superfast",
        "-profile:v", "high", "-bf", "0", "-g", gop, "-keyint_min", gop, "-sc_threshold", "0", "-threads", "1",
        "-b:v", str(rate), "-maxrate", str(rate * 3 // 2), "-bufsize", str(rate * 3), part,
    )  # fmt: skip
    part.rename(file)
    return file


def _sound(cache: Path, bps: int) -> Path:
    file = cache / "levels" / f"sound-{bps // 1000}k.mp4"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.mp4")
        noise = f"anoisesrc=r=48000:a=0.2:d={LOOP_S}:seed=3"
        _ffmpeg("-f", "lavfi", "-i", noise, "-ac", "2", "-c:a", "aac", "-b:a", str(bps), part)
        part.rename(file)
    return file


def make(cache: Path, ladder: Ladder, segment_s: int) -> Path:
    """Return the folder with manifests and segments of a ladder, made if it is not there.

    ``levels.json`` in it has, for each representation of the manifest, height, mean bit/s and the octets of segments.
    Raises LabError when ffmpeg is missing or fails.
    """
    folder = cache / "content" / f"{ladder.name}-{segment_s}"
    if (folder / "levels.json").exists():
        return folder
    inputs: list[str | Path] = []
    files = [_encode(cache, ladder, level) for level in ladder.levels]
    if ladder.audio_bps:
        files.append(_sound(cache, ladder.audio_bps))
    for file in files:
        inputs += ["-stream_loop", str(ROUNDS - 1), "-i", file]
    maps = [word for i in range(len(files)) for word in ("-map", str(i))]
    sets = "id=0,streams=v" + (" id=1,streams=a" if ladder.audio_bps else "")
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _ffmpeg(
        *inputs, *maps, "-c", "copy", "-f", "dash", "-seg_duration", str(segment_s), "-use_template", "1",
        "-use_timeline", "1", "-adaptation_sets", sets, "-hls_playlist", "1",
        "-init_seg_name", "i$RepresentationID$.m4s", "-media_seg_name", "s$RepresentationID$-$Number$.m4s",
        part / "manifest.mpd",
    )  # fmt: skip
    manifest = part / "manifest.mpd"  # each representation has an initialisation segment of its own
    manifest.write_text(manifest.read_text("utf-8").replace(' bitstreamSwitching="true"', ""), encoding="utf-8")
    (part / "levels.json").write_text(json.dumps(_described(part, ladder, segment_s), indent=1), encoding="ascii")
    part.rename(folder)
    return folder


def camera(cache: Path, width: int, height: int, fps: int) -> Path:
    """Return a file that Chromium takes for a camera: a moving picture with noise, five seconds that repeat."""
    file = cache / "cameras" / f"{width}x{height}-{fps}.y4m"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.y4m")
        source = f"testsrc2=s={width}x{height}:r={fps},noise=alls=12:allf=t,format=yuv420p"
        _ffmpeg("-f", "lavfi", "-i", source, "-t", "5", part)
        part.rename(file)
    return file


def _described(folder: Path, ladder: Ladder, segment_s: int) -> list[dict[str, Any]]:
    found = []
    for i in range(len(ladder.levels) + bool(ladder.audio_bps)):
        names = sorted(folder.glob(f"s{i}-*.m4s"), key=lambda p: int(p.stem.partition("-")[2]))
        octets = [p.stat().st_size for p in names]
        height = ladder.levels[i].height if i < len(ladder.levels) else 0
        mean = round(8 * sum(octets) / (LOOP_S * ROUNDS))
        found.append({"id": i, "height": height, "bps": mean, "segment_s": segment_s, "octets": octets})
    return found


def _ffmpeg(*words: str | Path) -> None:
    if not shutil.which("ffmpeg"):
        raise LabError("ffmpeg is not installed. Run: make truth, or apt-get install ffmpeg")
    command("nice", "ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *map(str, words))
