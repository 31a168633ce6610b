"""Operations that look after the running function: is it healthy, forget a subscriber, read the signatures anew."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.xml_names import wall_time
from mgmt.vitals.health import check, is_healthy
from nf.errors import SnfError

__all__ = ["upkeep"]

log = logging.getLogger(__name__)


def upkeep(served: Served) -> Operations:
    """Return health-check, purge-subscriber and reload-signatures."""
    model = served.datastore.model
    health = f"{{{model.namespace('snf-function')}}}health-check"
    purge = f"{{{model.namespace('snf-subscribers')}}}purge-subscriber"
    reload = f"{{{model.namespace('snf-applications')}}}reload-signatures"
    return {
        health: ((), lambda _caller, _params: _health_check(served, health)),
        purge: (tuple(model.inputs[purge]), lambda caller, params: _purge_subscriber(served, caller, params, purge)),
        reload: ((), lambda caller, _params: _reload_signatures(served, caller, reload)),
    }


def _output(operation: str, values: Mapping[str, object]) -> list[etree._Element]:
    """Return leaves of the output of an operation, in its namespace."""
    return [_leaf(operation, name, value) for name, value in values.items()]


def _leaf(operation: str, name: str, value: object) -> etree._Element:
    space = etree.QName(operation).namespace
    leaf = etree.Element(f"{{{space}}}{name}", nsmap={None: space})
    leaf.text = str(value)
    return leaf


def _health_check(served: Served, operation: str) -> list[etree._Element]:
    if served.function.vitals is None:
        raise RpcError("operation-failed", "There is no running function to look at.")
    checks = check(served.function.vitals())
    state = "healthy" if is_healthy(checks) else "unhealthy"
    scope = served.datastore.settings.nf_id
    out = _output(operation, {"state": state, "scope": scope, "time": wall_time(time.time())})
    for each in checks:
        entry = _leaf(operation, "check", "")
        entry.text = None
        entry.extend(_output(operation, {"name": each.name, "good": str(each.good).lower(), "text": each.text}))
        out.append(entry)
    return out


def _purge_subscriber(served: Served, caller: Caller, params: Params, operation: str) -> list[etree._Element]:
    given, model = params.need("imsi"), served.datastore.model
    try:
        imsi = model.canonical(model.inputs[operation]["imsi"], given)
    except RpcError as error:
        raise RpcError("invalid-value", error.message, info=[("bad-element", "imsi")]) from None
    if served.function.purge_subscriber is None:
        raise RpcError("operation-failed", "The function follows no sessions.")
    purged = served.function.purge_subscriber(imsi)
    log.warning(
        "session %d of %s purged a subscriber with %d sessions",
        caller.session,
        caller.user,
        purged.sessions,
        extra=caller.logged,
    )
    return _output(operation, {"sessions": purged.sessions, "configured": purged.configured})


def _reload_signatures(served: Served, caller: Caller, operation: str) -> list[etree._Element]:
    if served.function.reload_signatures is None:
        raise RpcError("operation-failed", "The function names no flows.")
    try:
        known = served.function.reload_signatures()
    except SnfError as error:
        raise RpcError("operation-failed", str(error)) from None
    log.warning(
        "session %d of %s had the signatures read anew: %d applications",
        caller.session,
        caller.user,
        known,
        extra=caller.logged,
    )
    return _output(operation, {"applications": known})
