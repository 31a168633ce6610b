"""Tunnels and UE addresses for the kernel's tables in columns; a row is an object only for who asks for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtp.events import Side
from gtp.packing import ipv4_number, ipv4_text
from nf.kernel.addresses import address_bytes, address_text
from nf.kernel.changes import PutTunnel, PutUe

__all__ = ["TunnelColumns", "UeColumns"]

Words = NDArray[np.uint32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TunnelColumns:
    """Rows of `PutTunnel`, no two of one tunnel.

    ``address`` is the place in ``addresses`` of the receiving address; IPv4 addresses of UEs are numbers, IPv6 ones
    sixteen bytes, with the length of the prefix, 0 of a whole address.
    """

    addresses: list[str]
    address: NDArray[np.intp]
    teid: Words
    down: Mask
    session: Words
    has_ipv4: Mask
    ue_ipv4: Words
    has_ipv6: Mask
    ue_ipv6: NDArray[np.uint8]  # (rows, 16)
    ue_ipv6_length: NDArray[np.uint8]
    routed: Mask

    def __len__(self) -> int:
        return len(self.teid)

    def __iter__(self) -> Iterator[PutTunnel]:
        columns = (self.address, self.teid, self.down, self.session, self.has_ipv4, self.ue_ipv4, self.routed)
        for row, (address, teid, down, session, has4, ipv4, routed) in enumerate(
            zip(*(c.tolist() for c in columns), strict=True)
        ):
            side = Side.DOWNLINK if down else Side.UPLINK
            ue4 = ipv4_text(ipv4) if has4 else ""
            yield PutTunnel(self.addresses[address], teid, side, session, ue4, self._ipv6(row), routed)

    def _ipv6(self, row: int) -> str:
        if not self.has_ipv6[row]:
            return ""
        length = int(self.ue_ipv6_length[row])
        return address_text(self.ue_ipv6[row].tobytes()) + (f"/{length}" if length else "")

    @classmethod
    def of(cls, rows: Iterable[PutTunnel]) -> TunnelColumns:
        """Return the columns of rows; the last word about a tunnel counts."""
        data = list({(row.address, row.teid): row for row in rows}.values())
        places: dict[str, int] = {}
        prefixes = [row.ue_ipv6.partition("/") for row in data]
        whole = b"".join(address_bytes(host) if host else bytes(16) for host, _, _ in prefixes)
        return cls(
            address=np.array([places.setdefault(row.address, len(places)) for row in data], np.intp),
            addresses=list(places),
            teid=np.array([row.teid for row in data], np.uint32),
            down=np.array([row.side is Side.DOWNLINK for row in data], np.bool_),
            session=np.array([row.session for row in data], np.uint32),
            has_ipv4=np.array([bool(row.ue_ipv4) for row in data], np.bool_),
            ue_ipv4=np.array([ipv4_number(row.ue_ipv4 or "") or 0 for row in data], np.uint32),
            has_ipv6=np.array([bool(row.ue_ipv6) for row in data], np.bool_),
            ue_ipv6=np.frombuffer(whole, np.uint8).reshape(-1, 16),
            ue_ipv6_length=np.array([int(length or 0) for _, _, length in prefixes], np.uint8),
            routed=np.array([row.routed for row in data], np.bool_),
        )

    @classmethod
    def together(cls, parts: list[TunnelColumns]) -> TunnelColumns:
        """Return the rows of all parts, which have the same ``addresses``."""
        if not parts:
            return cls.of(())
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in cls.__slots__
            if name != "addresses"
        }
        return cls(addresses=parts[0].addresses, **joined)

    def at(self, which: NDArray[Any]) -> TunnelColumns:
        """Return some rows."""
        some: dict[str, Any] = {name: getattr(self, name)[which] for name in self.__slots__ if name != "addresses"}
        return TunnelColumns(addresses=self.addresses, **some)


@dataclass(frozen=True, slots=True)
class UeColumns:
    """Rows of `PutUe` of IPv4 addresses as numbers; ``instance`` is the place of a name in ``instances``."""

    instances: list[str]
    instance: NDArray[np.intp]
    ipv4: Words
    session: Words

    def __len__(self) -> int:
        return len(self.ipv4)

    def __iter__(self) -> Iterator[PutUe]:
        for instance, ipv4, session in zip(
            *(c.tolist() for c in (self.instance, self.ipv4, self.session)), strict=True
        ):
            yield PutUe(self.instances[instance], ipv4_text(ipv4), session)

    @classmethod
    def none(cls) -> UeColumns:
        """Return no rows."""
        return cls([], np.zeros(0, np.intp), np.zeros(0, np.uint32), np.zeros(0, np.uint32))
