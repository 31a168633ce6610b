"""From a message of a client to the reply: RFC 6241 without transport, threads or clock.

Each operation is a function of its parameters; what may be in a request is said in one table, and
an element, attribute or namespace that is not there is refused with its name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lxml import etree

from feed.change import Mark
from mgmt.netconf import explain as explaining
from mgmt.netconf import marks as marking
from mgmt.netconf.datastore import TARGETS, Datastore
from mgmt.netconf.edit import DEFAULT_OPERATIONS
from mgmt.netconf.filters import filter_subtree, filter_xpath
from mgmt.netconf.find_sessions import session_numbers, session_query
from mgmt.netconf.monitoring import MONITORING, add_monitoring
from mgmt.netconf.rpcerror import RpcError, bad_element, missing_attribute, missing_element, unknown_element
from mgmt.netconf.state import SessionFinder, StateProvider, add_sessions, add_state, found_elements
from mgmt.netconf.xml_names import BASE, NC, Doctype, elements, local, parse
from nf.naming.explain import Ground, Question
from nf.sessions import Query

__all__ = ["Dispatcher", "Explain", "MarkChange", "Reply"]

log = logging.getLogger(__name__)

_NM = f"{{{MONITORING}}}"

Explain = Callable[[Question], Sequence[Sequence[Ground]]]
"""Says why the flows between two ends have their application; called from a thread of the server."""

MarkChange = Callable[[int, Mark], None]
"""Publishes the mark of a session, by its number."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a message; ``close``: the session ends after it."""

    message: bytes
    close: bool = False


class _Params:
    """The parameters of an operation, each at most once."""

    def __init__(self, operation: etree._Element, allowed: Iterable[str]) -> None:
        self.name, self._space = local(operation), str(etree.QName(operation).namespace)
        self._found: dict[str, etree._Element] = {}
        for child in elements(operation):
            name = local(child)
            if name not in allowed or etree.QName(child).namespace != self._space:
                raise unknown_element(name, f"{self.name} has no parameter {name}.", kind="protocol")
            if name in self._found:
                raise bad_element(name, f"{name} is there twice.", kind="protocol")
            self._found[name] = child

    def all(self) -> dict[str, etree._Element]:
        return self._found

    def get(self, name: str) -> etree._Element | None:
        return self._found.get(name)

    def need(self, name: str) -> etree._Element:
        found = self._found.get(name)
        if found is None:
            raise missing_element(name, f"{self.name} needs the parameter {name}.", kind="protocol")
        return found

    def text(self, name: str, default: str = "") -> str:
        found = self._found.get(name)
        return default if found is None else (found.text or "").strip()

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise RpcError(
                "invalid-value",
                f"{name} is one of {', '.join(allowed)}.",
                kind="protocol",
                info=[("bad-element", name)],
            )
        return value

    def datastore(self, name: str) -> str | etree._Element:
        """Return running or candidate by name, or the element of a configuration that stands inline."""
        inner = list(elements(self.need(name)))
        if len(inner) != 1:
            raise missing_element(name, f"{name} needs one element inside: a datastore.", kind="protocol")
        store = local(inner[0])
        if etree.QName(inner[0]).namespace != BASE or store not in (*TARGETS, "config"):
            raise bad_element(store, f"{store} is not a datastore of this function.", kind="protocol")
        return inner[0] if store == "config" else store

    def named_datastore(self, name: str) -> str:
        store = self.datastore(name)
        if not isinstance(store, str):
            raise bad_element("config", f"{name} of {self.name} is a datastore.", kind="protocol")
        return store


