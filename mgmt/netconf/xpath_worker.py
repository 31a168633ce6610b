"""A process that evaluates XPath for `mgmt.netconf.xpath`, which can end it at any moment. Knows nothing but lxml.

in    length of a JSON object and of a tree, each 4 bytes, then both
out   length of a JSON object, 4 bytes, then it: ``found``, the numbers of the elements in document order,
      or ``wrong``: the expression is none (``expression``), or selects no elements (``nodes``, ``elements``)
"""

from __future__ import annotations

import json
import resource
import signal
import struct
import sys
from typing import Any

from lxml import etree

_MEMORY_BYTES = 1 << 30  # of addresses; a tree of 10,000 static sessions takes a tenth


def evaluate(select: str, prefixes: dict[str, str], document: bytes) -> dict[str, Any]:
    """Return the answer to one request."""
    tree = etree.fromstring(document, etree.XMLParser(huge_tree=True, resolve_entities=False, no_network=True))
    try:
        compiled = etree.XPath(select, namespaces=prefixes, regexp=False, smart_strings=False)
        found = compiled(tree, root=tree)
    except (etree.XPathError, ValueError):
        return {"wrong": "expression"}
    if not isinstance(found, list):
        return {"wrong": "nodes"}
    if not all(isinstance(node, etree._Element) for node in found):
        return {"wrong": "elements"}
    number = {element: n for n, element in enumerate(tree.iter(etree.Element))} if found else {}
    return {"found": sorted(number[node] for node in found if node in number)}


def main() -> None:
    """Answer until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sink.write(b"\n")
    sink.flush()
    while len(head := source.read(8)) == 8:
        size, document_size = struct.unpack("!II", head)
        asked = json.loads(source.read(size))
        answer = json.dumps(evaluate(asked["select"], asked["prefixes"], source.read(document_size))).encode()
        sink.write(struct.pack("!I", len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    main()
