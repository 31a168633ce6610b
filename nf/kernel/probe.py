"""What this kernel can do, found by doing it: small programs, a map, an attach on a device of our own."""

from __future__ import annotations

import os
import subprocess

from nf.kernel import source

__all__ = ["bcc_origin", "native_xdp", "program"]

_PROGRAM = """
BPF_RINGBUF_OUTPUT(ring, 1);
BPF_TABLE("lru_hash", u64, u64, table, 16);
int probe(struct xdp_md *ctx) {
    u64 key = 0, *value = table.lookup(&key);
    u64 *record = ring.ringbuf_reserve(8);
    if (record) { *record = value ? *value : 0; ring.ringbuf_submit(record, 0); }
    return XDP_PASS;
}
"""


def bcc_origin() -> str:
    """Return where bcc comes from, "other" when the module of that name is another project's, "" when there is none."""
    try:
        import bcc
    except ImportError:
        return ""
    return os.path.dirname(bcc.__file__) if hasattr(bcc, "BPF") else "other"


def program() -> str:
    """Compile and load a program with a ring buffer through the header shim; return "" or what failed."""
    source.use_shim()
    from bcc import BPF

    with source.captured_stderr() as log:
        try:
            b = BPF(text=_PROGRAM)
        except Exception as error:
            return f"does not compile: {source.last_line(log) or error}"
        try:
            b.load_func("probe", BPF.XDP)
        except Exception as error:
            return f"is refused: {source.last_line(log) or error}"
        finally:
            b.cleanup()
    return ""


def _ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


def native_xdp() -> str:
    """Attach a program natively to a veth device made for it; return "" or what failed."""
    name, peer = f"snfp{os.getpid() % 100_000}a", f"snfp{os.getpid() % 100_000}b"
    if not _ip("link", "add", name, "type", "veth", "peer", "name", peer):
        return "no veth device can be made"
    try:
        source.use_shim()
        from bcc import BPF

        with source.captured_stderr() as log:
            b = BPF(text=_PROGRAM)
            try:
                BPF.attach_xdp(name, b.load_func("probe", BPF.XDP), 4)
                BPF.remove_xdp(name, 4)
            except Exception as error:
                return source.last_line(log) or str(error)
            finally:
                b.cleanup()
        return ""
    finally:
        _ip("link", "del", name)
