"""The data plane: compiled programs, their maps, the interfaces they sit on.

It has three faces, `Attach`, `Tell` and `Ask`; most callers need one of them only. This and its
neighbours are the only modules that know bcc. Addresses go in as text and come out as the 16 bytes of the ABI; records
come out as numpy structures whose types bcc derived from the C.

A live data plane is attached to interfaces; a replayed one (``replay=True``) runs the same programs
on frames that it is given, at the times it is given.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from nf.abi import FLOW_READER
from nf.kernel import syscall
from nf.kernel.addresses import address_bytes, address_text
from nf.kernel.ask import Ask
from nf.kernel.attach import EVERY_WAY, Attach
from nf.kernel.maps import Map
from nf.kernel.objects import Verified
from nf.kernel.paths import Path
from nf.kernel.ports import Attached, load_role
from nf.kernel.programs import TAILS, Program
from nf.kernel.tell import Tell
from nf.settings import Encapsulation, Limits, Mode, Role

__all__ = ["MAX_FRAME", "Attached", "DataPlane", "Path", "address_bytes", "address_text"]

MAX_FRAME = 3400  # of a test run: a page less head room and shared info (net/bpf/test_run.c)

_CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h; time has no name for it
_LOOPBACK = 1  # interface index that a test run without a context shows to the program
_REPLAYED = (1, 0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x27D4_EB2F_1656_67C5)  # odd
_READER = FLOW_READER & -FLOW_READER  # the first of its three values


class DataPlane(Attach, Tell, Ask):
    """Programs and maps of one function; ``close()`` detaches and frees everything."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        replay: bool = False,
        split_legs: bool = False,
        tails_later: bool = False,
    ) -> None:
        """Make or take over the tables. *tails_later*: `load_tails` is called once ports are attached."""
        limits = limits or Limits()
        super().__init__(limits, replay=replay)
        self.first_session = 1  # numbers below are those of a process that died
        self._runs: dict[Role | None, syscall.TestRun] = {}
        self._tails_loaded = False
        if not tails_later:
            self.load_tails()
        if self.taken_over:
            self._take_over()
        else:
            self._begin(split_legs)
        if not replay:
            self.limit_unknown(limits)
        if replay:
            self.take_test_runs()

    def _begin(self, split_legs: bool) -> None:
        self._control["abi"] = self._programs.abi
        self._control["next_flow"] = self._control["epoch"] = self._control["first_session"] = 1
        self._control["split_legs"] = split_legs
        self._control["sees"] = EVERY_WAY if self._replay else 0
        self._control["buckets"] = len(self._maps["sessions"])
        self._control["flow_buckets"] = len(self._maps["flow_buckets"])
        self._control["detail_sets"] = len(self._maps["detail_sets"])
        # A replay gives the same rows each time.
        self._control["flow_hash"] = _REPLAYED if self._replay else [secrets.randbits(64) for _ in _REPLAYED]
        self._control["seed"] = 0 if self._replay else secrets.randbits(32)
        self._control["reader"] = _READER
        self.set_policies({})
        self._measure_tick()

    def _take_over(self) -> None:
        """Take over the tables of a process that died: its session numbers end, its flows are told once more."""
        flows = self.read_flows()[1]
        used = [int(flows["session"].max(initial=0)), int(self._control["first_session"][0])]
        used.append(self.sessions.largest())
        self.first_session = max(used) + 1
        # Before the tables are empty: a flow whose session is not found and is none of a dead process would begin anew.
        self._control["first_session"] = self.first_session
        self.sessions.clear()
        self.routes.clear()
        self.histograms.clear()
        self.set_gateways({})
        self._spent_instances = int(self._maps["ports"].read()[1]["instance"].max())
        self.tell_again()
        self.new_generation()

    def tell_again(self) -> None:
        """Make the programs tell of each flow once more, with its next packet: its reader is another."""
        self._control["reader"] = self._control["reader"] % FLOW_READER + _READER

    def mapped(self) -> dict[str, Map]:
        """Return the maps that other processes may map as well: flow table, details of media flows, control page."""
        return {name: self._maps[name] for name in ("flow_buckets", "flows", "detail_sets", "details", "control")}

    @property
    def replayed(self) -> bool:
        """Say whether frames and times are given, and no packet passes by itself."""
        return self._replay

    # -- programs ---------------------------------------------------------

    def _load(self, name: str, tail: int | None = None) -> Program:
        return self._programs.load(name, tail)

    def load_tails(self) -> None:
        """Load the programs that read names, hand payloads over and copy packets, unless they are loaded."""
        if self._tails_loaded:
            return
        for slot, name in TAILS.items():
            self._load(name, tail=slot)
        self._tails_loaded = True

    def verify(self) -> Mapping[str, Verified]:
        """Return what the verifier says of each program; raises Unsupported when it refuses one."""
        return self._programs.verify()

    def swap(self) -> None:
        """Compile the programs again and put them in the place of the running ones: no packet and no count is lost.

        Raises Unsupported, and everything stays as it was, when the kernel refuses one of them.
        """
        with self._changing:
            self._programs.swap()
            self._runs.clear()
            self._ports.renew()

    def _measure_tick(self) -> None:
        """Tell the programs how long a tick of the kernel is and what time one had (clock.h)."""
        length_ns = time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1e9  # TICK_NSEC
        ask = syscall.TestRun(self._load("snf_tick").fd, 64)
        readings = []
        for _ in range(3):  # the time is that of the next tick when one falls between number and time
            ask(bytes(14))
            readings.append((int(self._control["tick"][0]), int(self._control["tick_ns"][0])))
        tick, at_ns = min(readings, key=lambda r: r[1] - r[0] * length_ns)
        self._control["tick"], self._control["tick_at_us"] = tick, at_ns // 1000 & 0xFFFF_FFFF
        self._control["tick_us_q20"] = round(length_ns / 1000 * (1 << 20))

    def take_test_runs(self) -> None:
        """Count test runs of the programs as packets of a mirrored interface; without, they are a stranger's."""
        self.set_test_port(Mode.MIRROR, Encapsulation.every())

    def set_test_port(self, mode: Mode, opens: Encapsulation) -> None:
        """Set the mode of the port of test runs, and the encapsulations that are read through on it."""
        self._ports.take_test_runs(_LOOPBACK, mode, opens)

    def program(self, role: Role | None) -> int:
        """Return the file descriptor of the program of *role* (None: any)."""
        return load_role(self._programs, role).fd

    def run(self, frame: bytes, at_ns: int, role: Role | None = None, wire: int = 0) -> int:
        """Replay: run the program of *role* (None: any) on an Ethernet frame of 14 to MAX_FRAME bytes.

        *wire* is how many bytes it had before the capture, or this limit, cut it.
        Returns the XDP action. Raises OSError when the kernel refuses the frame.
        """
        self._clock[0] = at_ns
        self._wire_length[0] = wire
        run = self._runs.get(role)
        if run is None:
            run = self._runs[role] = syscall.TestRun(self.program(role), MAX_FRAME + 64)
        return run(frame)

    def close(self, *, leave_behind: bool = False) -> None:
        """Detach everything and free programs and maps; *leave_behind*: keep all that the previous process left."""
        for name in list(self.attached):
            self.detach(name)
        if not leave_behind:
            self.release_left_behind()
        self._ports.redirects.close()
        self.free(leave_behind=leave_behind)
