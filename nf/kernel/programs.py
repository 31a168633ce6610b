"""The compiled programs and their maps: made anew, taken over from a process that died, swapped under traffic.

bcc compiles, once (compiled.py). Maps are made and programs loaded here, because programs must be bound to maps that
are already there: so a running data plane gets new programs without losing an entry of a map, and a new process gets
a running data plane.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nf.abi import (
    NEXT_ANSWERS,
    NEXT_DNS,
    NEXT_HANDOFF,
    NEXT_MEDIA,
    NEXT_MONITOR,
    NEXT_NAME,
    NEXT_OUTER,
    NEXT_SUFFIX,
    NEXT_TLS,
)
from nf.errors import SnfError, Unsupported
from nf.kernel import manager, objects, source
from nf.kernel.compiled import Code, Compiled, MapDefinition, compiled
from nf.kernel.left import PREFIX, Left, close, maps_of
from nf.kernel.maps import Map, possible_cpus
from nf.settings import Limits

__all__ = ["SENT", "TAILS", "Program", "Programs", "takes_frags"]

SENT = "snf_tx_"  # of those on what ports send, which are the others compiled once more
TAILS = {
    NEXT_HANDOFF: "snf_handoff",
    NEXT_TLS: "snf_tls",
    NEXT_DNS: "snf_dns",
    NEXT_MONITOR: "snf_monitor",
    NEXT_NAME: "snf_name",
    NEXT_SUFFIX: "snf_suffix",
    NEXT_ANSWERS: "snf_answers",
    NEXT_OUTER: "snf_outer",
    NEXT_MEDIA: "snf_media",
}
_NEXT, _NEXT_SENT = "next_program", "next_egress"  # the arrays of tail calls
_AT_TRACEPOINTS = {"snf_sent", "snf_refused", "snf_stuck"}  # the others are for XDP
_ABI = "control"  # the map whose value holds the number of the ABI
_TABLE = "flows"  # a map that every data plane has
_ARRAY_OF_MAPS, _DEVMAP = 12, 14  # enum bpf_map_type
_SET_BY_THE_KERNEL = 1 << 7  # BPF_F_RDONLY_PROG: a device map has it, and may not ask for it


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded program."""

    name: str
    fd: int


