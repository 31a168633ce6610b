"""Rows of the book whose server was asked for its application, and the numbers by which they are found again.

A row is due when it is new, when its name changed, and when what is known of its server, or of the neighbourhood of
that, changed (`nf.naming.servers`). Both have a number here, a hash: rows of another server with an equal number are
asked in vain. What an interval costs for a million rows of which none is due is one comparison of a column.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_NUMBER", "NEVER", "Asked"]

_DUE = 0
NEVER = 1  # the number of rows that have no need to ask while their name stays
LEAST_NUMBER = 2  # of a server

_LOW = 0xFFFF


class Asked:
    """The numbers of the server (0: to be asked) and of its neighbourhood of each row, in so many rows of *room*."""

    def __init__(self, room: int) -> None:
        self._server, self._around = np.zeros(room, np.uint32), np.zeros(room, np.uint16)

    def note(self, rows: NDArray[np.intp], server: NDArray[np.uint32], around: NDArray[np.uint16]) -> None:
        """Record rows that were asked for."""
        self._server[rows], self._around[rows] = server, around

    def never(self, rows: NDArray[np.intp]) -> None:
        """Record rows that have no need to ask."""
        self._server[rows] = NEVER

    def again(self, rows: NDArray[np.intp] | slice) -> None:
        """Have rows asked for again."""
        self._server[rows] = _DUE

    def due(self, size: int, servers: NDArray[np.uint32], around: NDArray[np.uint16]) -> NDArray[np.intp]:
        """Return which of the first *size* rows are due; the numbers of *servers* and of what is *around* changed."""
        server = self._server[:size]
        due = server == _DUE
        if len(servers):
            table = np.zeros(_LOW + 1, np.bool_)
            table[servers & np.uint32(_LOW)] = True
            perhaps = np.flatnonzero(table[server & np.uint32(_LOW)])
            due[perhaps] |= np.isin(server[perhaps], servers)
        if len(around):
            table = np.zeros(_LOW + 1, np.bool_)
            table[around] = True
            due |= table[self._around[:size]] & (server != NEVER)
        return np.flatnonzero(due)

    # -- the rows move -------------------------------------------------------

    def grow(self, more: int) -> None:
        """Make room for more rows."""
        self._server = np.concatenate([self._server, np.zeros(more, np.uint32)])
        self._around = np.concatenate([self._around, np.zeros(more, np.uint16)])

    def keep(self, first: int, stays: NDArray[np.bool_]) -> None:
        """Move those of the rows from *first* on that stay together."""
        for column in (self._server, self._around):
            kept = column[first : first + len(stays)][stays]
            column[first : first + len(kept)] = kept
