"""The leavings of a function that died, taken back: programs, promiscuous mode, offloads, names.

A killed function goes on in the kernel by design, and the next start takes it over. This is for who does not want to
start it again. What was so before is in the lock of each interface (`nf.kernel.links`), which lasts until a reboot.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nf.errors import AttachRefused, Unsupported
from nf.kernel import bpffs, devices, links, objects, sent, tags, xdp
from nf.kernel.pairs import restore_far_end

__all__ = ["Taken", "detach"]

_PREFIX = "snf_"  # of the names of our programs


@dataclass(frozen=True, slots=True)
class Taken:
    """The things that were taken back from an interface, or from a folder of names."""

    place: str
    what: tuple[str, ...]


def detach(names: Sequence[str]) -> list[Taken]:
    """Take back what dead functions left on the named interfaces, on all of this namespace when there is no name.

    Raises SnfError before anything is changed when a named interface is not there, is held by a living function or
    carries somebody else's program, or when this user cannot tell whose it is.
    """
    here = links.links()
    found = {link.name: link for link in here}
    for name in names:
        if name not in found:
            raise links.NotThere(f"No interface has the name {name}.", "List them with: ip -brief link")
    chosen = [found[name] for name in dict.fromkeys(names)] if names else here
    ours = [link for link in chosen if _is_left(link, named=bool(names))]
    taken = [Taken(link.name, what) for link in ours if (what := tuple(_take(link)))]
    return [*taken, *(Taken(str(path), (said,)) for path, said in _clear_names())]


def _is_left(link: links.Link, *, named: bool) -> bool:
    """Say whether a dead function left something on an interface."""
    if links.claimed(link):
        if named:
            links.refuse_claimed(link)
        return False
    if not link.xdp_program:
        return bool(sent.on_it(link)) or links.noted(link)
    about = _about(link)
    if not about.name.startswith(_PREFIX):
        if named:
            said = (
                f"Interface {link.name} carries the XDP program {about.name} ({about.id}), which is not the function's."
            )
            raise AttachRefused(said, "Whoever put it there takes it off.")
        return bool(sent.on_it(link)) or links.noted(link)
    if (holder := _holder(about.id)) is not None:
        if named:
            raise AttachRefused(f"Interface {link.name} is in use by another snf (process {holder}).", "Stop it first.")
        return False
    return True


def _about(link: links.Link) -> objects.ProgramInfo:
    """Return what the kernel says of the XDP program on an interface. Raises Unsupported when it does not."""
    program = objects.open_program(link.xdp_program)
    if program < 0:
        raise Unsupported(f"The program on {link.name} cannot be looked at.", "Run the command as root.")
    try:
        return objects.program_info(program)
    finally:
        os.close(program)


def _holder(program: int) -> int | None:
    """Return a living process that holds a program. A service manager keeps those of the dead, and does not count."""
    wanted = f"prog_id:\t{program}"
    for path in Path("/proc").glob("[0-9]*/fdinfo/*"):
        process = int(path.parts[2])
        if process in (1, os.getpid()):
            continue
        with contextlib.suppress(OSError):
            if wanted in path.read_text().splitlines():
                return process
    return None


def _take(link: links.Link) -> Iterator[str]:
    """Take all back from an interface, and tell each thing that was."""
    lock = links.claim(link)
    try:
        if link.xdp_program and _about(link).name.startswith(_PREFIX):
            why = xdp.set_program(link.ifindex, -1, xdp.GENERIC if link.xdp_generic else xdp.DRIVER)
            if why:
                raise AttachRefused(f"The program on {link.name} cannot be taken off: {why}.", "Run it as root.")
            yield f"XDP program {link.xdp_program} ({'generic' if link.xdp_generic else 'native'})"
        number = sent.on_it(link)
        sent.end(lock, link)
        if number:
            yield f"program {number} on what it sends"
        if links.set_promiscuous(link, False):
            yield "promiscuous mode"
        yield from _changed(
            lambda: devices.rx_vlan(link.name), lambda: tags.restore(lock, link), "VLAN offload, on again"
        )
        far = links.far_end(link)
        if far:
            yield from _changed(
                lambda: devices.gro(far), lambda: restore_far_end(lock, link), f"GRO of {far}, off again"
            )
    finally:
        links.release(lock)


def _changed(state: Callable[[], bool], change: Callable[[], None], said: str) -> Iterator[str]:
    before = state()
    change()
    if state() is not before:
        yield said


def _clear_names() -> Iterator[tuple[Path, str]]:
    """Take the names of programs and maps away that no living function has, and that are on no interface."""
    namespace = os.stat("/proc/self/ns/net").st_ino
    attached = {link.xdp_program for link in links.links() if link.xdp_program}
    for folder in bpffs.folders(namespace):
        lock = bpffs.lock(folder)
        if lock is None:
            continue
        names = sorted(path.name for path in folder.iterdir())
        if not attached & {_number(folder / name) for name in names if name.startswith(_PREFIX)}:
            bpffs.clear(folder)
            yield folder, f"{len(names)} names of programs and maps"
        bpffs.release(folder, lock)


def _number(path: Path) -> int:
    fd = objects.open_pin(path)
    if fd < 0:
        return 0
    try:
        return objects.program_info(fd).id
    finally:
        os.close(fd)