class Programs:
    """One set of programs and maps. ``taken_over``: the maps are those of a process that died.

    *alone*: they are for a trial, which neither takes over nor leaves anything.
    """

    def __init__(self, limits: Limits, *, replay: bool, alone: bool = False) -> None:
        self._limits, self._replay = limits, replay
        self.frags = takes_frags()
        self.abi = source.abi(limits, replay=replay) ^ self.frags
        self._compiled: Compiled = compiled(self._flags())
        self._definitions = _sized(self._compiled, source.table_sizes(limits))
        self._loaded: dict[str, Program] = {}
        self._tails: dict[str, int] = {}
        self._left = None if replay or alone else Left()
        self._held = False
        self._fds = self._find(self._left) if self._left else {}
        self.taken_over = bool(self._fds)
        try:
            self.maps = {name: self._map(definition) for name, definition in self._definitions.items()}
            self.rings = self._rings()
        except Exception:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Free what was made before the kernel had no more: who tries with smaller tables needs the memory."""
        close(self._fds.values())
        self._fds = {}
        if self._left is not None and self._left.folder is not None:
            self._left.folder.release()

    def _flags(self) -> list[str]:
        return source.flags(replay=self._replay) + (["-DXDP_FRAGS"] if self.frags else [])

    def _with_sent(self, build: Compiled) -> Compiled:
        """Return a build with the programs on what ports send, which few sites need, beside it."""
        sent = compiled([*source.flags(replay=self._replay), "-DEGRESS"])
        renamed = {
            SENT + name.removeprefix(PREFIX): Code(
                code.instructions, {row: _NEXT_SENT if used == _NEXT else used for row, used in code.maps.items()}
            )
            for name, code in sent.programs.items()
        }
        return Compiled({**build.programs, **renamed}, build.maps)

    def _need_sent(self) -> None:
        if not any(name.startswith(SENT) for name in self._compiled.programs):
            self._compiled = self._with_sent(self._compiled)
            self.maps |= {name: self._map(d) for name, d in self._definitions.items() if name == _NEXT_SENT}

    # -- left by the previous process --------------------------------------

    def _find(self, left: Left) -> dict[str, int]:
        """Return the maps of a data plane that runs in this network namespace without its process, by name.

        Empty when there is none, or when its maps are not those that this code would make.
        """
        ways = left.finds()
        fits = next((found for found in ways if self._fits(found, whole=left.knows_names)), {})
        for found in ways:
            if found is not fits:
                close(found.values())
        return fits

    def is_left(self, number: int) -> bool:
        """Say whether a program is one that a process of ours left behind."""
        return self._left is not None and self._left.has(number)

    def shares_maps(self, number: int) -> bool:
        """Say whether a program works on the maps of this data plane."""
        if self.taken_over and self._left is not None and number in self._left.numbers:
            return True
        maps = maps_of(number)
        ours = _ABI in maps and objects.map_info(maps[_ABI]).id == objects.map_info(self.maps[_ABI].fd).id
        close(maps.values())
        return ours

    def _fits(self, maps: Mapping[str, int], *, whole: bool) -> bool:
        """Say whether the maps that were found are those that this code would make; *whole*: and all of them."""
        for name, fd in maps.items():
            if name.startswith("ring_"):
                continue
            made = self._definitions.get(name)
            if made is None or objects.map_info(fd).shape != (
                made.kind,
                made.key.itemsize,
                made.value.itemsize,
                made.entries,
            ):
                return False
        if not ({_ABI, _TABLE} <= maps.keys() and self._abi_of(maps[_ABI]) == self.abi):
            return False
        # A process that was killed while it named them has left some without a name.
        return not whole or self._compiled.used | set(self._ring_names()) <= maps.keys()

    def _abi_of(self, control: int) -> int:
        key = np.zeros(1, np.uint32)
        return int(objects.read_element(control, key, self._definitions[_ABI].value)["abi"][0])

    def hold(self) -> None:
        """Keep maps and programs beyond this process, from the first attach on.

        They get names in the BPF file system, and a service manager gets their descriptors.
        """
        if self._left is None:
            return
        fds = {name: each.fd for name, each in self.maps.items() if each.fd >= 0}
        fds |= zip(self._ring_names(), (fd for of_kind in self.rings for fd in of_kind), strict=True)
        fds |= {name: program.fd for name, program in self._loaded.items()}
        if self._left.folder is not None:
            if not self._held and not self.taken_over:
                self._left.folder.clear()
            self._left.folder.pin(fds)
        self._held = True
        manager.keep(fds)

    def _ring_names(self) -> list[str]:
        kinds = range(len(source.ring_sizes(1)))
        return [f"ring_{kind}_{at}" for kind in kinds for at in range(source.rings(replay=self._replay))]

    # -- maps --------------------------------------------------------------

    def _map(self, definition: MapDefinition) -> Map:
        """Return a map that was found, or make it; one that no program uses carries its types only."""
        name = definition.name
        if name in self._compiled.used and name not in self._fds:
            inner = _make(self._definitions[definition.inner]) if definition.inner else 0
            self._fds[name] = _make(definition, inner)
            close([inner] if definition.inner else [])
        fd = self._fds.get(name, -1)
        return Map(name, fd, definition.kind, definition.entries, definition.key, definition.value)

    def _rings(self) -> tuple[tuple[int, ...], ...]:
        """Return descriptors of the rings of each kind of record (``enum snf_ring``), which are made where none are.

        The array has a place for each CPU, up to RINGS_MOST; where there are fewer rings, CPUs share them.
        """
        outer, count = self.maps["rings"].fd, source.rings(replay=self._replay)
        places = range(min(possible_cpus(), source.RINGS_MOST))
        kinds = []
        for kind, size in enumerate(source.ring_sizes(count)):
            fds = [self._ring(outer, kind, at, size) for at in range(count)]
            for place in () if self.taken_over else places:
                objects.put_inner(outer, kind * source.RINGS_MOST + place, fds[place % count])
            kinds.append(tuple(fds))
        return tuple(kinds)

    def _ring(self, outer: int, kind: int, at: int, size: int) -> int:
        """Return the ring of the previous process, by name or by number, else a new one."""
        fd = self._fds.pop(f"ring_{kind}_{at}", -1)
        if fd < 0 and self.taken_over:
            number = objects.inner_map(outer, kind * source.RINGS_MOST + at)
            fd = objects.open_map(number) if number else -1
        return fd if fd >= 0 else objects.make_map("ring", objects.RINGBUF, 0, 0, size)

    # -- programs ----------------------------------------------------------

    def load(self, name: str, tail: int | None = None) -> Program:
        """Load a program once; *tail*: its place in the array of tail calls."""
        if name not in self._loaded:
            if name.startswith(SENT):
                self._need_sent()
            self._loaded[name] = self._load(self._compiled, name)
            if self._held:
                self.hold()
        if tail is not None:
            self._tails[name] = tail
            self._set_tail(name, self._loaded[name])
        return self._loaded[name]

    def _load(self, build: Compiled, name: str) -> Program:
        code = self._bound(build.programs[name])
        try:
            return Program(name, objects.load_program(name, code, *self._flags_and_kind(name)))
        except objects.Refused as why:
            raise Unsupported(f"The kernel refused the program {name}: {why}.", "Run: snf doctor") from None

    def _flags_and_kind(self, name: str) -> tuple[int, int]:
        if name in _AT_TRACEPOINTS:
            return 0, objects.RAW_TRACEPOINT
        if name.startswith(SENT):
            return 0, objects.SCHED_CLS
        return objects.HAS_FRAGS if self.frags else 0, objects.XDP

    def _bound(self, code: Code) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """Return the instructions of a program with the descriptors of our maps."""
        bound = code.instructions.copy()
        for row, name in code.maps.items():
            bound["immediate"][row] = self.maps[name].fd
        return bound

    def _set_tail(self, name: str, program: Program) -> None:
        self.maps[_NEXT_SENT if name.startswith(SENT) else _NEXT].put(self._tails[name], program.fd)

    def swap(self) -> None:
        """Load the programs of the present sources on the maps in use; tail calls change one by one, none is empty.

        An interface keeps its old program until it is attached anew. Raises Unsupported and changes nothing when a
        program does not compile or load, or when the sources have other structs and maps than the running programs.
        """
        if source.abi(self._limits, replay=self._replay) ^ self.frags != self.abi:
            raise Unsupported("The new programs have other tables than the running ones.", "Restart the function.")
        build = compiled(self._flags())
        if any(name.startswith(SENT) for name in self._loaded):
            build = self._with_sent(build)
        fresh: dict[str, Program] = {}
        try:
            for name in self._loaded:
                fresh[name] = self._load(build, name)
        except SnfError:
            close(program.fd for program in fresh.values())
            raise
        self._compiled = build
        old, self._loaded = self._loaded, fresh
        for name in self._tails:
            self._set_tail(name, fresh[name])
        if self._held:
            self.hold()
        close(program.fd for program in old.values())

    def verify(self) -> dict[str, objects.Verified]:
        """Load every program once more and return the verifier's figures; raises Unsupported when it refuses one."""
        said = {}
        self._need_sent()
        for name, code in self._compiled.programs.items():
            try:
                said[name] = objects.verified(name, self._bound(code), *self._flags_and_kind(name))
            except objects.Refused as why:
                raise Unsupported(f"The kernel refuses the program {name}: {why}.", "") from None
        return said

    def close(self, *, leave_behind: bool = False) -> None:
        """Free programs and maps that nothing else holds; *leave_behind*: keep all that the previous process left."""
        if self._left is not None:
            if self._held or not leave_behind:
                manager.forget()
                if self._left.folder is not None:
                    self._left.folder.clear()
            if self._left.folder is not None:
                self._left.folder.release()
        close(program.fd for program in self._loaded.values())
        close(fd for kind in self.rings for fd in kind)
        close(self._fds.values())
        self._loaded, self._fds, self.rings = {}, {}, ()


