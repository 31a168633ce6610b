"""The compiled programs and their maps: made anew, taken over from a process that died, swapped under traffic.

bcc compiles and makes maps. Programs are loaded here, because bcc can neither bind them to maps that are already
there nor flag them: each map of the compiled code is replaced by the map of the same name that is in use. So a
running data plane gets new programs without losing an entry of a map, and a new process gets a running data plane.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nf.errors import SnfError, Unsupported
from nf.kernel import links, objects, source
from nf.settings import Limits

__all__ = ["PREFIX", "Program", "Programs", "maps_of", "takes_frags"]

PREFIX = "snf_"  # of the names of our programs
_AT_TRACEPOINTS = {"snf_sent", "snf_refused", "snf_stuck"}  # the others are for XDP
_LOAD_MAP, _MAP_FD = 0x18, 1  # BPF_LD | BPF_IMM | BPF_DW; BPF_PSEUDO_MAP_FD in the source register
_SITE_SIZED = "flows"  # the large map, of which a second one is not made even for a moment
_ABI = "control"  # the map whose value holds the number of the ABI


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded program."""

    name: str
    fd: int


def maps_of(program: int) -> dict[str, int]:
    """Return descriptors of the maps of a loaded program by name, those of its tail calls included.

    The caller closes them. Empty when the program is gone.
    """
    found: dict[str, int] = {}
    todo, seen = [program], set()
    while todo:
        number = todo.pop()
        fd = objects.open_program(number)
        seen.add(number)
        if fd < 0:
            continue
        for map_number in objects.program_info(fd).maps:
            opened = objects.open_map(map_number)
            name = objects.map_info(opened).name if opened >= 0 else ""
            if opened < 0 or name in found:
                _close([opened])
                continue
            found[name] = opened
            if name == "next_program":
                todo += [p for p in objects.programs_in(opened) if p not in seen]
        os.close(fd)
    return found


