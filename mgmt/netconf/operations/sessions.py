"""Operations on sessions and their locks (RFC 6241, 7.5, 7.6, 7.8 and 7.9)."""

from __future__ import annotations

from mgmt.netconf.caller import Caller
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.xml_names import NC

__all__ = ["sessions"]


def sessions(served: Served) -> Operations:
    """Return lock, unlock, kill-session and close-session."""
    store = served.datastore
    return {
        f"{NC}lock": (("target",), lambda caller, params: store.lock(caller.session, params.named_datastore("target"))),
        f"{NC}unlock": (
            ("target",),
            lambda caller, params: store.unlock(caller.session, params.named_datastore("target")),
        ),
        f"{NC}kill-session": (("session-id",), lambda caller, params: _kill_session(served, caller, params)),
        f"{NC}close-session": ((), lambda _caller, _params: None),
    }


def _kill_session(served: Served, caller: Caller, params: Params) -> None:
    text = (params.need("session-id").text or "").strip()
    victim = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    if victim == caller.session:
        raise RpcError("invalid-value", "A session cannot kill itself: use close-session.", kind="protocol")
    if not victim or not served.kill(caller.session, victim):
        info = [("bad-element", "session-id")]
        raise RpcError("invalid-value", "There is no session of this number.", kind="protocol", info=info)
