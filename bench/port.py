"""A port with traffic on it, and what each packet costs the processors: a veth pair in a namespace of its own.

Frames are in kernel memory (`bench.feed`). A program cuts each to its IP length and redirects it into the pair, by live
test runs; so a sender costs 300 ns a packet, and no socket is in its way. Who receives them does so in the softirq of
the sender's thread. Therefore the processor time of a packet is that of this thread, of the CPU's ksoftirqd and of the
receiver's processes, less the same with a program that drops (`Port.dropping`): what is left is the receiver's.

The sender has the first of two CPUs, receivers both. The thread that enters the port is in its namespace until it
leaves, and so are the processes that it starts.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import platform
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench import rig, traffic
from bench.feed import Feed
from bench.ours import Capture
from lab.net import Net, inside
from nf.kernel import xdp

__all__ = ["CPUS", "DEVICE", "Port", "Sent", "run_ns", "tree"]

CPUS = rig.CPUS[-2:]
DEVICE, _FAR = "m0", "g0"
_CALL_S, _LEAST, _MOST = 0.08, 1024, 131_072  # length of a call, and frames: each costs 15 ms of re-arming beside them
_TEXT = """
struct turn { u64 number; u64 copies; };
BPF_ARRAY(turns, struct turn, 1);

/* Make the packet one of another subscriber's, cut it to its length, and put it on the wire. Each copy of a frame is of
 * UES subscribers further on; the PDU type (TS 38.415, 5.5.2) says on which side the UE is. */
int wire(struct xdp_md *ctx)
{
	u8 *h = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 zero = 0, add;
	struct turn *turn = turns.lookup(&zero);
	int length;
	u32 *ue;

	if (!turn || h + 82 > end)
		return XDP_ABORTED;
	add = (u32)(turn->number % (turn->copies ?: 1)) * UES;
	turn->number++;
	*(u32 *)(h + 46) = bpf_htonl(bpf_ntohl(*(u32 *)(h + 46)) + add);
	ue = (u32 *)(h + (h[55] >> 4 ? 70 : 74));
	*ue = bpf_htonl(bpf_ntohl(*ue) + add);
	length = 14 + (h[16] << 8 | h[17]);
	if (length < 60)
		length = 60;
	bpf_xdp_adjust_tail(ctx, length - (int)(end - h));
	return bpf_redirect(IFINDEX, 0);
}

int drop(struct xdp_md *ctx) { return XDP_DROP; }
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """One span of traffic."""

    packets: int  # that arrived at the port
    seconds: float
    cpu_ns: int  # of the sender's thread and the softirq

    @property
    def pps(self) -> float:
        """Packets a second that arrived."""
        return self.packets / self.seconds


def run_ns(task: Path) -> int:
    """Return the nanoseconds that a task (a folder of /proc) has run; 0 when it is gone."""
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def tree(pid: int) -> list[Path]:
    """Return all tasks of a process and of its descendants."""
    out = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            out.append(task)
            for child in (task / "children").read_text().split():
                out += tree(int(child))
    return out


def _ksoftirqd(cpu: int) -> Path:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().strip() == f"ksoftirqd/{cpu}":
                return comm.parent
    raise RuntimeError(f"ksoftirqd/{cpu} is not seen from here, so the softirq's time cannot be counted.")


def _irq_time_apart() -> bool:
    """Say whether a softirq's time is not that of the thread that it interrupts (CONFIG_IRQ_TIME_ACCOUNTING)."""
    for file, read in (("/proc/config.gz", gzip.open), (f"/boot/config-{platform.release()}", open)):
        with contextlib.suppress(OSError), read(file, "rt") as config:
            return "CONFIG_IRQ_TIME_ACCOUNTING=y" in config.read()
    return False


