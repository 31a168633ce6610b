"""The addresses that receive tunnels, by the numbers that entries of the session table have for them."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from nf.abi import ENDPOINT_PLACE
from nf.kernel import syscall
from nf.kernel.addresses import address_bytes
from nf.kernel.source import ENDPOINTS

__all__ = ["Endpoints"]


class Endpoints:
    """Numbers of the addresses that receive tunnels; 1 and up, for as long as a tunnel has one.

    Above it an entry of the map has the place of a gNB, for which echoes that it answers are counted.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._numbers: dict[str, int] = {}
        self._names = [""] * (ENDPOINTS + 1)
        self._uses = np.zeros(ENDPOINTS + 1, np.int64)
        self._places = [0] * (ENDPOINTS + 1)
        self._free = deque(range(1, ENDPOINTS + 1))  # the one that was left last is used last

    def known(self, address: str) -> int:
        """Return the number of an address, 0 when it has none."""
        return self._numbers.get(address, 0)

    def number(self, address: str) -> int:
        """Return the number of an address, which gets one now if there is any; 0: all are in use."""
        number = self._numbers.get(address)
        if number is not None:
            return number
        if not self._free:
            return 0
        number = self._numbers[address] = self._free.popleft()
        self._names[number] = address
        self._write(number, 0)
        return number

    def put_place(self, address: str, place: int) -> bool:
        """Give an address that has a number a place, 0 for none; return whether it has one."""
        number = self.known(address)
        if number and self._places[number] != place:
            self._write(number, place)
        return number > 0

    def _write(self, number: int, place: int) -> None:
        self._places[number] = place
        word = np.array([number | place << ENDPOINT_PLACE], np.uint32)
        syscall.update_batch(self._fd, _address_key(self._names[number]), word)

    def use(self, numbers: NDArray[np.uint32]) -> None:
        """Count tunnels that came."""
        np.add.at(self._uses, numbers, 1)

    def leave(self, numbers: NDArray[np.uint32]) -> None:
        """Count tunnels that went; an address without any has no number any more."""
        np.subtract.at(self._uses, numbers, 1)
        for number in np.unique(numbers).tolist():
            if self._uses[number] == 0:
                address = self._names[number]
                syscall.delete_batch(self._fd, _address_key(address))
                del self._numbers[address]
                self._free.append(number)

    def clear(self) -> None:
        """Forget all, also what another process wrote."""
        syscall.clear(self._fd, np.dtype("V16"), np.dtype(np.uint32))
        self.__init__(self._fd)  # type: ignore[misc]


def _address_key(address: str) -> NDArray[np.void]:
    return np.frombuffer(address_bytes(address), "V16")
