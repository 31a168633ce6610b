"""Random edit-configs through the code and through a straight reading of RFC 6241, 7.2, as many as asked.

``python -m tests.mgmt.fuzz_edits --edits 100000 --seed 6241`` prints the first edit on which the two disagree, and then
exits 1. They agree when both refuse it with the same error-tag, or the trees are equal; when the differences that the
edit's own trace of where it was finds are those of the whole trees; and when a validation that reads only what was
touched finds the settings, or the error, that one of the whole tree finds.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from lxml import etree

from mgmt.netconf.model.touched import Since, Touched
from mgmt.netconf.model.yang_model import Model, default_model
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.changes import changes
from mgmt.netconf.store.edit import apply_edit, empty_tree
from mgmt.netconf.store.transaction import BULK, check
from nf.settings import Settings
from tests.mgmt import edit_model

SEED = 6241
_AFRESH = 200  # edits after which the trees begin empty again


def run(edits: int, seed: int) -> tuple[str, Counter[str]]:
    """Compare so many edits; return what is wrong, or "", and how often each outcome was."""
    rng, model = random.Random(seed), default_model()
    outcomes: Counter[str] = Counter()
    for number in range(edits):
        if number % _AFRESH == 0:
            tree, plain = empty_tree(), edit_model.top()
            checks = Checks(model, tree)
        change, default = edit_model.some_edit(rng)
        request = edit_model.xml(change)
        before = etree.tostring(tree)
        try:
            expected, tag = edit_model.edit(plain, change, default), "ok"
        except edit_model.Refused as refused:
            expected, tag = plain, refused.tag
        touched = Touched()
        try:
            result, said = apply_edit(model, tree, request, default, touched=touched)[0], "ok"
        except RpcError as error:
            result, said = tree, error.tag
        wrong = _wrong(model, tree, result, touched, (expected, tag, said), before)
        if wrong:
            return f"edit {number} of seed {seed} ({default}), {wrong}\n{etree.tostring(request).decode()}", outcomes
        if tag == "ok":
            wrong, valid = checks.differ(result, request, default)
            if wrong:
                return (
                    f"edit {number} of seed {seed} ({default}), {wrong}\n{etree.tostring(request).decode()}",
                    outcomes,
                )
            outcomes["valid"] += valid
        tree, plain = result, expected
        outcomes[tag] += 1
    return "", outcomes


class Checks:
    """Validations of a tree that is edited: whole, and since it was valid last."""

    def __init__(self, model: Model, tree: etree._Element) -> None:
        self._model = model
        self._valid, self._settings, self._touched = tree, Settings(), Touched()
        self._last = tree

    def differ(self, tree: etree._Element, request: etree._Element, default: str) -> tuple[str, bool]:
        """Return in what the two differ, or "", and whether the tree is valid."""
        apply_edit(self._model, self._last, request, default, touched=self._touched)
        self._last = tree
        found, refused = [], list[str]()
        for since in (Since(self._valid, self._touched, BULK), None):
            try:
                found.append(check(self._model, tree, since, self._settings))
            except RpcError as error:
                # Of several constraints that a tree breaks either may tell the first that it meets (RFC 7950, 8.3.3).
                refused.append(f"{error.tag} at {error.path}")
                found.append("refused")
        few, whole = found
        if few != whole:
            return f"{few} by what was touched, {whole} by the whole: {', '.join(refused)}", False
        if isinstance(whole, Settings):
            self._valid, self._settings, self._touched = tree, whole, Touched()
        return "", isinstance(whole, Settings)


def _wrong(model, tree, result, touched, outcome, before) -> str:
    expected, tag, said = outcome
    if tag != said:
        return f"{tag} by the model, {said} by the code"
    if etree.tostring(tree) != before:
        return "the tree before it has changed"
    found = edit_model.read(result)
    if found != expected:
        return f"{expected} by the model, {found} by the code"
    if {repr(c) for c in changes(model, tree, result, touched)} != {repr(c) for c in changes(model, tree, result)}:
        return "it changed other nodes than it says"
    return ""


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    begun_s = time.monotonic()
    wrong, outcomes = run(options.edits, options.seed)
    print(wrong or f"{options.edits} edits agree: {dict(outcomes)}, {time.monotonic() - begun_s:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
