"""Operations that change the configuration (RFC 6241, 7.2, 7.3 and 8)."""

from __future__ import annotations

from mgmt.netconf.caller import Caller
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.store.edit import DEFAULT_OPERATIONS
from mgmt.netconf.xml_names import NC

__all__ = ["changing"]

_NONE: tuple[str, ...] = ()


def changing(served: Served) -> Operations:
    """Return edit-config, copy-config, validate, commit and discard-changes."""
    store = served.datastore
    return {
        f"{NC}edit-config": (
            ("target", "default-operation", "test-option", "error-option", "config"),
            lambda caller, params: _edit_config(served, caller, params),
        ),
        f"{NC}copy-config": (("target", "source"), lambda caller, params: _copy_config(served, caller, params)),
        f"{NC}validate": (("source",), lambda _caller, params: store.validate(params.datastore("source"))),
        f"{NC}commit": (_NONE, lambda caller, _params: store.commit(caller.session, served.access.guard(caller))),
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
    _only_candidate(params)
    source = params.datastore("source")
    if source == "candidate":
        raise RpcError("invalid-value", "Source and target are the same.", kind="protocol")
    served.datastore.copy_to_candidate(caller.session, source, served.access.guard(caller))


def _only_candidate(params: Params) -> None:
    if params.named_datastore("target") != "candidate":
        said = "Running is changed by a commit only: edit candidate."
        raise RpcError("operation-not-supported", said, kind="protocol")
