"""The work that the filter of one request may cost, so that no request takes a processor from the others."""

from __future__ import annotations

import time
from collections.abc import Callable

from mgmt.netconf.rpcerror import RpcError

__all__ = ["Budget"]

_LOOK_EVERY = 256  # checks between two looks at whether somebody waits


class Budget:
    """Nodes of a filter, and seconds of a processor, counted from `begin`; a busy machine makes nothing too much.

    *gone* says that nobody waits for the answer. Of one thread.
    """

    NODES = 1000
    SECONDS = 1.0

    def __init__(self, gone: Callable[[], bool] = lambda: False) -> None:
        self._gone, self._checks = gone, 0
        self._until_s = time.thread_time() + self.SECONDS

    def nodes(self, number: int) -> None:
        """Raise RpcError (too-big) when a filter has more nodes than are allowed."""
        if number > self.NODES:
            said = f"The filter has more than {self.NODES} nodes. Ask in parts, or for a node above them."
            raise RpcError("too-big", said, kind="protocol", info=[("bad-element", "filter")])

    def check(self) -> None:
        """Raise RpcError (resource-denied) when the time of this thread is over or nobody waits; cheap."""
        self._checks += 1
        if self._checks % _LOOK_EVERY == 0:
            self.look()
        if time.thread_time() > self._until_s:
            raise self.over()

    def look(self) -> None:
        """Raise RpcError (resource-denied) when nobody waits."""
        if self._gone():
            raise RpcError("resource-denied", "The session has ended.", kind="protocol")

    def over(self) -> RpcError:
        """Return the error of a filter that costs too much."""
        said = f"The filter takes more than {self.SECONDS:g} s of a processor. Ask for less at a time."
        return RpcError("resource-denied", said, kind="protocol", info=[("bad-element", "filter")])
