"""Many different frames through a program back to back, without a sender: an array of frames in the kernel.

A feeding program copies the next frame over the test run's packet and tail-calls the program under test, which is the
very one that an interface gets. The cost of the copy is told by the same feed in front of an empty program.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.rig import bcc, load
from nf.kernel import syscall

__all__ = ["BLOCK", "Feed"]

BLOCK = 64  # bytes: a frame is stored as so many of these
_TEXT = """
struct block { u64 w[8]; };
struct place { u32 first; u32 count; };
BPF_F_TABLE("array", u32, struct block, blocks, BLOCKS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct place, places, FRAMES, BPF_F_MMAPABLE);
struct turn { u64 runs; u64 copies; };
BPF_F_TABLE("array", u32, struct turn, turns, 1, BPF_F_MMAPABLE);
BPF_PROG_ARRAY(target, 1);

int feed(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	u64 *to = (u64 *)(long)ctx->data, n;
	u32 zero = 0, i, b;
	struct turn *turn;
	struct place *p;

	turn = turns.lookup(&zero);
	if (!turn)
		return XDP_ABORTED;
	i = turn->runs / (turn->copies ?: 1);
	turn->runs++;
	p = places.lookup(&i);
	if (!p)
		return XDP_ABORTED;
	b = p->first;
#pragma clang loop unroll(disable)
	for (n = 0; n < 54; n++) {
		struct block *from = blocks.lookup(&b);

		if (n >= p->count || !from || (void *)(to + 8) > end)
			break;
		to[0] = from->w[0];
		to[1] = from->w[1];
		to[2] = from->w[2];
		to[3] = from->w[3];
		to[4] = from->w[4];
		to[5] = from->w[5];
		to[6] = from->w[6];
		to[7] = from->w[7];
		to += 8;
		b++;
	}
	target.call(ctx, 0);
	return XDP_ABORTED;
}

int empty(struct xdp_md *ctx) { return XDP_DROP; }
"""


class Feed:
    """Frames in kernel memory; ``run`` lets a program see the next ones. ``close`` frees them.

    Of each frame *head* bytes are copied, or *lengths* where a column of lengths is given; the packet is of *size*
    bytes always, so programs must go by the lengths in the headers.
    """

    def __init__(self, frames: Sequence[bytes], lengths: NDArray[np.int64], size: int = 1536) -> None:
        count = -(-lengths // BLOCK)
        first = np.cumsum(count) - count
        flags = [f"-DBLOCKS={int(count.sum())}", f"-DFRAMES={len(frames)}"]
        self._bpf = bcc()(text=_TEXT, cflags=flags)
        places = self._map("places", len(frames) * 8).view(np.uint32).reshape(-1, 2)
        places[:, 0], places[:, 1] = first, count
        blocks = self._map("blocks", int(count.sum()) * BLOCK)
        for frame, at, length in zip(frames, (first * BLOCK).tolist(), lengths.tolist(), strict=True):
            part = frame[:length]
            blocks[at : at + len(part)] = np.frombuffer(part, np.uint8)
        self._turn = self._map("turns", 16).view(np.uint64)  # runs so far, copies
        self._fd = load(self._bpf, "feed")
        self.empty = load(self._bpf, "empty")
        self._run = syscall.TestRun(self._fd, size + 64)
        self._packet = bytes(size)

    def _map(self, name: str, size: int) -> NDArray[np.uint8]:
        room = mmap.mmap(self._bpf[name].map_fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, mmap.MAP_SHARED)
        return np.frombuffer(room, np.uint8, size)

    def aim(self, program: int, at: int = 0, copies: int = 1) -> None:
        """Point the feed at the program of this file descriptor, from the frame with number *at* on.

        Each frame comes *copies* times, one after the other.
        """
        target = self._bpf["target"]
        target[target.Key(0)] = target.Leaf(program)
        self._turn[:] = at * copies, copies

    def run(self, frames: int) -> int:
        """Feed the program the next *frames* frames; return the nanoseconds that it took, the feed included."""
        return self._run.repeat(self._packet, frames) * frames

    def send(self, frames: int) -> None:
        """Feed the next *frames* frames as live frames: what the program redirects goes where it says (Linux 5.18)."""
        self._run.repeat(self._packet, frames, live=True)

    def close(self) -> None:
        """Free the kernel's memory."""
        os.close(self._fd)
        os.close(self.empty)
        del self._turn
        self._bpf.cleanup()
