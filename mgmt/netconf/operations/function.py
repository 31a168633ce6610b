"""Operations of our own modules: what the running function is asked to find, explain or tell."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from lxml import etree

from mgmt.netconf import explain as explaining
from mgmt.netconf import marks as marking
from mgmt.netconf.caller import Caller
from mgmt.netconf.find_sessions import session_query
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.state import found_elements

__all__ = ["of_the_function"]

log = logging.getLogger(__name__)


def of_the_function(served: Served) -> Operations:
    """Return find-sessions, explain-flow and mark-change."""
    model = served.datastore.model
    find = f"{{{model.namespace('snf-subscribers')}}}find-sessions"
    return {
        find: (tuple(model.inputs[find]), lambda _caller, params: _find_sessions(served, params)),
        f"{{{explaining.NAMESPACE}}}explain-flow": (
            explaining.PARAMETERS,
            lambda _caller, params: _explain_flow(served, params),
        ),
        marking.OPERATION: (
            tuple(model.inputs[marking.OPERATION]),
            lambda caller, params: _mark_change(served, caller, params),
        ),
    }


def _find_sessions(served: Served, params: Params) -> list[etree._Element]:
    model = served.datastore.model
    return found_elements(model, served.function.find_sessions(session_query(model, params.all())))


def _explain_flow(served: Served, params: Params) -> list[etree._Element]:
    words = {name: (params.need(name).text or "").strip() for name in explaining.PARAMETERS}
    try:
        question = explaining.question_of(words)
    except ValueError as error:
        info = [("bad-element", str(error))]
        raise RpcError("invalid-value", f"The {error} is none.", kind="application", info=info) from None
    if served.function.explain is None:
        raise RpcError("operation-failed", "The function sees no flows.")
    return explaining.reply_of(served.function.explain(question))


def _mark_change(served: Served, caller: Caller, params: Params) -> None:
    params.need("text")
    mark = marking.mark_of(served.datastore.model, params.all(), time.time())
    if served.function.mark_change is None:
        raise RpcError("operation-failed", "The function publishes nothing.")
    log.info("session %d marked a change", caller.session, extra=caller.logged)
    served.function.mark_change(replace(mark, who=caller.user))
