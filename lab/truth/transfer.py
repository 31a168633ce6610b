"""A download over TLS on TCP, from both ends, with the kernel's own readings of the connection (TCP_INFO).

    python -m lab.truth.transfer --netns PATH --role far|ue --here IP --name HOST --choices JSON --seconds S \
        --go FILE --truth FILE --ca PEM [--key PEM]

The sender may pace itself, the receiver may read slowly, the application may ask for pieces with pauses between:
each is a limit that is not the network's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from typing import Any

from lab.net import child_of_the_lab
from lab.wait import wait_until

__all__ = ["main", "reading"]

_PORT, _EVERY_S, _BLOCK = 443, 0.1, 1 << 14
# struct tcp_info, include/uapi/linux/tcp.h: tcpi_rtt at 68 with tcpi_rttvar, tcpi_rcv_rtt at 92, tcpi_total_retrans at
# 100, tcpi_bytes_acked at 120 with tcpi_bytes_received, tcpi_min_rtt at 148.
_LAYOUT = struct.Struct("=68xII16xI4xI16xQQ12xI")


def reading(connection: socket.socket) -> dict[str, Any]:
    """Return the kernel's readings of now, times in ms; raises OSError when the connection is gone."""
    data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAYOUT.size)
    rtt, deviation, received_rtt, again, acked, received, least = _LAYOUT.unpack(data)
    return {
        "t": round(time.time(), 4),
        "rtt_ms": rtt / 1e3,
        "deviation_ms": deviation / 1e3,
        "receiver_rtt_ms": received_rtt / 1e3,
        "min_rtt_ms": least / 1e3 if least != 0xFFFF_FFFF else None,
        "sent_again": again,
        "acked": acked,
        "received": received,
    }


def _read(connection: socket.socket, into: list[dict[str, Any]], stop: threading.Event) -> None:
    while not stop.wait(_EVERY_S):
        with contextlib.suppress(OSError):
            into.append(reading(connection))


def _serve(args: argparse.Namespace, choices: dict[str, Any], said: list[dict[str, Any]]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(args.ca, args.key)
    block, pace = bytes(_BLOCK), float(choices.get("server_bps", 0)) / 8
    with socket.create_server((args.here, _PORT)) as listener:
        Path(f"{args.truth}.ready").touch()
        raw, _ = listener.accept()
        stop = threading.Event()
        meter = threading.Thread(target=_read, args=(raw.dup(), said, stop))
        meter.start()
        with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
            while request := connection.recv(4096):
                left, begun, sent = int(request.split()[1]), time.monotonic(), 0
                while left > 0:
                    sent += connection.send(block[:left])
                    left -= min(_BLOCK, left)
                    if pace:
                        time.sleep(max(0.0, begun + sent / pace - time.monotonic()))
        stop.set()
        meter.join()


def _fetch(args: argparse.Namespace, choices: dict[str, Any], said: list[dict[str, Any]], pieces: list[Any]) -> None:
    context = ssl.create_default_context(cafile=args.ca)
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    slow = float(choices.get("reader_bps", 0)) / 8
    if slow:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
    raw.settimeout(20)
    raw.connect((args.here, _PORT))
    stop = threading.Event()
    meter = threading.Thread(target=_read, args=(raw.dup(), said, stop))
    meter.start()
    end = time.monotonic() + args.seconds
    with contextlib.suppress(OSError), context.wrap_socket(raw, server_hostname=args.name) as connection:
        while (begun := time.monotonic()) < end:
            octets, got = int(choices["piece_bytes"]), 0
            head = f"GET {octets} HTTP/1.1 host: {args.name} "
            connection.sendall(head.encode() + b"x" * (400 - len(head)))
            wall = time.time()
            while got < octets and time.monotonic() < end:
                got += len(connection.recv(_BLOCK))
                if slow:
                    time.sleep(max(0.0, begun + got / slow - time.monotonic()))
            pieces.append({"begin": wall, "end": time.time(), "octets": got, "whole": got == octets})
            time.sleep(float(choices.get("pause_s", 0)))
    stop.set()
    meter.join()


def main() -> None:
    """Run until the connection ends, write the account, and wait for SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option in ("--netns", "--role", "--here", "--name", "--choices", "--go", "--truth", "--ca"):
        parser.add_argument(option, required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    child_of_the_lab(args.netns)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    choices, said, pieces = json.loads(args.choices), list[dict[str, Any]](), list[Any]()
    if args.role == "far":
        _serve(args, choices, said)
    else:
        Path(f"{args.truth}.ready").touch()
        wait_until(Path(args.go).exists, "the set begins", 60)
        _fetch(args, choices, said, pieces)
    Path(args.truth).write_text(json.dumps({"readings": said, "pieces": pieces}), encoding="ascii")
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