class Dispatcher:
    """Answers messages. ``kill`` ends a session by number and says if there was one."""

    def __init__(
        self,
        datastore: Datastore,
        state: StateProvider,
        find_sessions: SessionFinder,
        kill: Callable[[int], bool],
        capabilities: Iterable[str] = (),
        explain: Explain | None = None,
        mark_change: MarkChange | None = None,
    ) -> None:
        self._datastore, self._state, self._find_sessions, self._kill = datastore, state, find_sessions, kill
        self._explain, self._mark_change = explain, mark_change
        self._capabilities = tuple(capabilities)
        none: tuple[str, ...] = ()
        base: dict[str, tuple[tuple[str, ...], Callable[[int, _Params], list[etree._Element] | None]]] = {
            "get": (("filter",), self._get),
            "get-config": (("source", "filter"), self._get_config),
            "edit-config": (
                ("target", "default-operation", "test-option", "error-option", "config"),
                self._edit_config,
            ),
            "copy-config": (("target", "source"), self._copy_config),
            "validate": (("source",), self._validate),
            "commit": (none, self._commit),
            "discard-changes": (none, self._discard),
            "lock": (("target",), self._lock),
            "unlock": (("target",), self._unlock),
            "kill-session": (("session-id",), self._kill_session),
            "close-session": (none, lambda _session, _params: None),
        }
        self._operations = {NC + name: entry for name, entry in base.items()}
        find = f"{{{datastore.model.namespace('snf-subscribers')}}}find-sessions"
        self._operations[find] = (tuple(datastore.model.inputs[find]), self._find)
        self._operations[f"{{{explaining.NAMESPACE}}}explain-flow"] = (explaining.PARAMETERS, self._explain_flow)
        self._operations[marking.OPERATION] = (tuple(datastore.model.inputs[marking.OPERATION]), self._mark)
        self._operations[f"{_NM}get-schema"] = (("identifier", "version", "format"), self._get_schema)

    def handle(self, session: int, message: bytes, *, chunked: bool = True) -> Reply:
        """Return the reply to one message; every failure is an rpc-error in it."""
        rpc, close = None, False
        try:
            rpc = _read(message, chunked)
            content = self._run(session, rpc)
            close = _operation(rpc).tag == f"{NC}close-session"
            body = [etree.Element(f"{NC}ok")] if content is None else content
        except RpcError as error:
            body = error.elements(self._datastore.model.namespace)
        except Exception as error:
            # The exception's text may hold a value of the configuration, so only its type is logged.
            log.error("session %d: a request failed with %s", session, type(error).__name__)
            failed = RpcError("operation-failed", "The function failed on this request. See its log.")
            body = failed.elements(self._datastore.model.namespace)
        return Reply(_reply(rpc, body), close)

    def _run(self, session: int, rpc: etree._Element) -> list[etree._Element] | None:
        if rpc.get("message-id") is None:
            raise missing_attribute("message-id", "rpc", "An rpc needs the attribute message-id.")
        operation = _operation(rpc)
        found = self._operations.get(operation.tag)
        if found is None:
            said = f"The operation {local(operation)} in this namespace is not supported."
            raise RpcError("operation-not-supported", said, kind="protocol")
        allowed, run = found
        return run(session, _Params(operation, allowed))

    # -- reading -----------------------------------------------------------

    def _get(self, _session: int, params: _Params) -> list[etree._Element]:
        tree = self._datastore.read("running")
        add_state(self._datastore.model, tree, self._state())
        add_monitoring(self._datastore, tree, self._capabilities)
        wanted = params.get("filter")
        for number in session_numbers(wanted, self._datastore.model.namespace("snf-subscribers")):
            add_sessions(self._datastore.model, tree, self._find_sessions(Query(number=number)))
        return [self._data(tree, wanted)]

    def _find(self, _session: int, params: _Params) -> list[etree._Element]:
        model = self._datastore.model
        return found_elements(model, self._find_sessions(session_query(model, params.all())))

    def _get_config(self, _session: int, params: _Params) -> list[etree._Element]:
        tree = self._datastore.read(params.named_datastore("source"))
        return [self._data(tree, params.get("filter"))]

    def _data(self, tree: etree._Element, wanted: etree._Element | None) -> etree._Element:
        top = self._datastore.model.top
        if wanted is not None:
            kind = wanted.get("type") or wanted.get(f"{NC}type") or "subtree"
            select = wanted.get("select") or wanted.get(f"{NC}select")
            if kind == "subtree":
                tree = filter_subtree(tree, wanted, top)
            elif kind != "xpath":
                info = [("bad-attribute", "type"), ("bad-element", "filter")]
                raise RpcError("bad-attribute", "A filter is of type subtree or xpath.", kind="protocol", info=info)
            elif select is None:
                raise missing_attribute("select", "filter", "An XPath filter needs the attribute select.", "protocol")
            else:
                tree = filter_xpath(tree, select, wanted.nsmap, top)
        data = etree.Element(f"{NC}data", nsmap={None: BASE})
        data.extend(list(tree))
        return data

    def _get_schema(self, _session: int, params: _Params) -> list[etree._Element]:
        name = (params.need("identifier").text or "").strip()
        kind = params.text("format", "yang").rpartition(":")[2]
        text = None
        if kind in ("yang", "yin"):
            text = self._datastore.model.schema_text(name, params.text("version"), kind == "yin")
        if text is None:
            raise RpcError(
                "invalid-value", "There is no module of this name, revision and format.", app_tag="data-missing"
            )
        data = etree.Element(f"{_NM}data", nsmap={None: MONITORING})
        data.text = text
        return [data]

    def _explain_flow(self, _session: int, params: _Params) -> list[etree._Element]:
        words = {name: (params.need(name).text or "").strip() for name in explaining.PARAMETERS}
        try:
            question = explaining.question_of(words)
        except ValueError as error:
            info = [("bad-element", str(error))]
            raise RpcError("invalid-value", f"The {error} is none.", kind="application", info=info) from None
        if self._explain is None:
            raise RpcError("operation-failed", "The function sees no flows.")
        return explaining.reply_of(self._explain(question))

    def _mark(self, session: int, params: _Params) -> None:
        params.need("text")
        mark = marking.mark_of(self._datastore.model, params.all(), time.time())
        if self._mark_change is None:
            raise RpcError("operation-failed", "The function publishes nothing.")
        self._mark_change(session, mark)

    # -- changing ----------------------------------------------------------

    def _edit_config(self, session: int, params: _Params) -> None:
        _only_candidate(params)
        config = params.need("config")
        self._datastore.edit(
            session,
            config,
            params.one_of("default-operation", DEFAULT_OPERATIONS, "merge"),
            test_option=params.one_of("test-option", ("test-then-set", "set", "test-only"), "set"),
            continue_on_error=params.one_of(
                "error-option", ("stop-on-error", "continue-on-error", "rollback-on-error"), "stop-on-error"
            )
            == "continue-on-error",
        )

    def _copy_config(self, session: int, params: _Params) -> None:
        _only_candidate(params)
        source = params.datastore("source")
        if source == "candidate":
            raise RpcError("invalid-value", "Source and target are the same.", kind="protocol")
        self._datastore.copy_to_candidate(session, source)

    def _validate(self, _session: int, params: _Params) -> None:
        self._datastore.validate(params.datastore("source"))

    def _commit(self, session: int, _params: _Params) -> None:
        self._datastore.commit(session)

    def _discard(self, session: int, _params: _Params) -> None:
        self._datastore.discard(session)

    # -- sessions ----------------------------------------------------------

    def _lock(self, session: int, params: _Params) -> None:
        self._datastore.lock(session, params.named_datastore("target"))

    def _unlock(self, session: int, params: _Params) -> None:
        self._datastore.unlock(session, params.named_datastore("target"))

    def _kill_session(self, session: int, params: _Params) -> None:
        text = (params.need("session-id").text or "").strip()
        victim = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
        if victim == session:
            raise RpcError("invalid-value", "A session cannot kill itself: use close-session.", kind="protocol")
        if not victim or not self._kill(victim):
            info = [("bad-element", "session-id")]
            raise RpcError("invalid-value", "There is no session of this number.", kind="protocol", info=info)


def _only_candidate(params: _Params) -> None:
    if params.named_datastore("target") != "candidate":
        said = "Running is changed by a commit only: edit candidate."
        raise RpcError("operation-not-supported", said, kind="protocol")


def _read(message: bytes, chunked: bool) -> etree._Element:
    """Return the element ``rpc`` of a message. Raises RpcError."""
    try:
        rpc = parse(message.strip(), huge=False)
    except (etree.XMLSyntaxError, Doctype):
        # malformed-message came with :base:1.1 (RFC 6241, appendix A).
        tag = "malformed-message" if chunked else "operation-failed"
        raise RpcError(tag, "The message is not well-formed XML, or has a DOCTYPE.", kind="rpc") from None
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
    """Return rpc-reply with all attributes of the request (RFC 6241, 4.2)."""
    if rpc is None or rpc.tag != f"{NC}rpc":
        reply = etree.Element(f"{NC}rpc-reply", nsmap={None: BASE})
    else:
        reply = etree.Element(f"{NC}rpc-reply", attrib=dict(rpc.attrib), nsmap=rpc.nsmap)
    reply.extend(body)
    message: bytes = etree.tostring(reply)
    return message
