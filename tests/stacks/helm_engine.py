"""Runs in the environment of constraints/kubernetes.txt: renders a chart and validates what comes out.

A list of requests comes as JSON by standard input, each {"values", "namespace"}; for each goes out
{"error"} or {"documents": [...], "faults": {version: [sentence]}}, and one more entry {"lint": [...]} per request.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml


def answer(path: str, request: dict[str, Any], versions: list[str]) -> dict[str, Any]:
    with helm_python.Chart.load(path) as chart:
        try:
            chart.validate_schema(chart.merge_values(request["values"]))
            rendered = chart.render(request["values"], name="supernetflow", namespace="telco", is_install=True)
        except helm_python.HelmError as error:
            return {"error": str(error)}
    notes = {name: text for name, text in rendered.items() if name.endswith(".txt")}
    texts = [text for name, text in rendered.items() if name not in notes]
    documents = [each for text in texts for each in yaml.safe_load_all(text) if each]
    faults: dict[str, list[str]] = {version: [] for version in versions}
    for version in versions:
        for document in documents:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except Exception as error:
                faults[version].append(f"{document['kind']}: {str(error).splitlines()[0]}")
    lint = helm_python.lint(path, request["values"], strict=True, namespace="telco")
    return {"documents": documents, "faults": faults, "lint": lint, "notes": "\n".join(notes.values())}


def main() -> None:
    asked = json.load(sys.stdin)
    json.dump([answer(asked["chart"], each, asked["versions"]) for each in asked["requests"]], sys.stdout)


main()
