"""The C sources as bcc needs them: one text, and the constants that depend on the site.

bcc rewrites map calls in the main file only, so the headers of ``bpf/`` are put in place of their
``#include`` lines. It needs no kernel headers: ``bpf/include`` holds the nine that it asks for.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO

from nf.abi import (
    BPF_DIR,
    SNF_DETAILS,
    SNF_ENTRIES,
    SNF_FLOWS,
    SNF_RING_CHUNKS,
    SNF_RING_ENDED,
    SNF_RING_EVENTS,
    SNF_RING_EVICTED,
    SNF_RING_KINDS,
    SNF_RING_NAMES,
    SNF_RING_PAYLOADS,
    headers,
)
from nf.apps.signatures import files
from nf.settings import Limits

__all__ = [
    "BPF_DIR",
    "SENT",
    "abi",
    "captured_stderr",
    "flags",
    "reason",
    "ring_sizes",
    "rings",
    "table_sizes",
    "text",
    "use_shim",
]

_INCLUDE = re.compile(r'#include "(\w+\.h)"')

EVENT_RING_BYTES = 4 << 20  # 30,000 flow events, a tenth of a second of new flows at the rate one core can make
PAYLOAD_RING_BYTES = 8 << 20  # 4,000 payload records
CHUNK_RING_BYTES = 1 << 20  # 18,000 chunks: seconds of video each, or requests of a page, 20 ms apart if they are long
NAME_RING_BYTES = 1 << 20  # 10,000 names, half a second of new flows at 20,000 a second
ENDED_RING_BYTES = 1 << 20  # 4,800 flows whose ends opened another connection
EVICTED_RING_BYTES = 128 << 10  # 8,000 flows that a full table has no place for, a tenth of a second at 80,000 a second
_RING_BYTES = {
    SNF_RING_EVENTS: EVENT_RING_BYTES,
    SNF_RING_PAYLOADS: PAYLOAD_RING_BYTES,
    SNF_RING_CHUNKS: CHUNK_RING_BYTES,
    SNF_RING_NAMES: NAME_RING_BYTES,
    SNF_RING_ENDED: ENDED_RING_BYTES,
    SNF_RING_EVICTED: EVICTED_RING_BYTES,
}
RINGS_MOST = 64  # of a kind, a power of two; more CPUs than these share them
_LEAST_SHARE = 8  # a machine of many CPUs takes more room in all: a ring has an eighth of the above, at least
SENT = "-DEGRESS"  # the flag, behind all others, of programs on what a port sends (bpf/hook.h)
ENDPOINTS = 16_384  # addresses of gNBs and UPFs that receive tunnels
ROUTES = 65_536  # prefixes of sessions beyond their first addresses, two or three entries each
# A session has a tunnel each way and an address, or two with IPv4 and IPv6: four entries then fill 84 % of the table.
ENTRIES_A_SESSION = 4.75
SESSIONS_A_PLACE, PLACES_MOST = 256, 1024  # 8 kB of counts each
SUFFIX_SLOTS = 262_144  # 4 MB a table; holds 100,000 suffixes at two fifths
FLOWS_AN_ANSWER = 16  # flows in the table for each address that a subscriber was told of lately
PLACES_A_FLOW = 1.5  # a flow is evicted where four of the 24 places that a new one may have are free, or fewer
MEDIA_SHARE = 16  # one flow of so many is of a media application at one time
PLACES_A_DETAIL = 1.5  # a twentieth of them would meet a full set, were all of them busy


def abi(limits: Limits, *, replay: bool) -> int:
    """Return a number of all that maps mean: structs, sizes of the site, numbers of the applications in the flows."""
    others = (BPF_DIR / name for name in ("maps.h", "packet.h"))
    texts = "".join(path.read_text() for path in (*headers(), *others, *files()))
    return zlib.crc32((texts + repr((flags(replay=replay), table_sizes(limits), rings(replay=replay)))).encode())


def text(name: str = "snf.c") -> str:
    """Return the program with its headers in place; line numbers of errors are those of the files."""
    seen: set[str] = set()

    def expand(file: str) -> list[str]:
        if file in seen:
            return []
        seen.add(file)
        out = [f'#line 1 "{file}"']
        for number, line in enumerate((BPF_DIR / file).read_text().splitlines(), 1):
            if found := _INCLUDE.match(line):
                out += [*expand(found[1]), f'#line {number + 1} "{file}"']
            else:
                out.append(line)
        return out

    return "\n".join(expand(name)) + "\n"


def flags(*, replay: bool) -> list[str]:
    """Return the compiler flags: those that depend neither on site nor kernel, and that of the clock of a replay.

    Sizes of the site are those of the maps alone (`table_sizes`), so that one build serves all.
    """
    fixed = {
        "SNF_ENDPOINTS": ENDPOINTS,
        "SNF_ROUTES": ROUTES,
        "RINGS": RINGS_MOST,
        "SUFFIX_SLOTS": SUFFIX_SLOTS,
        "PAGE_SIZE": mmap.PAGESIZE,
    }
    return [f"-D{name}={value}" for name, value in fixed.items()] + (["-DREPLAY"] if replay else [])


def table_sizes(limits: Limits) -> dict[str, int]:
    """Return how many entries the maps have that depend on the site."""
    return {
        "flow_buckets": flow_buckets(limits.flows),
        "flows": flow_buckets(limits.flows) * SNF_FLOWS,
        "detail_sets": detail_sets(limits.flows),
        "details": detail_sets(limits.flows) * SNF_DETAILS,
        "sessions": session_buckets(limits.sessions),
        "delay_counts": places(limits.sessions),
        "answers": max(4096, limits.flows // FLOWS_AN_ANSWER),
    }


def flow_buckets(flows: int) -> int:
    """Return how many buckets the flow table has for so many flows."""
    return math.ceil(flows * PLACES_A_FLOW / SNF_FLOWS)


def detail_sets(flows: int) -> int:
    """Return how many sets the table of details has where there are so many flows, of media and others."""
    return math.ceil(max(1024, flows / MEDIA_SHARE) * PLACES_A_DETAIL / SNF_DETAILS)


def session_buckets(sessions: int) -> int:
    """Return how many buckets the session table has for so many sessions."""
    return max(64, int(sessions * ENTRIES_A_SESSION / SNF_ENTRIES))


def places(sessions: int) -> int:
    """Return how many pairs of gNB and slice have counts of delays of their own, with place 0, which is none."""
    return min(max(16, sessions // SESSIONS_A_PLACE), PLACES_MOST)


def rings(*, replay: bool) -> int:
    """Return how many rings there are of each kind: one a CPU, a power of two; a replay runs on one CPU at a time."""
    cpus = 1 if replay else min(os.cpu_count() or 1, RINGS_MOST)
    return 1 << (cpus - 1).bit_length()


def ring_sizes(count: int) -> tuple[int, ...]:
    """Return the bytes of a ring of each kind (``enum snf_ring``) where there are *count* of each."""
    return tuple(_RING_BYTES[kind] // min(count, _LEAST_SHARE) for kind in range(SNF_RING_KINDS))


def use_shim() -> None:
    """Point bcc at our headers; must happen before the first program is compiled."""
    os.environ["BCC_KERNEL_SOURCE"] = str(BPF_DIR)


@contextlib.contextmanager
def captured_stderr() -> Iterator[IO[bytes]]:
    """Keep what the compiler and the verifier print on file descriptor 2."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def reason(log: IO[bytes]) -> str:
    """Return the first line that the compiler calls an error, else the last line that says something."""
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), lines[-1] if lines else "")