def _sized(build: Compiled, sizes: Mapping[str, int]) -> dict[str, MapDefinition]:
    """Return the definitions with the sizes of this site."""
    sent = [replace(build.maps[_NEXT], name=_NEXT_SENT)] if _NEXT in build.maps else []
    return {d.name: replace(d, entries=sizes.get(d.name, d.entries)) for d in (*build.maps.values(), *sent)}


def _make(definition: MapDefinition, inner: int = 0) -> int:
    flags = definition.flags & ~_SET_BY_THE_KERNEL if definition.kind == _DEVMAP else definition.flags
    sizes = (definition.key.itemsize, definition.value.itemsize)
    if definition.kind == objects.RINGBUF:
        sizes = (0, 0)
    try:
        return objects.make_map(definition.name, definition.kind, *sizes, definition.entries, flags, inner)
    except OSError as why:
        remedy = {
            errno.ENOMEM: "Lower limits/flows and limits/sessions, or give it more memory.",
            errno.EMFILE: "Let the process have more open files.",
        }.get(why.errno or 0, "Lower the limits of flows and sessions, or run: snf doctor")
        said = (
            f"The kernel does not make the table {definition.name} of {definition.entries:,} entries: {why.strerror}."
        )
        raise Unsupported(said, remedy) from None


def takes_frags() -> bool:
    """Say whether the kernel takes a program that reads frames of several buffers and their length (Linux 5.18)."""
    code = np.zeros(3, objects.INSTRUCTION)
    code["code"] = 0x85, 0xB7, 0x95  # call, r0 = immediate, exit
    code["immediate"] = 188, 2, 0  # bpf_xdp_get_buff_len, XDP_PASS
    try:
        os.close(objects.load_program("frags", code, objects.HAS_FRAGS))
    except objects.Refused:
        return False
    return True