def _close(fds: list[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _find() -> dict[str, int]:
    """Return the maps of a data plane that runs in this network namespace without its process."""
    try:
        candidates = [link for link in links.links() if link.xdp_program and not links.claimed(link)]
    except SnfError:  # an attach will say why
        return {}
    for link in candidates:
        fd = objects.open_program(link.xdp_program)
        ours = fd >= 0 and objects.program_info(fd).name.startswith(PREFIX)
        _close([fd])
        if ours and (maps := maps_of(link.xdp_program)):
            return maps
    return {}


class Programs:
    """One set of programs and maps. ``taken_over``: the maps are those of a process that died."""

    def __init__(self, limits: Limits, *, replay: bool) -> None:
        self._BPF = _bcc()
        self._limits, self._replay = limits, replay
        self.frags = takes_frags()
        self.abi = source.abi(limits, replay=replay) ^ self.frags
        self._loaded: dict[str, Program] = {}
        self._tails: dict[str, int] = {}
        found = {} if replay else _find()
        self.bpf = self._compile(small=bool(found))
        self.taken_over = bool(found) and self._fits(found)
        if self.taken_over:
            for name, fd in found.items():  # bcc's descriptor is from now on one of the map that was found
                os.dup2(fd, self.bpf[name].map_fd, inheritable=False)
        elif found:
            self.bpf.cleanup()
            self.bpf = self._compile(small=False)
        _close(list(found.values()))
        self.rings = self._rings()

    # -- maps --------------------------------------------------------------

    def _fits(self, maps: Mapping[str, int]) -> bool:
        """Say whether the maps that were found are those that this code would make."""
        for name, fd in maps.items():
            try:
                made = objects.map_info(self.bpf[name].map_fd).shape
            except KeyError:
                return False
            found = objects.map_info(fd).shape
            if name == _SITE_SIZED:
                made = (*made[:3], self._limits.flows)
            if made != found:
                return False
        missing = {_ABI, _SITE_SIZED} - maps.keys()
        return not missing and self._abi_of(maps[_ABI]) == self.abi

    def _rings(self) -> tuple[tuple[int, ...], ...]:
        """Return descriptors of the rings of each kind of record (``enum snf_ring``), which are made where none are."""
        outer, count = self.bpf["rings"].map_fd, source.rings(replay=self._replay)
        sizes = source.ring_sizes(count)
        fds = []
        for slot, number in enumerate(objects.maps_in(outer)):
            fd = objects.open_map(number) if number else -1
            if fd < 0:
                fd = objects.make_ring("ring", sizes[slot // count])
                objects.put_inner(outer, slot, fd)
            fds.append(fd)
        return tuple(tuple(fds[kind * count : (kind + 1) * count]) for kind in range(len(sizes)))

    def _abi_of(self, control: int) -> int:
        value = np.dtype(self.bpf[_ABI].Leaf)
        key = np.zeros(1, np.uint32)
        return int(objects.read_element(control, key, value)["abi"][0])

    # -- programs ----------------------------------------------------------

    def _compile(self, *, small: bool) -> Any:
        flags = source.flags(self._limits, replay=self._replay, flows=64 if small else 0)
        if self.frags:
            flags.append("-DXDP_FRAGS")
        with source.captured_stderr() as said:
            try:
                return self._BPF(text=source.text(), cflags=flags)
            except Exception as error:  # bcc raises bare Exception
                raise Unsupported(
                    f"The kernel programs or their maps cannot be made: {source.last_line(said) or error}.",
                    "Run: snf doctor",
                ) from None

    def load(self, name: str, tail: int | None = None) -> Program:
        """Load a program once; *tail*: its place in the array of tail calls."""
        if name not in self._loaded:
            self._loaded[name] = self._load(self.bpf, name)
        if tail is not None:
            self._tails[name] = tail
            self._set_tail(name, self._loaded[name])
        return self._loaded[name]

    def _load(self, compiled: Any, name: str) -> Program:
        code = np.frombuffer(compiled.dump_func(name.encode()), objects.INSTRUCTION).copy()
        is_map = (code["code"] == _LOAD_MAP) & (code["registers"] >> 4 == _MAP_FD)
        fds: Mapping[int, int] = {
            int(fd): self._in_use(objects.map_info(int(fd)).name, int(fd))
            for fd in np.unique(code["immediate"][is_map])
        }
        code["immediate"][is_map] = [fds[int(fd)] for fd in code["immediate"][is_map]]
        try:
            if name in _AT_TRACEPOINTS:
                return Program(name, objects.load_program(name, code, kind=objects.RAW_TRACEPOINT))
            return Program(name, objects.load_program(name, code, objects.HAS_FRAGS if self.frags else 0))
        except objects.Refused as why:
            raise Unsupported(f"The kernel refused the program {name}: {why}.", "Run: snf doctor") from None

    def _in_use(self, name: str, made: int) -> int:
        try:
            return int(self.bpf[name].map_fd)
        except KeyError:
            return made

    def _set_tail(self, name: str, program: Program) -> None:
        table = self.bpf["next_program"]
        table[table.Key(self._tails[name])] = table.Leaf(program.fd)

    def swap(self) -> None:
        """Compile again and load every program anew on the maps in use; tail calls change one by one, none is empty.

        What is attached keeps its old program until it is attached anew. Raises Unsupported and changes nothing when a
        program does not compile or load, or when the sources have other structs and maps than what runs.
        """
        if source.abi(self._limits, replay=self._replay) ^ self.frags != self.abi:
            raise Unsupported("The new programs have other tables than the running ones.", "Restart the function.")
        compiled = self._compile(small=True)
        fresh: dict[str, Program] = {}
        try:
            for name in self._loaded:
                fresh[name] = self._load(compiled, name)
        except SnfError:
            _close([program.fd for program in fresh.values()])
            raise
        finally:
            compiled.cleanup()
        old, self._loaded = self._loaded, fresh
        for name in self._tails:
            self._set_tail(name, fresh[name])
        _close([program.fd for program in old.values()])

    def close(self) -> None:
        """Free programs and maps that nothing else holds."""
        _close([program.fd for program in self._loaded.values()])
        _close([fd for kind in self.rings for fd in kind])
        self._loaded = {}
        self.bpf.cleanup()


def _bcc() -> Any:
    source.use_shim()
    try:
        from bcc import BPF
    except ImportError:
        raise Unsupported("bcc is not installed.", "Run: apt-get install python3-bpfcc") from None
    if not hasattr(BPF, "load_func"):
        raise Unsupported(
            "The module bcc is another project's.", "Run: pip uninstall bcc; apt-get install python3-bpfcc"
        )
    return BPF


def takes_frags() -> bool:
    """Try a program that takes frames of several buffers and asks for their length (Linux 5.18)."""
    code = np.zeros(3, objects.INSTRUCTION)
    code["code"] = 0x85, 0xB7, 0x95  # call, r0 = immediate, exit
    code["immediate"] = 188, 2, 0  # bpf_xdp_get_buff_len, XDP_PASS
    try:
        os.close(objects.load_program("frags", code, objects.HAS_FRAGS))
    except objects.Refused:
        return False
    return True
