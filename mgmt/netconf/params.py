"""The parameters of an operation: each at most once, none that the operation does not have."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from mgmt.netconf.rpcerror import RpcError, bad_element, missing_element, unknown_element
from mgmt.netconf.store.datastore import TARGETS
from mgmt.netconf.xml_names import BASE, NMDA, elements, local

__all__ = ["Params", "identity"]


_DATASTORES = "urn:ietf:params:xml:ns:yang:ietf-datastores"


def identity(element: etree._Element, namespace: str) -> str | None:
    """Return the name of an identity, None when it is not one of that namespace."""
    prefix, _, name = (element.text or "").strip().rpartition(":")
    return name if element.nsmap.get(prefix or None) == namespace else None


class Params:
    """The parameters of *operation*. Raises RpcError (unknown-element, bad-element) when one is not *allowed*.

    A parameter of another module than the operation's is named as lxml does, ``{namespace}name``; one that may be
    there more than once has a star at its end.

    *allowed* None: what stands in ``operation`` is for the operation itself to judge.
    """

    def __init__(self, operation: etree._Element, allowed: Iterable[str] | None) -> None:
        self.operation = operation
        self.name, self._space = local(operation), str(etree.QName(operation).namespace)
        self._found: dict[str, etree._Element] = {}
        self._every: dict[str, list[etree._Element]] = {}
        if allowed is None:
            return
        for child in elements(operation):
            name = local(child) if etree.QName(child).namespace == self._space else str(child.tag)
            self._every.setdefault(name, []).append(child)
            if f"{name}*" in allowed:
                self._found.setdefault(name, child)
                continue
            if name not in allowed:
                raise unknown_element(local(child), f"{self.name} has no parameter {local(child)}.", kind="protocol")
            if name in self._found:
                raise bad_element(local(child), f"{local(child)} is there twice.", kind="protocol")
            self._found[name] = child

    def all(self) -> dict[str, etree._Element]:
        """Return all that are given, by name."""
        return self._found

    def get(self, name: str) -> etree._Element | None:
        """Return one, None when it is not given."""
        return self._found.get(name)

    def every(self, name: str) -> list[etree._Element]:
        """Return all of that name, in their order."""
        return self._every.get(name, [])

    def need(self, name: str) -> etree._Element:
        """Return one. Raises RpcError (missing-element) when it is not given."""
        found = self._found.get(name)
        if found is None:
            raise missing_element(name, f"{self.name} needs the parameter {name}.", kind="protocol")
        return found

    def text(self, name: str, default: str = "") -> str:
        """Return the text of one."""
        found = self._found.get(name)
        return default if found is None else (found.text or "").strip()

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """Return the text of one. Raises RpcError (invalid-value) when it is not *allowed*."""
        value, plain = self.text(name, default), name.rpartition("}")[2]
        if value not in allowed:
            raise RpcError(
                "invalid-value",
                f"{plain} is one of {', '.join(allowed)}.",
                kind="protocol",
                info=[("bad-element", plain)],
            )
        return value

    def datastore(self, name: str) -> str | etree._Element:
        """Return running or candidate by name, or the element of a configuration that stands inline."""
        inner = list(elements(self.need(name)))
        if len(inner) != 1:
            raise missing_element(name, f"{name} needs one element inside: a datastore.", kind="protocol")
        store = local(inner[0])
        if inner[0].tag == f"{{{NMDA}}}datastore":
            # RFC 8526, 3.2
            known = identity(inner[0], _DATASTORES)
            if known not in TARGETS:
                info = [("bad-element", "datastore")]
                said = f"{self.name} is for {' and '.join(TARGETS)}."
                raise RpcError("invalid-value", said, kind="protocol", info=info)
            return str(known)
        if etree.QName(inner[0]).namespace != BASE or store not in (*TARGETS, "config"):
            raise bad_element(store, f"{store} is not a datastore of this function.", kind="protocol")
        return inner[0] if store == "config" else store

    def named_datastore(self, name: str) -> str:
        """Return running or candidate by name. Raises RpcError (bad-element) for a configuration inline."""
        store = self.datastore(name)
        if not isinstance(store, str):
            raise bad_element("config", f"{name} of {self.name} is a datastore.", kind="protocol")
        return store
