"""Programs and maps that the previous process left in this network namespace.

They are found by the descriptors that a service manager kept, else by their names in the BPF file system, else by the
numbers of the programs on interfaces, which takes CAP_SYS_ADMIN. Those of a process count only where one of its
programs is on an interface that no living process holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from nf.errors import SnfError
from nf.kernel import bpffs, links, manager, objects, pins

__all__ = ["PREFIX", "Left", "close", "maps_of"]

PREFIX = "snf_"  # of the names of our programs


def maps_of(program: int) -> dict[str, int]:
    """Return descriptors of the maps of a loaded program by name, those of its tail calls included.

    The caller closes them. Empty when the program is gone, or without CAP_SYS_ADMIN.
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
                close([opened])
                continue
            found[name] = opened
            if name == "next_program":
                todo += [p for p in objects.programs_in(opened) if p not in seen]
        os.close(fd)
    return found


def close(fds: Iterable[int]) -> None:
    """Close descriptors; negative ones are none."""
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _unattended() -> list[links.Link]:
    """Return the interfaces that carry a program and belong to no living process of ours."""
    try:
        return [link for link in links.links() if link.xdp_program and not links.claimed(link)]
    except SnfError:  # an attach will say why
        return []


def _programs(fds: Mapping[str, int]) -> set[int]:
    """Return the numbers of the programs among descriptors."""
    return {objects.program_info(fd).id for name, fd in fds.items() if name.startswith(PREFIX)}


class Left:
    """The programs of the previous process. ``folder``: the names of this data plane, of that process or new."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()  # of its programs that are still on interfaces
        on_links = {link.xdp_program for link in _unattended()}
        self._kept = _programs(manager.given()) & on_links

        def is_ours(folder: pins.Folder) -> bool:
            fds = folder.open()
            ours = _programs(fds) & on_links
            self.numbers |= ours
            close(fds.values())
            return bool(ours)

        bpffs.sweep()
        self.folder = pins.claim(is_ours)
        self._named = bool(self.numbers)
        self.numbers |= self._kept
        self.knows_names = bool(self.numbers)  # of all maps, not only of those that programs on interfaces lead to

    def finds(self) -> list[dict[str, int]]:
        """Return the maps by name, in one dictionary for each way by which some were found, the surest first.

        The caller closes them.
        """
        ways = []
        if self._kept:
            ways.append({name: os.dup(fd) for name, fd in manager.given().items()})
        if self._named and self.folder:
            ways.append(self.folder.open())
        for found in ways:
            close([found.pop(name) for name in list(found) if name.startswith(PREFIX)])
        return ways or self._by_number()

    def _by_number(self) -> list[dict[str, int]]:
        for link in _unattended():
            fd = objects.open_program(link.xdp_program)
            ours = fd >= 0 and objects.program_info(fd).name.startswith(PREFIX)
            close([fd])
            if ours:
                self.numbers.add(link.xdp_program)
                if maps := maps_of(link.xdp_program):
                    return [maps]
        return []

    def has(self, number: int) -> bool:
        """Say whether a program is one that a process of ours left behind."""
        if number in self.numbers:
            return True
        fd = objects.open_program(number)
        name = objects.program_info(fd).name if fd >= 0 else ""
        close([fd])
        return name.startswith(PREFIX)
