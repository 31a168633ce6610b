"""Faults of a configuration told apart from those that follow from them; what is wrong is taken out of the tree.

libyang tells of one fault at a time. So the nodes that are wrong go, and the rest is looked at again: of a condition
between nodes one of these alone, so that what else is wrong in the same container is found. What may then only be wrong
because of a node that went, or that never came in as nobody knows its name, follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache

from lxml import etree

from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.xml_names import elements, local, path_steps, steps_to

__all__ = ["Gone"]

_MUST = re.compile(
    r'must\s+(?P<said>"[^"]*"(?:\s*\+\s*"[^"]*")*)\s*\{[^}]*?error-app-tag\s+"(?P<tag>[^"]+)"', re.DOTALL
)
_NAME = re.compile(r"[A-Za-z_][\w.-]*(?![\w.:(-])")
_FAR = re.compile(r"(?:^|[\s(=])/|\.\./\.\.")  # it looks at other entries


@cache
def _conditions() -> dict[str, str]:
    """Return the conditions of the modules by the error-app-tag that they are told with."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(yang_dir().glob("*.yang")))
    return {m["tag"]: "".join(re.findall('"([^"]*)"', m["said"])) for text in texts for m in _MUST.finditer(text)}


@dataclass(slots=True)
class Gone:
    """The nodes of a tree that are wrong: ``paths`` of all that were told of, ``values`` that others may refer to."""

    tree: etree._Element
    paths: list[str]
    values: set[str] = field(default_factory=set)

    def explains(self, path: str, tag: str) -> bool:
        """Say whether a fault at *path* may be there because of one that was told; *tag*: its error-app-tag."""
        way = list(steps_to(self.tree, path))
        condition = _conditions().get(tag, "")
        if condition and way and len(way[-1]):
            return self._breaks(condition, path, {local(child) for child in elements(way[-1])})
        if any(f"{b}/".startswith(f"{path}/") or f"{path}/".startswith(f"{b}/") for b in self.paths if b):
            return True
        steps = path_steps(path) or ()
        beside = [each[-1].name for b in self.paths if (each := path_steps(b) or ()) and each[:-1] == steps[:-1]]
        if len(way) < len(steps) and get_close_matches(steps[-1].name, beside):
            return True  # it is missing, and what is there has nearly its name
        return bool(way) and not len(way[-1]) and way[-1].text in self.values

    def _breaks(self, condition: str, path: str, present: set[str]) -> bool:
        """Say whether a condition speaks of a node that is gone, or of one that is there under a name like it."""
        names = _names(condition)
        inside = [_last(b) for b in self.paths if b.startswith(f"{path}/")]
        around = [b for b in self.paths if b and f"{path}/".startswith(f"{b}/") and b != path]
        if around or names & {*inside} or any(get_close_matches(name, names - present) for name in inside):
            return True
        return bool(_FAR.search(condition)) and bool(names & {_last(b) for b in self.paths})

    def take_out(self, path: str, tag: str) -> bool:
        """Take what a fault names out of the tree, or of what is missing what it should be in; False: nothing is there.

        Of a condition over children of a node the last one of them goes.
        """
        way = list(steps_to(self.tree, path))
        if not way:
            return False
        last = way[-1]
        names = _names(_conditions().get(tag, "")) - {key for key, _ in (path_steps(path) or ())[-1].keys}
        if found := [child for child in elements(last) if local(child) in names]:
            self.paths.append(f"{path}/{local(found[-1])}")
            self._remove(found[-1])
            return True
        self.paths.append(path)
        # A key goes with its entry only.
        while last.getparent() is not self.tree and last.getparent()[0] is last and not len(last):
            last = last.getparent()
        self._remove(last)
        return True

    def _remove(self, element: etree._Element) -> None:
        self.values.update(leaf.text for leaf in element.iter("{*}*") if leaf.text and not len(leaf))
        element.getparent().remove(element)


def _names(condition: str) -> set[str]:
    """Return the names of nodes in a condition."""
    return {*_NAME.findall(re.sub("'[^']*'", "", condition))} - {"not", "or", "and"}


def _last(path: str) -> str:
    """Return the name of the node at the end of a path."""
    steps = path_steps(path)
    return steps[-1].name if steps else ""
