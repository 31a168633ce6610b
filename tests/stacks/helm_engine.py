"""Runs in the environment of constraints/kubernetes.txt: renders a chart and validates what comes out.

A list of cases comes as JSON by standard input, each {"chart", "values", "versions"}; for each goes out {"error"} or
{"documents": [...], "faults": {version: [sentence]}, "lint": {...}, "notes"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml


def answer(case: dict[str, Any]) -> dict[str, Any]:
    with helm_python.Chart.load(case["chart"]) as chart:
        try:
            chart.validate_schema(chart.merge_values(case["values"]))
            rendered = chart.render(case["values"], name="supernetflow", namespace="telco", is_install=True)
        except helm_python.HelmError as error:
            return {"error": str(error)}
    notes = "".join(text for name, text in rendered.items() if name.endswith(".txt"))
    texts = [text for name, text in rendered.items() if not name.endswith(".txt")]
    documents = [each for text in texts for each in yaml.safe_load_all(text) if each]
    faults = {
        version: [fault for each in documents if (fault := fault_of(each, version))] for version in case["versions"]
    }
    lint = helm_python.lint(case["chart"], case["values"], strict=True, namespace="telco")
    return {"documents": documents, "faults": faults, "lint": lint, "notes": notes}


def fault_of(document: dict[str, Any], version: str) -> str:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except Exception as error:
        return f"{document['kind']}: {str(error).splitlines()[0]}"
    return ""


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
