"""The collector in the Helm chart: nothing without it, and with it what Kubernetes and `snf collect` take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from history.collect.settings import duration_s, read, size_bytes
from mgmt.cli.main import snf
from tests.stacks.test_kubernetes import HOST, NEWEST, OLDEST, changed, render

NODES = [
    {"endpoint": f"tcp://{name}:5556", "curve": "collector.curve"} for name in ("node1.example.com", "[2001:db8::1]")
]
WITH = HOST | {"collector": {"enabled": True, "from": NODES, "keys": {"existingSecret": "history-keys"}}}
GOOD: dict[str, dict[str, Any]] = {
    "with it": WITH,
    "a claim that is there": changed(WITH, "collector.storage.existingClaim", "history"),
    "much": changed(WITH, "collector.storage", {"size": "2Ti", "storageClassName": "fast"})
    | {"imagePullSecrets": [{"name": "registry"}], "probes": {"periodSeconds": 60}},
    "beside probes of Multus": WITH
    | {"network": {"mode": "multus", "multus": [{"name": "n3-mirror", "interface": "n3"}]}},
}
# Values, and words of the sentence that refuses them.
BAD = [
    (changed(WITH, "collector.from", []), "collector.from is empty"),
    (changed(WITH, "collector.keys.existingSecret", ""), "collector.keys.existingSecret is empty"),
    (changed(WITH, "collector.from", [NODES[0], NODES[0]]), "collector.from has tcp://node1.example.com:5556 twice"),
    (changed(WITH, "collector.from", [NODES[0] | {"endpoint": "node1:5556"}]), "/collector/from/0/endpoint"),
    (changed(WITH, "collector.from", [NODES[0] | {"endpoint": "tcp://a b:1"}]), "/collector/from/0/endpoint"),
    (changed(WITH, "collector.from", [NODES[0] | {"curve": "../collector.curve"}]), "/collector/from/0/curve"),
    (changed(WITH, "collector.from", [{"endpoint": "tcp://a:5556"}]), "missing property 'curve'"),
    (changed(WITH, "collector.keep.records", "3 days"), "/collector/keep/records"),
    (changed(WITH, "collector.keep.disk", "45Gi"), "/collector/keep/disk"),
    (changed(WITH, "collector.storage.size", "much"), "/collector/storage/size"),
    (changed(WITH, "collector.metrics.port", 80), "/collector/metrics/port"),
    (changed(WITH, "collector.resources", {"limits": {"memory": "lots"}}), "/collector/resources/limits/memory"),
    (changed(WITH, "collector.replicas", 2), "additional properties 'replicas' not allowed"),
    (changed(WITH, "collector.image.repository", "A B"), "/collector/image/repository"),
]


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    return render(HOST, *GOOD.values(), *(values for values, _ in BAD))


@pytest.fixture(scope="module")
def good(said: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return dict(zip(GOOD, said[1:], strict=False))


def of_collector(said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the objects of the collector by their kinds."""
    name = "app.kubernetes.io/name"
    mine = (each for each in said["documents"] if each["metadata"]["labels"][name] == "supernetflow-collector")
    return {each["kind"]: each for each in mine}


def pod(said: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = of_collector(said)["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def test_there_is_none_by_default(said: list[dict[str, Any]]) -> None:
    assert of_collector(said[0]) == {}
    assert "history" not in said[0]["notes"]


@pytest.mark.parametrize("name", GOOD)
class TestGood:
    """Values that an operator has render to objects that Kubernetes takes, the oldest version and the newest."""

    def test_they_are_taken(self, good: dict[str, Any], name: str) -> None:
        assert "error" not in good[name]
        assert good[name]["faults"] == {OLDEST: [], NEWEST: []}
        assert of_collector(good[name]).keys() == {"ConfigMap", "Service", "StatefulSet"}
        assert "snf query worst" in good[name]["notes"]

    def test_lint_has_nothing_but_the_missing_icon(self, good: dict[str, Any], name: str) -> None:
        lint = good[name]["lint"]
        assert (lint["errors"], [each["error"] for each in lint["messages"]]) == ([], ["icon is recommended"])

    def test_no_container_has_a_right(self, good: dict[str, Any], name: str) -> None:
        for each in (*pod(good[name])["initContainers"], *pod(good[name])["containers"]):
            context = each["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context["privileged"]
            assert not context["allowPrivilegeEscalation"]
            assert context["readOnlyRootFilesystem"]
        assert pod(good[name])["securityContext"]["runAsNonRoot"]
        assert "hostNetwork" not in pod(good[name])

    def test_pods_of_the_function_are_others(self, good: dict[str, Any], name: str) -> None:
        (daemon,) = (each for each in good[name]["documents"] if each["kind"] == "DaemonSet")
        labels = of_collector(good[name])["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
        assert not daemon["spec"]["selector"]["matchLabels"].items() <= labels.items()

    def test_the_command_and_its_options_are_there(self, good: dict[str, Any], name: str) -> None:
        (container,) = pod(good[name])["containers"]
        assert container["command"][:2] == ["snf", "collect"]
        shown = CliRunner().invoke(snf, ["collect", "--help"]).output.split()
        assert {word for word in container["command"] if word.startswith("--")} <= set(shown)
        (port,) = container["ports"]
        assert container["command"][-1].endswith(f":{port['containerPort']}")

    def test_what_is_mounted_is_there(self, good: dict[str, Any], name: str) -> None:
        spec = of_collector(good[name])["StatefulSet"]["spec"]
        claims = {each["metadata"]["name"] for each in spec.get("volumeClaimTemplates", [])}
        there = claims | {volume["name"] for volume in pod(good[name])["volumes"]}
        every = (*pod(good[name])["initContainers"], *pod(good[name])["containers"])
        assert {mount["name"] for each in every for mount in each["volumeMounts"]} == there

    def test_its_file_is_one_of_the_collector(self, good: dict[str, Any], name: str, tmp_path: Path) -> None:
        file = tmp_path / "collector.toml"
        file.write_text(of_collector(good[name])["ConfigMap"]["data"]["collector.toml"])

        found, sources = read(file)
        for key in ("keep-records", "keep-minutes", "keep-hours"):
            assert duration_s(found[key], key)
        assert size_bytes(found["disk"], "disk")
        assert [endpoint for endpoint, _ in sources] == [each["endpoint"] for each in NODES]
        (keys,) = (mount for mount in pod(good[name])["containers"][0]["volumeMounts"] if mount["name"] == "keys")
        assert {str(path) for _, path in sources} == {f"{keys['mountPath']}/collector.curve"}


def test_the_user_is_that_of_the_image(good: dict[str, Any]) -> None:
    build = (Path(__file__).parents[2] / "deploy/oci/build").read_text()
    number = re.search(r'depends="libstdc.*number=(\d+)', build)
    assert number is not None
    assert pod(good["with it"])["securityContext"]["runAsUser"] == int(number[1])


@pytest.mark.parametrize("number", range(len(BAD)), ids=[words for _, words in BAD])
def test_bad_values_are_refused_in_a_sentence(said: list[dict[str, Any]], number: int) -> None:
    assert BAD[number][1] in said[1 + len(GOOD) + number].get("error", "rendered")
