"""Errors of NETCONF as they go to a client (RFC 6241, 4.3 and appendix A).

    RpcError               one rpc-error: type, tag, severity, path, sentence, info
    └── RpcErrors          several of them in one reply (continue-on-error)

A message never carries the text of an exception, nor a value that a client sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lxml import etree

from mgmt.netconf.xml_names import BASE, NC, qualified_path

__all__ = ["RpcError", "RpcErrors", "bad_element", "missing_attribute", "missing_element", "unknown_element"]

_YANG = "urn:ietf:params:xml:ns:yang:1"

Namespaces = Callable[[str], str | None]
"""Name of a module to its namespace."""


class RpcError(Exception):
    """One rpc-error. ``info`` is (element of error-info, text); ``path`` a data path, see `mgmt.netconf.xml_names`."""

    def __init__(
        self,
        tag: str,
        message: str,
        *,
        kind: str = "application",
        path: str = "",
        app_tag: str = "",
        info: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.tag, self.message, self.kind = tag, message, kind
        self.path, self.app_tag, self.info = path, app_tag, tuple(info)

    def at(self, path: str) -> RpcError:
        """Return the same error with a path, where it has none."""
        return (
            self
            if self.path
            else RpcError(self.tag, self.message, kind=self.kind, path=path, app_tag=self.app_tag, info=self.info)
        )

    def elements(self, namespaces: Namespaces) -> list[etree._Element]:
        """Return the rpc-error elements, in the order of the schema."""
        error = etree.Element(f"{NC}rpc-error", nsmap={None: BASE})
        for name, text in (
            ("error-type", self.kind),
            ("error-tag", self.tag),
            ("error-severity", "error"),
            ("error-app-tag", self.app_tag),
        ):
            if text:
                etree.SubElement(error, NC + name).text = text
        if self.path:
            path, prefixes = qualified_path(self.path, namespaces)
            etree.SubElement(error, f"{NC}error-path", nsmap=prefixes).text = path
        message = etree.SubElement(error, f"{NC}error-message")
        message.set("{http://www.w3.org/XML/1998/namespace}lang", "en")
        message.text = self.message
        if self.info:
            info = etree.SubElement(error, f"{NC}error-info")
            for name, text in self.info:
                # The YANG elements of error-info live in a namespace of their own (RFC 7950, 15).
                space = _YANG if name in ("non-unique", "missing-choice") else BASE
                value, prefixes = qualified_path(text, namespaces) if name == "non-unique" else (text, {})
                etree.SubElement(info, f"{{{space}}}{name}", nsmap={None: space, **prefixes}).text = value
        return [error]


class RpcErrors(RpcError):
    """Several errors of one request."""

    def __init__(self, errors: Sequence[RpcError]) -> None:
        super().__init__(errors[0].tag, errors[0].message)
        self.errors = tuple(errors)

    def elements(self, namespaces: Namespaces) -> list[etree._Element]:
        """Return one rpc-error for each."""
        return [element for error in self.errors for element in error.elements(namespaces)]


def unknown_element(name: str, message: str, path: str = "", kind: str = "application") -> RpcError:
    """Return the error for an element that is not in the schema at this place."""
    return RpcError("unknown-element", message, kind=kind, path=path, info=[("bad-element", name)])


def missing_element(name: str, message: str, path: str = "", kind: str = "application") -> RpcError:
    """Return the error for an element that is missing."""
    return RpcError("missing-element", message, kind=kind, path=path, info=[("bad-element", name)])


def bad_element(name: str, message: str, path: str = "", kind: str = "application") -> RpcError:
    """Return the error for an element whose value or content is not right."""
    return RpcError("bad-element", message, kind=kind, path=path, info=[("bad-element", name)])


def missing_attribute(attribute: str, element: str, message: str, kind: str = "rpc") -> RpcError:
    """Return the error for an attribute that is missing."""
    return RpcError(
        "missing-attribute", message, kind=kind, info=[("bad-attribute", attribute), ("bad-element", element)]
    )
