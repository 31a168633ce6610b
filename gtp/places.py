"""Places of subscribers, as elements of several protocols tell them: radio access technology, tracking area, cell.

Texts are ``MCC-MNC-ID`` with the identity in hexadecimal digits. How many there are says what it is: a tracking area
has four in EPS and six in 5GS, a cell seven (E-UTRA), nine (NR), or eight: a location area before a cell (CGI) or a
service area (SAI) of GERAN and UTRAN. An element that makes no sense says nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from gtp.codec import BadValue, CodecError, Reader, untbcd
from gtp.events import NOWHERE, Place

__all__ = [
    "PLACE_BYTES", "RAT_NAMES",
    "area_text", "cell_text", "newest", "packed", "rat_name", "read_geographic", "read_uli", "told", "unpacked",
    "words",
]  # fmt: skip

# Names of TS 29.571 (RatType) by the numbers of TS 29.274, 8.17. TS 29.060 (7.7.50) has the first six. HSPA evolution
# is a UTRAN, and GAN has no name there.
_RATS = {
    1: "UTRA", 2: "GERA", 3: "WLAN", 5: "UTRA", 6: "EUTRA", 7: "VIRTUAL", 8: "NBIOT", 9: "LTE-M", 10: "NR",
    11: "WB_E_UTRAN_LEO", 12: "WB_E_UTRAN_MEO", 13: "WB_E_UTRAN_GEO", 14: "WB_E_UTRAN_OTHERSAT",
    15: "NB_IOT_LEO", 16: "NB_IOT_MEO", 17: "NB_IOT_GEO", 18: "NB_IOT_OTHERSAT",
    19: "LTE_M_LEO", 20: "LTE_M_MEO", 21: "LTE_M_GEO", 22: "LTE_M_OTHERSAT",
}  # fmt: skip
_OF_NGAP = ("TRUSTED_N3GA", "TRUSTED_WLAN", "WIRELINE")
RAT_NAMES = tuple(dict.fromkeys(("", *_RATS.values(), *_OF_NGAP)))
"""All names, in the order of their numbers at rest, which files keep over an upgrade: new ones go behind these."""

_PLMN_BYTES = 3


def rat_name(number: int) -> str:
    """Return the name of a RAT type, "" of one without a name."""
    return _RATS.get(number, "")


# -- texts ------------------------------------------------------------------


@lru_cache(1024)
def _plmn(raw: bytes) -> str:
    """Return MCC-MNC (TS 24.008, 10.5.1.13); raises BadValue for a nibble that is no digit."""
    mcc = untbcd(bytes([raw[0], raw[1] | 0xF0]))
    third = raw[1] >> 4
    mnc = untbcd(raw[2:] if third == 0xF else bytes([raw[2], third | 0xF0]))
    if len(mcc) != 3 or len(mnc) not in (2, 3):
        raise BadValue("a network has three digits of a country, and two or three of its own", 0)
    return f"{mcc}-{mnc}"


def area_text(plmn: bytes, tac: bytes) -> str:
    """Return the text of a tracking area; raises BadValue."""
    return f"{_plmn(plmn)}-{tac.hex()}"


def cell_text(plmn: bytes, number: int, bits: int) -> str:
    """Return the text of a cell whose identity has so many *bits*; raises BadValue."""
    return f"{_plmn(plmn)}-{number & (1 << bits) - 1:0{bits // 4}x}"


# -- elements -----------------------------------------------------------------


def _read_area(r: Reader) -> str:
    return area_text(r.take(_PLMN_BYTES), r.take(2))


def _read_area_5g(r: Reader) -> str:
    return area_text(r.take(_PLMN_BYTES), r.take(3))


def _read_eutra(r: Reader) -> str:
    return cell_text(r.take(_PLMN_BYTES), r.uint(4), 28)


def _read_nr(r: Reader) -> str:
    return cell_text(r.take(_PLMN_BYTES), r.uint(5) >> 4, 36)  # the spare bits are the last ones


def _read_2g_3g(r: Reader) -> str:
    return cell_text(r.take(_PLMN_BYTES), r.uint(4), 32)


_Part = tuple[str, Callable[[Reader], str]]
_CGI_SAI: _Part = ("cell", _read_2g_3g)
_TAI, _ECGI = ("tai", _read_area), ("cell", _read_eutra)
_TAI_5G, _NCGI = ("tai", _read_area_5g), ("cell", _read_nr)


def _skip(size: int) -> _Part:
    def skip(r: Reader) -> str:
        r.skip(size)
        return ""

    return "", skip


# Bits of the flags of TS 29.274, 8.21: the parts are in their order. RAI and LAI are areas of no tracking area; eNodeB
# identities name no cell.
_OF_ULI: tuple[_Part, ...] = (_CGI_SAI, _CGI_SAI, _skip(7), _TAI, _ECGI, _skip(5), _skip(6), _skip(6))
# Geographic location types: TS 29.060, 7.7.51 (0 to 2), TS 29.061, 16.4.7 (to 134) and TS 29.561, 11.3.1 (from 135).
_GEOGRAPHIC: dict[int, tuple[_Part, ...]] = {
    0: (_CGI_SAI,), 1: (_CGI_SAI,), 128: (_TAI,), 129: (_ECGI,), 130: (_TAI, _ECGI), 132: (_TAI,), 134: (_TAI,),
    135: (_NCGI,), 136: (_TAI_5G,), 137: (_TAI_5G, _NCGI), 139: (_TAI_5G,),
}  # fmt: skip


def _read(r: Reader, parts: Iterable[_Part]) -> Iterator[tuple[str, str]]:
    for name, read in parts:
        text = read(r)
        if name:
            yield name, text


def read_uli(r: Reader) -> tuple[str, str]:
    """Read User Location Information of GTPv2-C (TS 29.274, 8.21): tracking area and cell, "" not said."""
    try:
        flags = r.uint(1)
        found = dict(_read(r, (part for bit, part in enumerate(_OF_ULI) if flags >> bit & 1)))
    except CodecError:
        return "", ""
    return found.get("tai", ""), found.get("cell", "")


def read_geographic(r: Reader) -> tuple[str, str]:
    """Read a location after its geographic location type, as GTPv1-C and RADIUS have it: tracking area and cell."""
    try:
        found = dict(_read(r, _GEOGRAPHIC.get(r.uint(1), ())))
    except CodecError:
        return "", ""
    return found.get("tai", ""), found.get("cell", "")


# -- what is known after a word ------------------------------------------------


def told(before: Place, at_s: float, rat: str = "", tai: str = "", cell: str = "") -> Place:
    """Return the place after a message that said *rat*, *tai* and *cell*, as far as they are not empty.

    Another technology takes the cell along that was said before it, and another tracking area, too.
    """
    if not (rat or tai or cell):
        return before
    if rat and before.rat not in ("", rat):
        return Place(rat, tai, cell, at_s)
    return Place(
        rat or before.rat,
        tai or (before.tai if cell in ("", before.cell) else ""),
        cell or (before.cell if tai in ("", before.tai) else ""),
        at_s,
    )


def newest(places: Iterable[Place]) -> Place:
    """Return what several sources say together of one subscriber: the last word counts, of two at once the later."""
    said = sorted((place for place in places if place), key=lambda place: place.at_s)
    if len(said) < 2:
        return said[0] if said else NOWHERE
    rat = next((place.rat for place in reversed(said) if place.rat), "")
    where = next((place for place in reversed(said) if place.tai or place.cell), NOWHERE)
    if where.rat not in ("", rat):
        where = NOWHERE
    return Place(rat, where.tai, where.cell, said[-1].at_s)


# -- at rest ----------------------------------------------------------------

# Technology, digits of area and cell, network and number of each, seconds since the epoch.
_FORM = struct.Struct(">BB3s3s3s5sI")
PLACE_BYTES, _WORDS_BYTES = _FORM.size, _FORM.size - 4


def packed(place: Place) -> bytes:
    """Return a place as bytes."""
    networks, numbers, digits = [], [], 0
    for text, size in ((place.tai, 3), (place.cell, 5)):
        network, _, number = text.rpartition("-")
        mcc, _, mnc = network.partition("-")
        networks.append(_network(mcc, mnc) if text else bytes(_PLMN_BYTES))
        numbers.append(int(number or "0", 16).to_bytes(size, "big"))
        digits = digits << 4 | len(number)
    seconds = min(max(int(place.at_s), 0), 0xFFFF_FFFF)
    rat = RAT_NAMES.index(place.rat)
    return _FORM.pack(rat, digits, networks[0], numbers[0], networks[1], numbers[1], seconds)


def _network(mcc: str, mnc: str) -> bytes:
    low = mnc.ljust(3, "f")
    return bytes.fromhex(f"{mcc[1]}{mcc[0]}{low[2]}{mcc[2]}{low[1]}{low[0]}")


def unpacked(raw: bytes) -> Place:
    """Return the place that `packed` made bytes of; its time is that of the whole second."""
    return Place(*words(raw), int.from_bytes(raw[_WORDS_BYTES:], "big"))


def words(raw: bytes) -> tuple[str, str, str]:
    """Return technology, tracking area and cell of the bytes of a place."""
    return _words(raw[:_WORDS_BYTES])


@lru_cache(65_536)  # cells of a large network; sessions share them
def _words(raw: bytes) -> tuple[str, str, str]:
    rat, digits, area_network, tac, cell_network, number, _ = _FORM.unpack(raw + bytes(4))
    tai_digits, cell_digits = digits >> 4, digits & 15
    return (
        RAT_NAMES[rat],
        area_text(area_network, tac[-(tai_digits // 2) :]) if tai_digits else "",
        cell_text(cell_network, int.from_bytes(number, "big"), 4 * cell_digits) if cell_digits else "",
    )
