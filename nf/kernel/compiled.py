"""Compiled programs as a value: instructions, maps and types, made by bcc once and kept in a file.

The result depends on the sources, the flags, the architecture and the version of bcc, and on nothing of the running
kernel, which the header shim keeps out. So programs that one machine compiled load on another one, after an update of
its kernel, and where there is no bcc at all. The file is read only when its owner is this user or root, nobody else
could have written it, and its checksum is right; else the programs are compiled anew.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import importlib.util
import json
import logging
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.errors import Unsupported
from nf.kernel import objects, source

__all__ = ["Code", "Compiled", "MapDefinition", "compile_programs", "compiled"]

log = logging.getLogger(__name__)

_FORMAT = 1  # of the file: another one is another name
_KEPT = 16  # files of a folder: versions and variants of the programs that are in use beside each other, and more
_LOAD_MAP, _MAP_FD = 0x18, 1  # BPF_LD | BPF_IMM | BPF_DW; BPF_PSEUDO_MAP_FD in the source register
_WRITABLE_BY_OTHERS = 0o022
_SHIPPED = source.BPF_DIR / "compiled"  # of a package or an image that brings them


@dataclass(frozen=True, slots=True)
class MapDefinition:
    """A map as the sources define it; the site may give it another number of entries."""

    name: str
    kind: int  # enum bpf_map_type
    entries: int
    flags: int
    key: np.dtype[Any]
    value: np.dtype[Any]
    inner: str = ""  # of an array of maps: the map whose shape its maps have


@dataclass(frozen=True, slots=True)
class Code:
    """Instructions of a program, rows of INSTRUCTION, and the map that each load of a map means, by row."""

    instructions: NDArray[np.void]
    maps: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Compiled:
    """All programs and map definitions of one build."""

    programs: Mapping[str, Code]
    maps: Mapping[str, MapDefinition]

    @property
    def used(self) -> set[str]:
        """Names of the maps that programs use; the others carry types only."""
        return {name for code in self.programs.values() for name in code.maps.values()}


# -- the file --------------------------------------------------------------


def _dump_type(dtype: np.dtype[Any]) -> Any:
    if dtype.subdtype:
        base, shape = dtype.subdtype
        return [_dump_type(base), list(shape)]
    if dtype.fields is None or dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [_dump_type(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
    }


def _load_type(dumped: Any) -> np.dtype[Any]:
    if isinstance(dumped, str):
        return np.dtype(dumped)
    if isinstance(dumped, list):
        return np.dtype((_load_type(dumped[0]), tuple(dumped[1])))
    fields: Any = {**dumped, "formats": [_load_type(each) for each in dumped["formats"]]}
    made: np.dtype[Any] = np.dtype(fields)
    return made


def _dump(build: Compiled) -> bytes:
    content = {
        "maps": [
            {
                "name": m.name,
                "kind": m.kind,
                "entries": m.entries,
                "flags": m.flags,
                "key": _dump_type(m.key),
                "value": _dump_type(m.value),
                "inner": m.inner,
            }
            for m in build.maps.values()
        ],
        "programs": {
            name: {
                "instructions": base64.b64encode(code.instructions.tobytes()).decode(),
                "maps": [[row, used] for row, used in code.maps.items()],
            }
            for name, code in build.programs.items()
        },
    }
    body = json.dumps(content).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _parse(raw: bytes) -> Compiled:
    """Return what `_dump` wrote; raises ValueError when it is damaged."""
    checksum, _, body = raw.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise ValueError("its checksum is wrong")
    content = json.loads(body)
    maps = [
        MapDefinition(**{**m, "key": _load_type(m["key"]), "value": _load_type(m["value"])}) for m in content["maps"]
    ]
    programs = {
        name: Code(
            np.frombuffer(base64.b64decode(p["instructions"]), objects.INSTRUCTION),
            {int(row): str(used) for row, used in p["maps"]},
        )
        for name, p in content["programs"].items()
    }
    return Compiled(programs, {m.name: m for m in maps})


def _read(path: Path) -> Compiled | None:
    """Return the programs of a file that can be trusted, None when there is none."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & _WRITABLE_BY_OTHERS:
                log.warning("%s is not read: others can write it", path)
                return None
            return _parse(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as why:
        log.warning("%s is not read, the programs are compiled anew: %s", path, why)
        return None


def _write(path: Path, build: Compiled) -> None:
    """Write the file at once or not at all, and drop the oldest ones; an OSError is logged, and costs a compilation."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(_dump(build))
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)  # a full disk stays as full as it was
            raise
        by_age = sorted(path.parent.glob("*.snf"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in by_age[_KEPT:]:
            old.unlink(missing_ok=True)
    except OSError as why:
        log.warning("the compiled programs cannot be kept in %s: %s", path.parent, why.strerror)


def folder() -> Path:
    """Return the folder of compiled programs: SNF_CACHE, else the cache folder of the system or of the user."""
    if told := os.environ.get("SNF_CACHE"):
        return Path(told)
    if os.geteuid() == 0:
        return Path("/var/cache/supernetflow")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "supernetflow"


def _bcc_version() -> str:
    """Return the version of bcc, read without loading it; "" when there is none."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        spec = importlib.util.find_spec("bcc")
        if spec and spec.origin:
            text = (Path(spec.origin).parent / "version.py").read_text()
            found = re.search(r"__version__ *= *['\"]([\w.+~-]+)['\"]", text)
            return found[1] if found else "unknown"
    return ""


def _files(flags: Sequence[str]) -> Iterator[Path]:
    """Yield the files that may hold these programs; they are written to the first one."""
    what = "\0".join([str(_FORMAT), platform.machine(), *flags, source.text()])
    name, bcc = hashlib.sha256(what.encode()).hexdigest()[:32], _bcc_version()
    if bcc:
        yield folder() / f"{name}-bcc{bcc}.snf"
        yield _SHIPPED / f"{name}-bcc{bcc}.snf"
        return
    for place in (folder(), _SHIPPED):  # nothing can be compiled here: a file of any version will do
        yield from sorted(place.glob(f"{name}-bcc*.snf"))


def compiled(flags: Sequence[str]) -> Compiled:
    """Return the programs of these compiler flags, from the file that has them or compiled now.

    Raises Unsupported with the compiler's words.
    """
    places = list(_files(flags))
    for place in places:
        if (build := _read(place)) is not None:
            return build
    build = compile_programs(source.text(), flags)
    if places:
        _write(places[0], build)
    return build


# -- the compiler ----------------------------------------------------------


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


def compile_programs(text: str, flags: Sequence[str]) -> Compiled:
    """Compile C by bcc, which also makes its maps for a moment; raises Unsupported with the compiler's last words."""
    bpf_class = _bcc()
    from bcc.libbcc import lib

    with source.captured_stderr() as said:
        try:
            made = bpf_class(text=text, cflags=list(flags))
        except Exception as error:  # bcc raises bare Exception
            raise Unsupported(
                f"The kernel programs or their maps cannot be made: {source.reason(said) or error}.",
                "Run: snf doctor",
            ) from None
    try:
        inner = dict(re.findall(r'BPF_ARRAY_OF_MAPS\((\w+), "(\w+)"', text))
        lib.bpf_table_name.restype, lib.bpf_table_name.argtypes = ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_size_t)
        tables = range(lib.bpf_num_tables(ctypes.c_void_p(made.module)))
        names = [lib.bpf_table_name(made.module, number).decode() for number in tables]
        maps = {name: _definition(name, made[name], inner.get(name, "")) for name in names}
        fds = {int(made[name].map_fd): name for name in names}
        functions = [lib.bpf_function_name(made.module, n) for n in range(lib.bpf_num_functions(made.module))]
        return Compiled({name.decode(): _code(made.dump_func(name), fds) for name in functions}, maps)
    finally:
        made.cleanup()


def _definition(name: str, table: Any, inner: str) -> MapDefinition:
    info = objects.map_info(table.map_fd)
    value = np.dtype(table.Leaf)
    if value.itemsize > info.value_bytes:  # of a per-CPU map bcc gives the values of all CPUs
        value = value.base
    return MapDefinition(name, info.kind, info.entries, info.flags, np.dtype(table.Key), value, inner)


def _code(dumped: bytes, fds: Mapping[int, str]) -> Code:
    """Return a program whose map descriptors are names."""
    code = np.frombuffer(dumped, objects.INSTRUCTION).copy()
    rows = np.flatnonzero((code["code"] == _LOAD_MAP) & (code["registers"] >> 4 == _MAP_FD))
    maps = {int(row): fds[int(code["immediate"][row])] for row in rows}
    code["immediate"][rows] = 0
    return Code(code, maps)
