"""A bump in the wire without a wire: a source of frames, two ports for the function, a counting sink.

    source ==veth== n3 | the function | n6 ==veth== sink

Frames are made in the kernel (BPF_F_TEST_XDP_LIVE_FRAMES), so one core sends millions a second. The source waits
while WINDOW of its frames are under way, so what is lost is lost by the function. Both far ends carry a program,
because a veth hands redirected frames to NAPI only.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import threading
import time
from collections.abc import Iterator

from lab.net import Net, inside
from nf.kernel import source, syscall
from nf.settings import Interface, Mode, Role

__all__ = ["N3", "N6", "Wire", "wire"]

NAMESPACE = "wire"
N3 = Interface("n3", Role.N3, Mode.INLINE, peer="n6")
N6 = Interface("n6", Role.N6, Mode.INLINE, peer="n3")
CHUNK = 64 * 256  # frames a system call
PATIENCE = 1000  # chunks that bring nothing to the sink
TRIAL = 0x88B5  # EtherType of frames that are none of the source (nf/kernel/redirects.py)
WINDOW = 192  # VETH_RING_SIZE of drivers/net/veth.c is 256
TEID_AT = 46  # Ethernet 14, IPv4 20, UDP 8, of GTP-U 4

# `next` counts frames. With VARY_AT the number of the frame is written there. With STRIDE the TEID and the UE of every
# frame are others, but for one frame in STRIDE, which is of KNOWN subscribers in turn. With FLOWS as well all frames
# are of these, STRIDE of each in turn: one of the flow that it always has, the others of FLOWS flows in turn.
_TEXT = """
BPF_ARRAY(next, u64, 1);
BPF_ARRAY(seen, u64, 1);

int send(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data;
	u32 zero = 0;
	u64 *n = next.lookup(&zero), *there = seen.lookup(&zero);

	if (!n || !there || (void *)data + 80 > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (*n - *there >= WINDOW) /* the receiver waits for the processor: more would overflow its ring */
		return XDP_DROP;
#if VARY_AT
	*(u32 *)(data + VARY_AT) = __builtin_bswap32((u32)*n);
#endif
#if FLOWS
	{
		u32 i = (u32)*n, k = i / STRIDE % KNOWN;

		*(u32 *)(data + TEID_AT) = __builtin_bswap32(FIRST + k);
		*(u32 *)(data + INNER_AT) = __builtin_bswap32(UE + k);
		if (i % STRIDE)
			*(u32 *)(data + INNER_AT + 4) = __builtin_bswap32(0x0c000000 | i % FLOWS);
	}
#elif STRIDE
	{
		u32 i = (u32)*n, k = i / STRIDE % KNOWN;
		u32 teid = i % STRIDE ? 0x80000000 | i : FIRST + k, ue = i % STRIDE ? 0x0b000000 | (i & 0xffffff) : UE + k;

		*(u32 *)(data + TEID_AT) = __builtin_bswap32(teid);
		*(u32 *)(data + INNER_AT) = __builtin_bswap32(ue);
	}
#endif
	*n += 1;
	return bpf_redirect(OUT, 0);
}

int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

int sink(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data;
	u32 zero = 0;
	u64 *n = seen.lookup(&zero);

	if ((void *)data + 14 > (void *)(long)ctx->data_end || *(u16 *)(data + 12) == TRIAL)
		return XDP_DROP; /* by which the function tries the pair */
	if (n)
		__sync_fetch_and_add(n, 1);
	return XDP_DROP;
}
"""


class Wire:
    """The devices of one namespace and the programs at both ends of them. Call its methods inside the namespace."""

    def __init__(self, net: Net, flags: dict[str, int]) -> None:
        from bcc import BPF

        self.path, self._net = net.path(NAMESPACE), net
        self._others: list[Wire] = []
        source.use_shim()
        flags = {"STRIDE": 0, "KNOWN": 1, "FIRST": 0, "UE": 0, "INNER_AT": 0, "VARY_AT": 0, "FLOWS": 0, **flags}
        values = {
            "OUT": socket.if_nametoindex("source"),
            "TEID_AT": TEID_AT,
            "WINDOW": WINDOW,
            "TRIAL": socket.htons(TRIAL),
            **flags,
        }
        self._bpf = BPF(text=_TEXT, cflags=[f"-D{k}={v}" for k, v in values.items()])
        self._send = self._bpf.load_func(b"send", BPF.XDP)
        for device, program in (("source", b"pass"), ("sink", b"sink")):
            BPF.attach_xdp(device, self._bpf.load_func(program, BPF.XDP), 4)

    def another(self, **flags: int) -> Wire:
        """Return the same devices with another kind of source."""
        self._others.append(Wire(self._net, flags))
        return self._others[-1]

    def send(self, frame: bytes, count: int) -> None:
        """Send *count* frames as fast as one core can; gives up when the sink has seen nothing for a while."""
        source_of = syscall.LiveFrames(self._send.fd, frame)
        end, quiet = self.sent() + count, 0
        while (left := end - self.sent()) > 0 and quiet < PATIENCE:
            before = self.seen()
            source_of.send(min(left, CHUNK))
            quiet = 0 if self.seen() != before else quiet + 1

    @contextlib.contextmanager
    def load(self, frame: bytes, count: int = CHUNK, pace_s: float = 0.0) -> Iterator[list[tuple[float, float]]]:
        """Send frames from another thread until the context is left: *count* at once, with a pause between.

        Yields the times since the epoch at which each such number of them began and ended.
        """
        stop, times_s = threading.Event(), list[tuple[float, float]]()

        def run() -> None:
            while not stop.wait(pace_s):
                begun_s = time.time()
                self.send(frame, count)
                times_s.append((begun_s, time.time()))

        thread = threading.Thread(target=run, name="source")
        thread.start()
        try:
            yield times_s
        finally:
            stop.set()
            thread.join()

    def sent(self) -> int:
        """Return how many frames left the source."""
        return int(self._bpf["next"][ctypes.c_int(0)].value)

    def seen(self) -> int:
        """Return how many frames reached the sink."""
        return int(self._bpf["seen"][ctypes.c_int(0)].value)

    def close(self) -> None:
        """Free the programs; the devices go with their namespace."""
        for other in self._others:
            other.close()
        self._bpf.cleanup()


@contextlib.contextmanager
def wire(**flags: int) -> Iterator[Wire]:
    """Make the namespace and be inside it."""
    with Net() as net:
        net.add(NAMESPACE)
        net.veth((NAMESPACE, "source"), (NAMESPACE, "n3"))
        net.veth((NAMESPACE, "n6"), (NAMESPACE, "sink"))
        with inside(net.path(NAMESPACE)):
            made = Wire(net, flags)
            try:
                yield made
            finally:
                made.close()
