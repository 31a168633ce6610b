"""From a message of a client to the reply: RFC 6241 without transport, threads or clock.

Each operation is a function of its parameters; its row in the table says what may be in a request, and an element,
attribute or namespace that is not there is refused with its name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.operations.actions import actions
from mgmt.netconf.operations.changing import changing
from mgmt.netconf.operations.function import of_the_function
from mgmt.netconf.operations.nmda import nmda
from mgmt.netconf.operations.notifying import notifying
from mgmt.netconf.operations.reading import reading
from mgmt.netconf.operations.sessions import sessions
from mgmt.netconf.operations.subscribing import subscribing
from mgmt.netconf.operations.upkeep import upkeep
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError, bad_element, missing_attribute, unknown_element
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.xml_names import BASE, NC, Doctype, elements, local, parse

__all__ = ["Dispatcher", "Reply"]

log = logging.getLogger(__name__)

_TAGS = 1_000_000  # of one message: ten thousand static sessions have a third; each takes 100 bytes of memory
# Attributes of one element, and namespaces of a message. lxml looks for each among those before it: 50,000 take 39 s
# in which no other thread runs. A client that declares all our modules at the top has 40.
_NAMES = 256
_CROWDED = etree.XPath(f"boolean(descendant-or-self::*[count(@*) > {_NAMES}])")
_FAMILIES = (reading, changing, sessions, notifying, subscribing, nmda, of_the_function, upkeep, actions)


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a message; ``close``: the session ends after it."""

    message: bytes
    close: bool = False


class Dispatcher:
    """Answers messages, by one table of all operations."""

    def __init__(self, served: Served) -> None:
        self._roster = served.roster
        self._namespace = served.datastore.model.namespace
        self._access = served.access
        self._operations: Operations = {tag: row for family in _FAMILIES for tag, row in family(served).items()}

    def handle(self, caller: Caller, message: bytes, *, chunked: bool = True) -> Reply:
        """Return the reply to one message; every failure is an rpc-error in it."""
        rpc, close, failed = None, False, None
        try:
            rpc = _read(message, chunked)
            content = self._run(caller, rpc)
            close = _operation(rpc).tag == f"{NC}close-session"
            body = [etree.Element(f"{NC}ok", nsmap={None: BASE})] if content is None else content
        except RpcError as error:
            failed = error
        except Exception as error:
            # The exception's text may hold a value of the configuration, so only its type is logged.
            log.error("session %d: a request failed with %s", caller.session, type(error).__name__, extra=caller.logged)
            failed = RpcError("operation-failed", "The function failed on this request. See its log.")
        if failed is not None:
            body = failed.elements(self._namespace)
        self._roster.answered(caller.session, bad=failed is not None and failed.kind == "rpc", error=failed is not None)
        return Reply(_reply(rpc, body), close)

    def _run(self, caller: Caller, rpc: etree._Element) -> list[etree._Element] | None:
        if rpc.get("message-id") is None:
            raise missing_attribute("message-id", "rpc", "An rpc needs the attribute message-id.")
        operation = _operation(rpc)
        found = self._operations.get(operation.tag)
        if found is None:
            said = f"The operation {local(operation)} in this namespace is not supported."
            raise RpcError("operation-not-supported", said, kind="protocol")
        self._access.execute(caller, operation)
        allowed, run = found
        try:
            return run(caller, Params(operation, allowed))
        except RpcError as error:
            raise self._access.veil(caller, error, operation) from None


def _read(message: bytes, chunked: bool) -> etree._Element:
    """Return the element ``rpc`` of a message. Raises RpcError."""
    if message.count(b"<") > _TAGS:
        raise RpcError("too-big", f"The message has more than {_TAGS} tags.", kind="rpc")
    try:
        rpc = parse(message.strip(), huge=False)
    except (etree.XMLSyntaxError, Doctype):
        # malformed-message came with :base:1.1 (RFC 6241, appendix A).
        tag = "malformed-message" if chunked else "operation-failed"
        raise RpcError(tag, "The message is not well-formed XML, or has a DOCTYPE.", kind="rpc") from None
    if len(rpc.nsmap) > _NAMES or _CROWDED(rpc):
        raise RpcError("too-big", f"An element has more than {_NAMES} attributes or namespaces.", kind="rpc")
    if rpc.tag != f"{NC}rpc":
        raise unknown_element(local(rpc), "A message is an element rpc in the namespace of NETCONF.", kind="rpc")
    return rpc


def _operation(rpc: etree._Element) -> etree._Element:
    inner = list(elements(rpc))
    if not inner:
        raise RpcError("missing-element", "An rpc needs an operation.", kind="rpc", info=[("bad-element", "rpc")])
    if len(inner) > 1:
        raise bad_element(local(inner[1]), "An rpc has one operation.", kind="rpc")
    return inner[0]


def _reply(rpc: etree._Element | None, body: list[etree._Element]) -> bytes:
    """Return rpc-reply with all attributes of the request (RFC 6241, 4.2).

    The content is written on its own: in one tree lxml takes a declaration away when the request has declared the
    namespace as well, under another prefix, and the prefix in the value of an identity means nothing then.
    """
    if rpc is None or rpc.tag != f"{NC}rpc":
        reply = etree.Element(f"{NC}rpc-reply", nsmap={None: BASE})
    else:
        reply = etree.Element(f"{NC}rpc-reply", attrib=dict(rpc.attrib), nsmap=rpc.nsmap)
    reply.append(etree.Comment("body"))
    content = b"".join(etree.tostring(element, with_tail=False) for element in body)
    message: bytes = etree.tostring(reply)
    return message.replace(b"<!--body-->", content, 1)
