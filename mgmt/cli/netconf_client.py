"""A client for our commands, for scripts and the demonstration: ncclient with our errors, our defaults and helpers.

with connect("127.0.0.1", 830, "alice", key_file, host_key=server_key) as client:
    client.change('<policies xmlns="urn:supernetflow:yang:snf-policies">...</policies>')
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lxml import etree
from ncclient import manager
from ncclient.operations import OperationError, RPCError
from ncclient.operations.errors import MissingCapabilityError
from ncclient.transport import AuthenticationError, SSHUnknownHostError, TransportError

from mgmt.cli.profile import KnownHosts
from mgmt.netconf import explain as explaining
from mgmt.netconf import marks as marking
from mgmt.netconf.revisions import ROLLBACK
from mgmt.netconf.xml_names import BASE
from nf.errors import SnfError
from nf.naming.explain import Ground

__all__ = ["Client", "Refused", "connect"]

_CONFIG = '<config xmlns="{}" xmlns:nc="{}">{}</config>'


class Refused(SnfError):
    """The function refused a request: ``tag`` and ``path`` as in RFC 6241, 4.3."""

    def __init__(self, what: str, tag: str, path: str) -> None:
        super().__init__(what, f"({path})" if path else "")
        self.tag, self.path = tag, path


@contextmanager
def connect(
    host: str,
    port: int,
    user: str,
    key_file: Path,
    host_key: str | None = None,
    *,
    known: KnownHosts | None = None,
    timeout_s: float = 30.0,
) -> Iterator[Client]:
    """Open a session, and close it at the end.

    *host_key* is the public key of the function as in a .pub file (``ssh-ed25519 AAAA...``). Without it, *known* says
    which key the function has, and remembers it at the first session; without either whoever answers is trusted,
    which is right only on a machine's own loopback. Raises SnfError.
    """
    # ncclient writes whole messages to its log, which hold what must not be in one, and tracebacks of paramiko.
    logging.getLogger("ncclient").setLevel(logging.CRITICAL)
    expected = host_key or (known.find(host, port) if known else None)
    trust = {"hostkey_verify": False} if expected is None else {"hostkey_b64": expected.split()[1]}
    try:
        session = manager.connect(
            host=host,
            port=port,
            username=user,
            key_filename=str(key_file),
            allow_agent=False,
            look_for_keys=False,
            timeout=timeout_s,
            **trust,
        )
    except AuthenticationError:
        raise SnfError(
            f"No NETCONF session with {host} port {port}: it does not take {user} with the key {key_file}.",
            "Is your public key in its users file?",
        ) from None
    except (TransportError, OSError, EOFError) as error:  # EOFError: closed before it said who it is
        if expected and _another_key(error):
            if known and not host_key:
                raise known.changed(host, port) from None
            raise SnfError(f"The host key of {host} port {port} is not the one that was given.") from None
        raise SnfError(
            f"No NETCONF session with {host} port {port}: {_why(error)}.",
            "Is the function running, and is your public key in its users file?",
        ) from None
    try:
        if known and expected is None:
            shown = session._session.transport.get_remote_server_key()
            known.remember(host, port, f"{shown.get_name()} {shown.get_base64()}")
        yield Client(session)
    finally:
        with suppress(TransportError, OperationError, OSError):
            session.close_session()


def _why(error: Exception) -> str:
    """Return why there is no session, in the words of the system where there are any."""
    if "Could not open socket" in str(error):  # ncclient's SSHError: it drops what the system said
        return "nothing answers there"
    if "Negotiation failed" in str(error) or isinstance(error, EOFError):
        return "it ends before it says who it is"
    return getattr(error, "strerror", None) or type(error).__name__


def _another_key(error: Exception) -> bool:
    """Say if a session failed by the host key; one of another type ends the negotiation of SSH."""
    return isinstance(error, SSHUnknownHostError) or "no acceptable host key" in str(error)


class Client:
    """One session. Every method raises `Refused`, or SnfError when the session is lost."""

    def __init__(self, session: Any) -> None:
        self.session = session  # ncclient's manager, for everything that has no method here

    def edit(self, config: str, default_operation: str = "merge") -> None:
        """Edit candidate. *config*: the top-level nodes as XML; the prefix ``nc`` is that of operations."""
        text = _CONFIG.format(BASE, BASE, config)
        self._ask(
            lambda: self.session.edit_config(target="candidate", config=text, default_operation=default_operation)
        )

    def commit(self, confirm_s: int | None = None, persist: str | None = None) -> None:
        """Put candidate in force; with *confirm_s* it is undone when nobody confirms it in so many seconds.

        *persist* lets another session confirm it, or cancel it (RFC 6241, 8.4).
        """
        if confirm_s is None:
            self._ask(self.session.commit)
        else:
            self._ask(lambda: self.session.commit(confirmed=True, timeout=str(confirm_s), persist=persist))

    def confirm(self, persist: str) -> None:
        """Confirm the commit that was made with *persist*."""
        self._ask(lambda: self.session.commit(persist_id=persist))

    def cancel(self, persist: str) -> None:
        """Undo the commit that was made with *persist* and not confirmed."""
        self._ask(lambda: self.session.cancel_commit(persist_id=persist))

    def roll_back(self, revision: int) -> None:
        """Put a revision in force again."""
        request = etree.Element(ROLLBACK)
        etree.SubElement(request, f"{{{etree.QName(ROLLBACK).namespace}}}revision").text = str(revision)
        self._ask(lambda: self.session.dispatch(request))

    def subscribe(self) -> None:
        """Ask for the events of the server (RFC 5277)."""
        self._ask(self.session.create_subscription)

    def event(self, timeout_s: float) -> etree._Element | None:
        """Return the next element ``notification``, None when there was none in time. Raises SnfError at the end."""
        found = self.session.take_notification(block=True, timeout=timeout_s)
        if found is None and not self.session.connected:
            raise SnfError("The function ended the NETCONF session.")
        return None if found is None else etree.fromstring(found.notification_xml.encode())

    def discard(self) -> None:
        """Drop the changes of candidate."""
        self._ask(self.session.discard_changes)

    def change(self, config: str, default_operation: str = "merge") -> None:
        """Edit and commit under a lock; when either is refused, nothing has changed."""
        self._ask(lambda: self.session.lock("candidate"))
        try:
            self.edit(config, default_operation)
            self.commit()
        except SnfError:
            with suppress(SnfError):
                self.discard()
            raise
        finally:
            with suppress(SnfError):
                self._ask(lambda: self.session.unlock("candidate"))

    def config(self, subtree: str | None = None, source: str = "running") -> etree._Element:
        """Return a datastore, or the part that a subtree filter selects: an element ``data``."""
        wanted = ("subtree", subtree) if subtree is not None else None
        return self._ask(lambda: self.session.get_config(source=source, filter=wanted)).data_ele

    def state(self, subtree: str | None = None) -> etree._Element:
        """Return running and state, or the part that a subtree filter selects: an element ``data``."""
        wanted = ("subtree", subtree) if subtree is not None else None
        return self._ask(lambda: self.session.get(filter=wanted)).data_ele

    def call(self, rpc: str) -> etree._Element:
        """Send the operation in *rpc* (XML); return the element ``rpc-reply``."""
        reply = self._ask(lambda: self.session.dispatch(etree.fromstring(rpc)))
        return etree.fromstring(reply.xml.encode())

    def explain(self, flow: Mapping[str, str]) -> list[list[Ground]]:
        """Return the grounds of the flows between two ends; *flow* is of `mgmt.cli.explain.flow_of`."""
        reply = self._ask(lambda: self.session.dispatch(explaining.request(flow)))
        return explaining.read_reply(etree.fromstring(reply.xml.encode()))

    def mark(self, parameters: Mapping[str, str]) -> None:
        """Mark a change; *parameters* are those of the operation ``mark-change``."""
        self._ask(lambda: self.session.dispatch(marking.request(parameters)))

    @staticmethod
    def _ask(request: Any) -> Any:
        try:
            return request()
        except RPCError as error:
            raise Refused(error.message or error.tag, error.tag, error.path or "") from None
        except MissingCapabilityError as error:
            raise SnfError(f"The function does not offer this: {error}") from None
        except (TransportError, OperationError) as error:
            raise SnfError(f"The NETCONF session was lost: {type(error).__name__}.") from None
