"""Operations that change the configuration (RFC 6241, 7.2, 7.3 and 8)."""

from __future__ import annotations

from mgmt.netconf.caller import Caller
from mgmt.netconf.defaults import WITH_DEFAULTS, with_defaults
from mgmt.netconf.params import Params
from mgmt.netconf.revisions import ROLLBACK, number_of
from mgmt.netconf.rpcerror import RpcError, missing_element
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.store.confirmed import CONFIRM_S, Confirm
from mgmt.netconf.store.edit import DEFAULT_OPERATIONS
from mgmt.netconf.xml_names import NC

__all__ = ["changing"]

_CHANGING = ("report-all", "trim")  # modes of with-defaults in which a copy is another configuration
_NONE: tuple[str, ...] = ()


def changing(served: Served) -> Operations:
    """Return edit-config, copy-config, validate, commit, cancel-commit, rollback and discard-changes."""
    store = served.datastore
    return {
        f"{NC}edit-config": (
            ("target", "default-operation", "test-option", "error-option", "config"),
            lambda caller, params: _edit_config(served, caller, params),
        ),
        f"{NC}copy-config": (
            ("target", "source", WITH_DEFAULTS),
            lambda caller, params: _copy_config(served, caller, params),
        ),
        f"{NC}validate": (("source",), lambda _caller, params: store.validate(params.datastore("source"))),
        f"{NC}commit": (
            ("confirmed", "confirm-timeout", "persist", "persist-id"),
            lambda caller, params: _commit(served, caller, params),
        ),
        f"{NC}cancel-commit": (
            ("persist-id",),
            lambda caller, params: store.cancel(caller.session, _given(params, "persist-id")),
        ),
        ROLLBACK: (
            ("revision",),
            lambda caller, params: store.roll_back(
                caller.session, number_of(params.need("revision")), served.access.guard(caller)
            ),
        ),
        f"{NC}discard-changes": (_NONE, lambda caller, _params: store.discard(caller.session)),
    }


def _edit_config(served: Served, caller: Caller, params: Params) -> None:
    _only_candidate(params)
    config = params.need("config")
    error_option = params.one_of(
        "error-option", ("stop-on-error", "continue-on-error", "rollback-on-error"), "stop-on-error"
    )
    served.datastore.edit(
        caller.session,
        config,
        params.one_of("default-operation", DEFAULT_OPERATIONS, "merge"),
        test_option=params.one_of("test-option", ("test-then-set", "set", "test-only"), "set"),
        continue_on_error=error_option == "continue-on-error",
        guard=served.access.guard(caller),
    )


def _copy_config(served: Served, caller: Caller, params: Params) -> None:
    store, guard = served.datastore, served.access.guard(caller)
    target, source = params.named_datastore("target"), params.datastore("source")
    if source == target:
        raise RpcError("invalid-value", "Source and target are the same.", kind="protocol")
    mode = with_defaults(params)
    if source == "candidate":
        if mode in _CHANGING:
            said = f"{mode} changes what is copied, which is for a copy of running to candidate."
            raise RpcError("operation-not-supported", said, kind="protocol")
        store.copy_to_running(caller.session, guard)
        return
    _only_candidate(params)
    if source == "running" and mode in _CHANGING:
        source = store.model.with_defaults(store.read("running"), mode)
    store.copy_to_candidate(caller.session, source, guard)


def _commit(served: Served, caller: Caller, params: Params) -> None:
    """Commit, confirmed or not (RFC 6241, 8.4.5)."""
    confirm = None
    if params.get("confirmed") is not None:
        confirm = Confirm(_timeout_s(params), _given(params, "persist"))
    else:
        for name in ("confirm-timeout", "persist"):
            if params.get(name) is not None:
                # Without this a client would take a commit for one that is undone.
                raise missing_element("confirmed", f"{name} is for a confirmed commit.", kind="protocol")
    served.datastore.commit(caller.session, confirm, _given(params, "persist-id"), served.access.guard(caller))


def _timeout_s(params: Params) -> int:
    text = params.text("confirm-timeout", str(CONFIRM_S))
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    if not 1 <= seconds < 1 << 32:  # uint32 of the module ietf-netconf
        info = [("bad-element", "confirm-timeout")]
        raise RpcError(
            "invalid-value", "confirm-timeout is a number of seconds, 1 or more.", kind="protocol", info=info
        )
    return seconds


def _given(params: Params, name: str) -> str | None:
    return None if params.get(name) is None else params.text(name)


def _only_candidate(params: Params) -> None:
    if params.named_datastore("target") != "candidate":
        said = "Running is changed by a commit only: edit candidate."
        raise RpcError("operation-not-supported", said, kind="protocol")
