"""Runs by the package's own Python, in the machine: imports all that there is of the product, and decodes NGAP.

Its standard input has messages, one a line in hexadecimal; its output is JSON. It imports nothing of tests.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import sys


def modules() -> list[str]:
    """Import every module of the product, and return their names."""
    names = []
    for room in ("feed", "gtp", "nf", "mgmt"):
        found = importlib.import_module(room)
        names += [room, *(each.name for each in pkgutil.walk_packages(found.__path__, f"{room}."))]
    names = [name for name in names if not name.endswith(("__main__", "xpath_worker"))]  # these run when imported
    for name in names:
        importlib.import_module(name)
    return names


def decoded(messages: list[str]) -> str:
    """Return a hash of what NGAP messages say."""
    from pycrate_asn1dir import NGAP

    pdu, said = NGAP.NGAP_PDU_Descriptions.NGAP_PDU, hashlib.sha256()
    for message in messages:
        pdu.from_aper(bytes.fromhex(message))
        said.update(repr(pdu.get_val()).encode())
    return said.hexdigest()


if __name__ == "__main__":
    lines = sys.stdin.read().split()
    ngap = decoded(lines)
    json.dump({"modules": len(modules()), "ngap": ngap}, sys.stdout)
