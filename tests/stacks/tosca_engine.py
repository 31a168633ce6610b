"""The parser that Tacker has, on packages: validates the descriptor of each and of its flavours.

Runs in the environment of `scripts/validators tosca`. Reads a list of cases in JSON from standard input, `files` of
each being paths of service templates; writes for each the sentence of the first fault, or nothing.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

from toscaparser.common.exception import ValidationError
from toscaparser.tosca_template import ToscaTemplate


def plain(error: Exception) -> str:
    """Return the first fault that the parser says, without the places in its own text."""
    said = str(error).split("error(s):", maxsplit=1)[-1].split("\t\tFile ", maxsplit=1)[0]
    return re.sub(r"\s+", " ", said).strip()


def verdict(case: dict[str, Any]) -> dict[str, Any]:
    """Validate the templates of a case."""
    found: dict[str, Any] = {}
    for path in case["files"]:
        try:
            parsed = ToscaTemplate(path, None, True)
        except ValidationError as error:
            return {"refused": plain(error)}
        except Exception as error:  # what the parser trips over is refused as well
            return {"refused": f"{type(error).__name__}: {error}"}
        found[path] = {
            "nodes": {node.name: node.type for node in parsed.nodetemplates},
            "policies": {policy.name: policy.type for policy in parsed.policies},
            "mapped": parsed.topology_template.substitution_mappings is not None,
        }
    return {"refused": None, "templates": found}


def main() -> None:
    """Read cases, write verdicts."""
    logging.disable(logging.CRITICAL)
    json.dump([verdict(case) for case in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
