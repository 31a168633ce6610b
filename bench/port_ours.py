"""Our function on a port, for the bench: the service itself, with the sessions of the mixed capture's subscribers.

python -m bench.port_ours DEVICE COPIES     COPIES times the subscribers; each line that it reads is answered with its
                                            counters, as one line; it ends with its standard input, or at SIGTERM
python -m bench.port_ours --consume         a consumer of all that it publishes
"""

from __future__ import annotations

import json
import signal
import sys
import threading

import zmq

from bench import captures, traffic
from nf.service import Service
from nf.settings import Export, Interface, Limits, Role, Settings

_FLOWS = 32_768  # of the table, for each copy: three times those of the dense capture


def _consume() -> None:
    socket = zmq.Context().socket(zmq.SUB)
    socket.subscribe(b"")
    socket.connect(Export().endpoint)
    while True:
        socket.recv_multipart()


def _serve(device: str, copies: int) -> None:
    limits = Limits(flows=_FLOWS * max(4, copies), sessions=4 * traffic.UES * max(4, copies))
    settings = Settings(
        interfaces=(Interface(device, Role.N3),), sessions=captures.sessions_of(traffic.UES * copies), limits=limits
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # through the service's end, which leaves the port as it was
    with Service() as service:
        service.apply(Settings(), settings)
        threading.Thread(target=service.run, name="run", daemon=True).start()
        print("ready", flush=True)
        for _ in sys.stdin:
            # The heartbeat publishes this number, and nothing in the function asks for it.
            answer = service.plane.read_counters() | {"intervals": service.publisher._intervals}
            print(json.dumps(answer), flush=True)
        service.stop()


if __name__ == "__main__":
    if sys.argv[1] == "--consume":
        _consume()
    _serve(sys.argv[1], int(sys.argv[2]))