class Port:
    """A port that gets *capture*, each frame ``copies`` times, each time of other subscribers.

    ``DEVICE`` is the device where frames arrive. Leaving the context removes everything.
    """

    def __init__(self, capture: Capture) -> None:
        self.frames, self.copies = len(capture.frames), 1
        self._capture = capture
        self._stack = contextlib.ExitStack()
        self._next = 0  # run of the feed

    def __enter__(self) -> Port:
        with contextlib.ExitStack() as stack:
            net = stack.enter_context(Net())
            net.add("port")
            net.veth(("port", _FAR), ("port", DEVICE))
            net.run("port", "ethtool", "-K", DEVICE, "gro", "on")  # or frames that are redirected have no NAPI
            net.ip("port", f"link set {DEVICE} promisc on")
            stack.enter_context(inside(net.path("port")))
            stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            os.sched_setaffinity(0, CPUS[:1])
            self._softirq, self._apart = _ksoftirqd(CPUS[0]), _irq_time_apart()
            self._index = socket.if_nametoindex(DEVICE)
            self._feed = Feed(self._capture.frames, self._capture.lengths)
            stack.callback(self._feed.close)
            flags = [f"-DIFINDEX={socket.if_nametoindex(_FAR)}", f"-DUES={traffic.UES}"]
            bpf = rig.bcc()(text=_TEXT, cflags=flags)
            stack.callback(bpf.cleanup)
            self._turns = bpf["turns"]
            self._wire, self._drop = rig.load(bpf, "wire"), rig.load(bpf, "drop")
            for fd in (self._wire, self._drop):
                stack.callback(os.close, fd)
            self._stack = stack.pop_all()
        self.rewind()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def rewind(self, copies: int = 1) -> None:
        """Begin anew with the first frame, and with so many copies of each."""
        self._next, self.copies = 0, copies
        self._feed.aim(self._wire, copies=copies)
        self._turns[self._turns.Key(0)] = self._turns.Leaf(0, copies)

    @contextlib.contextmanager
    def dropping(self) -> Iterator[None]:
        """Have a program on the port that drops every frame."""
        refused = xdp.set_program(self._index, self._drop, xdp.DRIVER)
        if refused:
            raise RuntimeError(f"The port takes no program: {refused}.")
        try:
            yield
        finally:
            xdp.set_program(self._index, -1, xdp.DRIVER)

    def arrived(self) -> int:
        """Return the frames that the port has received, whoever took them."""
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            name, _, fields = line.partition(":")
            if name.strip() == DEVICE:
                return int(fields.split()[1])
        raise RuntimeError(f"{DEVICE} is not there any more.")

    def _cpu_ns(self) -> int:
        apart = 0
        if self._apart:
            line = next(x for x in Path("/proc/stat").read_text().splitlines() if x.startswith(f"cpu{CPUS[0]} "))
            apart = int(line.split()[7]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return time.thread_time_ns() + run_ns(self._softirq) + apart

    def send(self, frames: int, pps: float) -> Sent:
        """Send the next *frames* frames of the capture, each with its copies, at *pps* packets a second in all.

        A sender that cannot keep up sends as fast as it can: `Sent.pps` says.
        """
        call = min(max(round(pps * _CALL_S), _LEAST), _MOST)
        end, first = self._next + frames * self.copies, self._next
        if end > self.frames * self.copies:
            raise ValueError(f"The capture has {self.frames} frames only.")
        before, cpu_ns, begun = self.arrived(), self._cpu_ns(), time.monotonic()
        while self._next < end:
            now = min(call, end - self._next)
            self._feed.send(now)
            self._next += now
            time.sleep(max(0.0, begun + (self._next - first) / pps - time.monotonic()))
        took = time.monotonic() - begun
        return Sent(self.arrived() - before, took, self._cpu_ns() - cpu_ns)

    def listens(self) -> bool:
        """Say whether somebody has a packet socket on the port."""
        sockets = [line.split() for line in Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]]
        return any(int(fields[4]) == self._index for fields in sockets)
