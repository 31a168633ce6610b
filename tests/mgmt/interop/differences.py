"""The places where two servers may answer differently, each with the clause that says which is right, or that both are.

`notation` brings what no standard settles to one form. `RULES` explain the outcome of a request, `CONFIGURATIONS`
what a story leaves behind. A difference without an explanation, and an explanation without a difference, fail the test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.mgmt.interop.servers import Outcome

# RFC 7950, 15: the only app-tags of a standard; each server has others of its own. The last is of the neutral module.
APP_TAGS = {
    "data-not-unique", "too-many-elements", "too-few-elements", "must-violation", "instance-required",
    "missing-choice", "missing-instance", "low-above-high",
}  # fmt: skip


PARAMETERS = {
    "/default-operation", "/test-option", "/error-option", "/filter", "/with-defaults", "/persist-id",
    "/confirm-timeout",
}  # fmt: skip


def notation(outcome: Outcome) -> Outcome:
    """Return an outcome without what RFC 6241 leaves open.

    error-type (4.3) is a layer, and appendix A gives most tags for several of them: protocol and application are one.
    error-path (4.3) has no root that is prescribed: one server begins at ``rpc``, the other at the data (RFC 7950, 15).
    """
    if outcome.kind != "error":
        return outcome
    return replace(
        outcome,
        type="content" if outcome.type in ("protocol", "application") else outcome.type,
        app_tag=outcome.app_tag if outcome.app_tag in APP_TAGS else "",
        path=re.sub(r"^/rpc/[a-z-]+(/(source|target)\b)?(/config\b)?", "", outcome.path),
    )


@dataclass(frozen=True)
class Rule:
    """An explanation: the clause, and the requests with the two outcomes that it fits."""

    clause: str
    fits: Callable[[str, Outcome, Outcome], bool]


def _tags(ours: str, theirs: str | tuple[str, ...], path: str | None = None) -> Callable[[str, Outcome, Outcome], bool]:
    """Return what fits errors of these tags, at one path in both or at *path* in theirs."""
    known = (theirs,) if isinstance(theirs, str) else theirs
    return lambda _, a, b: a.tag == ours and b.tag in known and b.path == (a.path if path is None else path)


RULES = (
    Rule(
        "RFC 7950, 8.3.1: a value that does not fit its type is answered with invalid-value",
        lambda _, a, b: a.tag == "invalid-value" and b.tag in ("bad-element", "unknown-element")
        and b.path.replace("[left='0']", "") == a.path and a.path != "",
    ),
    Rule(
        "RFC 7950, 9.2, 9.5.1 and 9.8.1: no values are 2^64, the boolean 1, and six bytes where four are the most",
        lambda request, a, b: (a.tag, b.kind) == ("invalid-value", "ok")
        and re.search("<(uint64|boolean|binary)>", request) is not None,
    ),
    Rule(
        "RFC 6241, 8.9.1: an expression that gives no set of nodes is answered with invalid-value",
        lambda request, a, b: 'type="xpath" ' in request and a.tag == "invalid-value"
        and (b.kind == "data" or b.tag == "bad-attribute"),
    ),
    Rule(
        "RFC 6241, 4.3: error-path is of a node; for a parameter of an operation it may be there or not",
        lambda _, a, b: a.tag == b.tag and a.path == ""
        and b.path in PARAMETERS,
    ),
    Rule(
        "RFC 6241, appendix A: a missing parameter is a missing-element; data-missing is of data that does not exist",
        lambda _, a, b: a.tag == "missing-element" and b.tag == "data-missing" and a.path == "",
    ),
    Rule(
        "RFC 6241, appendix A: bad-element or unknown-element may name a datastore that is none",
        lambda request, a, b: "<elsewhere/>" in request and (a.tag, b.tag) == ("bad-element", "unknown-element"),
    ),
    Rule(
        "RFC 6241, appendix A: an operation that is not there is operation-not-supported; the other takes it for data",
        lambda _, a, b: a.tag == "operation-not-supported" and b.tag in ("unknown-element", "unknown-namespace"),
    ),
    Rule(
        "RFC 6241, appendix A: what is not an operation on running is operation-not-supported, or failed",
        _tags("operation-not-supported", "operation-failed"),
    ),
    Rule(
        "RFC 6241, 7.3: source and target that are one are refused with invalid-value",
        _tags("invalid-value", "operation-not-supported"),
    ),
    Rule(
        "RFC 6241, 7.9: a session-id that is no number is a value that is not valid",
        _tags("invalid-value", "bad-element", "/session-id"),
    ),
    Rule(
        "RFC 6241, 4.3: error-path of an unknown element is the element or the one around it",
        lambda _, a, b: a.tag == b.tag == "unknown-element" and a.path.rpartition("/")[0] == b.path,
    ),
    Rule(
        "RFC 6241, 4.3: error-path of a key is the key or its entry",
        lambda _, a, b: a.tag == b.tag and a.tag in ("missing-element", "invalid-value")
        and re.sub(r"\[[^]]*\]", "", b.path) in (a.path, a.path.rpartition("/")[0]) and "[" in b.path,
    ),
    Rule(
        "RFC 6241, 4.3: error-path of an attribute is its element or the one around it",
        lambda _, a, b: a.tag == b.tag and a.tag in ("bad-attribute", "unknown-attribute")
        and re.sub(r"\[1\]", "", b.path).rpartition("/")[0] == a.path,
    ),
    Rule(
        "RFC 6241, appendix A: content of the wrong kind, or a leaf twice, is bad-element or unknown-element",
        _tags("bad-element", "unknown-element"),
    ),
    Rule(
        "RFC 7950, 7.7.9: replace of a leaf-list entry that is there is no error",
        lambda request, a, b: '<tag nc:operation="replace">' in request and a.kind == "ok" and b.tag == "data-exists",
    ),
    Rule(
        "RFC 6241, 7.2: with the default operation none, what is not in the target is data-missing",
        lambda request, a, b: "<default-operation>none<" in request and a.tag == "data-missing" and b.kind == "ok",
    ),
    Rule(
        "RFC 7950, 15.1: data-not-unique names the values; error-path may be of either entry",
        lambda _, a, b: a.app_tag == b.app_tag == "data-not-unique",
    ),
    Rule(
        "RFC 7950, 15.5 and 15.6: instance-required is of a leafref; a mandatory leaf that is missing has no app-tag",
        lambda _, a, b: a.tag == b.tag == "data-missing" and a.path == b.path
        and (a.app_tag, b.app_tag) == ("", "instance-required"),
    ),
    Rule(
        "RFC 7950, 8.3.2: a node whose when is false is unknown-element; the other server drops it without a word",
        lambda _, a, b: a.tag == "unknown-element" and a.path == "/top/detail" and b.kind == "ok",
    ),
    Rule(
        "RFC 7950, 8.3.3: constraints of candidate are held at validate and commit, not at the edit",
        lambda request, a, b: "<edit-config>" in request and "test-option" not in request and a.kind == "ok"
        and b.app_tag == "low-above-high",
    ),
    Rule(
        "RFC 6241, 7.2: test-only validates; the other server answers ok",
        lambda request, a, b: "test-only" in request and a.app_tag == "low-above-high" and b.kind == "ok",
    ),
    Rule(
        "RFC 6241, 7.5 and 7.6: no lock, and no unlock by another session; the tag of the refusal is not prescribed",
        lambda _, a, b: a.tag == "lock-denied" and b.tag in ("in-use", "resource-denied"),
    ),
    Rule(
        "RFC 7950, 7.6: a leaf has one value; the other server takes the last one in an entry",
        lambda request, a, b: request.count("<note>") == 2 and a.tag == "bad-element" and b.kind == "ok",
    ),
)  # fmt: skip

CONFIGURATIONS = {
    "values of decimal": "RFC 7950, 9.3.2: the canonical form of 5.00 is 5.0",
    "values of boolean": "RFC 7950, 9.5.1: 1 is no boolean",
    "values of binary": "RFC 7950, 9.8.2: six bytes where four are the most",
    "when, at validate": "RFC 7950, 8.3.2: a node whose when is false is refused, not dropped",
    "when, at commit": "RFC 7950, 8.3.2: a node whose when is false is refused, not dropped",
    "when, at test-then-set": "RFC 7950, 8.3.2: a node whose when is false is refused, not dropped",
    "values twice": "RFC 7950, 7.6 and 7.7: one value of a leaf, each value of a leaf-list once",
}


def explained(request: str, ours: Outcome, theirs: Outcome) -> Rule | None:
    """Return the rule that explains two outcomes, None when there is none."""
    return next((rule for rule in RULES if rule.fits(request, ours, theirs)), None)
