"""The Helm chart, by Helm's own engine and the schemas of Kubernetes: what it renders, and what it refuses."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

import pytest
from click.testing import CliRunner

from mgmt.cli.main import snf
from nf.apply.memory import unit_bytes
from nf.kernel.privilege import NEEDED
from nf.settings import Limits
from tests.stacks.validators import verdicts
from tests.test_house import ROOT

CHART = ROOT / "deploy" / "kubernetes" / "supernetflow"
OLDEST, NEWEST = "1.27.0", "1.37.0"  # Chart.yaml, kubeVersion; the newest that kubernetes-validate knows
STARTUP = (ROOT / "yang" / "examples" / "probe-mirror.xml").read_text()
HOST: dict[str, Any] = {"keys": {"existingSecret": "probe-keys"}, "configuration": {"startup": STARTUP}}
N3 = {"name": "n3-mirror", "interface": "n3"}
N6 = {"name": "n6-mirror", "namespace": "ran", "interface": "n6", "mac": "02:00:00:00:00:06"}
MULTUS = HOST | {"network": {"mode": "multus", "multus": [N3, N6]}}
LIMITED = HOST | {"configuration": {"existingConfigMap": "startup"}}


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return values with another one at a path of names."""
    whole = copy.deepcopy(values)
    *way, last = path.split(".")
    at = whole
    for name in way:
        at = at.setdefault(name, {})
    at[last] = value
    return whole


GOOD: dict[str, dict[str, Any]] = {
    "host": HOST,
    "multus": MULTUS,
    "config map": LIMITED,
    "claim": changed(HOST, "state", {"type": "persistentVolumeClaim", "claim": "probes"}),
    "policy": MULTUS
    | {
        "networkPolicy": {
            "enabled": True,
            "netconfFrom": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            "feedFrom": [
                {"namespaceSelector": {"matchLabels": {"team": "analytics"}}},
                {"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:0:1::/64"]}},
                {"ipBlock": {"cidr": "::/0"}},
            ],
        }
    },
    "no root": HOST | {"runAsNonRoot": True},
    "detach": changed(HOST, "onStop", "detach"),
    "no snapshots": changed(LIMITED, "feed.snapshotPort", 0),
    "much": HOST
    | {
        "tolerations": [{"key": "upf", "operator": "Exists"}],
        "priorityClassName": "system-node-critical",
        "imagePullSecrets": [{"name": "registry"}],
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "4"}},
        "updateStrategy": {"maxUnavailable": "25%"},
        "seccomp": {"localhostProfile": "profiles/snf.json"},
        "service": {"enabled": False},
        "netconf": {"address": "[::]", "port": 1830},
    },
}

# Values, and words of the sentence that refuses them.
BAD = [
    ({}, "keys.existingSecret is empty"),
    (changed(HOST, "keys.existingSecret", ""), "keys.existingSecret is empty"),
    (changed(HOST, "keys.existingSecret", "Probe Keys"), "/keys/existingSecret"),
    (changed(HOST, "keys.secret", "x"), "additional properties 'secret' not allowed"),
    (changed(HOST, "configuration.startup", ""), "There is no configuration"),
    (changed(HOST, "configuration.startup", "{}"), "/configuration/startup"),
    (changed(HOST, "configuration.existingConfigMap", "other"), "are both given"),
    (changed(HOST, "network.mode", "bridge"), "value must be one of 'host', 'multus'"),
    (changed(HOST, "network.mode", "multus"), "network.multus is empty"),
    (changed(MULTUS, "network.mode", "host"), "gets none. Set network.mode to multus"),
    (changed(MULTUS, "network.multus", [N3, N3]), "Two attachments of network.multus have the interface n3"),
    (changed(MULTUS, "network.multus", [N3 | {"interface": "eth0"}]), "/network/multus/0/interface"),
    (changed(MULTUS, "network.multus", [N3 | {"interface": "a name with spaces"}]), "/network/multus/0/interface"),
    (changed(MULTUS, "network.multus", [N3 | {"mac": "02:00"}]), "/network/multus/0/mac"),
    (changed(HOST, "nodeSelector", None), "missing property 'nodeSelector'"),
    (changed(HOST, "netconf.port", 70000), "/netconf/port"),
    (changed(HOST, "netconf.address", "fe80::1%eth0"), "/netconf/address"),
    (changed(HOST, "feed.port", 556), "/feed/port"),
    (changed(HOST, "limits.flows", "many"), "got string, want integer"),
    (changed(HOST, "limits.flow", 1), "additional properties 'flow' not allowed"),
    (changed(HOST, "resources.limits", {"memory": "1Gi"}), "resources.limits.memory cannot be given"),
    (changed(HOST, "state.type", "emptyDir"), "/state/type"),
    (changed(HOST, "state.type", "persistentVolumeClaim"), "state.claim is empty"),
    (changed(HOST, "onStop", "kill"), "/onStop"),
    (
        HOST | {"runAsNonRoot": True, "state": {"type": "persistentVolumeClaim", "claim": "c"}},
        "needs state.type hostPath",
    ),
    (changed(HOST, "probes.periodSeconds", 0), "/probes/periodSeconds"),
    (changed(HOST, "serviceMonitor.enabled", True), "the function has no endpoint of metrics"),
    (changed(HOST, "networkPolicy.enabled", True), "no NetworkPolicy holds for a pod on the network of its node"),
    (
        changed(
            HOST, "configuration.startup", STARTUP.replace("<exporter", "<limits><flows>7</flows></limits><exporter")
        ),
        "limits.flows is 131072 and the configuration has 7",
    ),
    (changed(HOST, "limits.flows", 1024), "limits.flows is 1024 and the configuration has none, which means 131072"),
    (changed(HOST, "nodeSelector", {"a b": "x"}), "invalid propertyName 'a b'"),
    (changed(HOST, "nodeSelector", {"a": "x y"}), "/nodeSelector/a"),
    (changed(HOST, "tolerations", [{"kye": "upf"}]), "additional properties 'kye' not allowed"),
    (changed(HOST, "tolerations", [{"key": "upf", "operator": "Exist"}]), "/tolerations/0/operator"),
    (changed(HOST, "imagePullSecrets", [{"name": "x", "key": "y"}]), "additional properties 'key' not allowed"),
    (changed(HOST, "priorityClassName", "Very High"), "/priorityClassName"),
    (changed(HOST, "resources.requests", {"cpu": "two"}), "/resources/requests/cpu"),
    (changed(HOST, "resources.requests", {"cpuu": "2"}), "invalid propertyName 'cpuu'"),
    (changed(HOST, "resources.requests", {"memory": "9Gi"}), "resources.requests.memory cannot be given"),
    (changed(HOST, "state.path", "/var/../etc"), "/state/path"),
    (changed(HOST, "state", {"type": "persistentVolumeClaim", "claim": "A B"}), "/state/claim"),
    (changed(HOST, "updateStrategy.maxUnavailable", "200%"), "/updateStrategy/maxUnavailable"),
    (changed(HOST, "updateStrategy.maxUnavailable", "0%"), "/updateStrategy/maxUnavailable"),
    (changed(HOST, "seccomp.localhostProfile", "../x"), "/seccomp/localhostProfile"),
    (changed(HOST, "configuration", {"existingConfigMap": "A B"}), "/configuration/existingConfigMap"),
    (changed(HOST, "netconf.port", 5556), "netconf.port and feed.port are one port"),
    (changed(MULTUS, "network.multus", [N3 | {"interface": ".."}]), "/network/multus/0/interface"),
    (changed(MULTUS, "network.multus", [N3 | {"name": "a..b"}]), "/network/multus/0/name"),
    (changed(MULTUS, "network.multus", [N3 | {"mac": "01:00:00:00:00:03"}]), "/network/multus/0/mac"),
    (changed(MULTUS, "network.multus", [N6, N3 | {"mac": N6["mac"]}]), "have the address 02:00:00:00:00:06"),
    (
        changed(HOST, "feed.port", 5555),
        "feed.port is 5555, and the configuration has <endpoint>tcp://*:5556</endpoint>",
    ),
    (
        changed(HOST, "feed.snapshotPort", 5558),
        "feed.snapshotPort is 5558, and the configuration has <snapshot-endpoint>tcp://*:5557</snapshot-endpoint>",
    ),
    (changed(LIMITED, "feed.snapshotPort", 5556), "feed.snapshotPort is netconf.port or feed.port"),
    (
        changed(MULTUS, "networkPolicy", {"enabled": True, "netconfFrom": [{"ipblock": {"cidr": "192.0.2.0/24"}}]}),
        "additional properties 'ipblock' not allowed",
    ),
    (
        changed(MULTUS, "networkPolicy", {"enabled": True, "feedFrom": [{"ipBlock": {"cidr": "anywhere"}}]}),
        "/networkPolicy/feedFrom/0/ipBlock/cidr",
    ),
    (changed(MULTUS, "networkPolicy", {"enabled": True, "feedFrom": [{}]}), "/networkPolicy/feedFrom/0"),
    (changed(HOST, "images", {}), "additional properties 'images' not allowed"),
    *(
        (changed(HOST, name, None), f"missing property '{name}'")
        for name in (
            "seccomp",
            "service",
            "networkPolicy",
            "serviceMonitor",
            "resources",
            "updateStrategy",
            "collector",
        )
    ),
    (changed(HOST, "configuration.startup", "<html>404</html>"), "configuration.startup is no configuration"),
    (
        changed(HOST, "configuration.startup", STARTUP.replace("@publisher-secret@", "A" * 40)),
        "has a secret in <secret-key>",
    ),
    (changed(HOST, "configuration.startup", STARTUP.replace("@pseudonyms@", "x" * 43 + "=")), "has a secret in <key>"),
    (
        changed(MULTUS, "network.multus", [N3 | {"interface": "n33"}, N6]),
        "gives the pod the interface n33, and the configuration has none of this name",
    ),
    (
        changed(HOST, "configuration.startup", STARTUP.replace("tcp://*:5556", "tcp://127.0.0.1:5556")),
        "has its endpoint on the loopback address",
    ),
    (
        changed(
            HOST,
            "configuration.startup",
            STARTUP.replace("<snapshot-endpoint>tcp://*:5557</snapshot-endpoint>", ""),
        ),
        "feed.snapshotPort is 5557, and the configuration has no snapshot-endpoint",
    ),
    (changed(LIMITED, "feed.snapshotPort", 80), "/feed/snapshotPort"),
    *(
        (changed(HOST, "state.path", path), "/state/path")
        for path in ("//", "/etc", "/proc", '/var/lib/a"b', "/var/./x")
    ),
    (changed(HOST, "image.tag", "-x"), "/image/tag"),
    *((changed(HOST, "image.repository", name), "/image/repository") for name in ("a/b:1.0", "a/", "a//b")),
    *(
        (changed(HOST, "tolerations", [wrong]), "/tolerations/0")
        for wrong in (
            {"key": "a", "operator": "Exists", "value": "x"},
            {"operator": "Equal", "value": "x"},
            {"key": "a b", "operator": "Exists"},
            {"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 4},
        )
    ),
    *(
        (changed(MULTUS, "networkPolicy", {"enabled": True, "netconfFrom": [wrong]}), "/networkPolicy/netconfFrom/0")
        for wrong in (
            {"ipBlock": {"cidr": "999.1.1.1/24"}},
            {"ipBlock": {"cidr": "192.0.2.0/33"}},
            {"ipBlock": {"cidr": "::::/64"}},
            {"ipBlock": {"cidr": "192.0.2.0/24"}, "podSelector": {}},
            {"podSelector": {"matchLabel": {"a": "b"}}},
        )
    ),
]


def render(*all_values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the engine says of each of some values."""
    cases = [{"chart": str(CHART), "versions": [OLDEST, NEWEST], "values": values} for values in all_values]
    return verdicts("kubernetes", "helm_engine.py", cases)


@pytest.fixture(scope="module")
def good() -> dict[str, dict[str, Any]]:
    return dict(zip(GOOD, render(*GOOD.values()), strict=True))


@pytest.fixture(scope="module")
def bad() -> list[dict[str, Any]]:
    return render(*(values for values, _ in BAD))


def daemon(said: dict[str, Any]) -> dict[str, Any]:
    """Return the template of the pods."""
    (found,) = (each for each in said["documents"] if each["kind"] == "DaemonSet")
    template: dict[str, Any] = found["spec"]["template"]
    return template


def function(said: dict[str, Any]) -> dict[str, Any]:
    """Return the container of the function."""
    container: dict[str, Any] = daemon(said)["spec"]["containers"][0]
    return container


@pytest.mark.parametrize("name", GOOD)
class TestGood:
    """Values that an operator has render to objects that Kubernetes takes, the oldest version and the newest."""

    def test_they_are_taken(self, good: dict[str, Any], name: str) -> None:
        assert "error" not in good[name]
        assert good[name]["faults"] == {OLDEST: [], NEWEST: []}

    def test_lint_has_nothing_but_the_missing_icon(self, good: dict[str, Any], name: str) -> None:
        lint = good[name]["lint"]
        assert (lint["errors"], [each["error"] for each in lint["messages"]]) == ([], ["icon is recommended"])

    def test_the_container_has_the_capabilities_of_the_function_and_no_more(
        self, good: dict[str, Any], name: str
    ) -> None:
        context = function(good[name])["securityContext"]
        wanted = {capability.removeprefix("CAP_") for capability in NEEDED} | {"NET_BIND_SERVICE"}
        assert set(context["capabilities"]["add"]) == wanted
        assert context["capabilities"]["drop"] == ["ALL"]
        assert not context["privileged"]
        assert not context["allowPrivilegeEscalation"]
        assert context["readOnlyRootFilesystem"]

    def test_each_command_and_option_is_there(self, good: dict[str, Any], name: str) -> None:
        pod = daemon(good[name])["spec"]
        own = pod["containers"][0]
        probes = [own[probe]["exec"]["command"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
        for command in (pod["initContainers"][-1]["command"], own["command"], *probes):
            assert command[0] == "snf"
            words = [word for word in command[1:] if word.isalpha()]
            options = {word for word in command if word.startswith("--")}
            shown = next(
                said.output
                for many in (2, 1)
                if (said := CliRunner().invoke(snf, [*words[:many], "--help"])).exit_code == 0
                and "Usage" in said.output
            )
            assert options <= {word for word in shown.split() if word.startswith("--")}

    def test_what_is_mounted_is_there(self, good: dict[str, Any], name: str) -> None:
        pod = daemon(good[name])["spec"]
        there = {volume["name"] for volume in pod["volumes"]}
        mounted = {
            mount["name"] for each in (*pod["initContainers"], *pod["containers"]) for mount in each["volumeMounts"]
        }
        assert mounted == there


def test_the_limits_that_no_configuration_says_are_the_function_s() -> None:
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    assert f'"flows" {Limits().flows} "sessions" {Limits().sessions} "shards" {Limits().shards}' in helpers


class TestMemory:
    """The limit of memory is what snf memory says for the same limits."""

    SIZES = ((131_072, 65_536, 1, 8), (1024, 64, 1, 1), (1_000_000, 500_000, 4, 64), (16_777_216, 4_194_304, 64, 1024))

    def test_of_each_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ("flows", "sessions", "shards", "processors")
        said = render(*(changed(LIMITED, "limits", dict(zip(names, size, strict=True))) for size in self.SIZES))
        for answer, (flows, sessions, shards, processors) in zip(said, self.SIZES, strict=True):
            monkeypatch.setattr(os, "cpu_count", lambda n=processors: n)
            wanted = unit_bytes(Limits(flows=flows, sessions=sessions, shards=shards)) >> 20
            assert function(answer)["resources"]["limits"]["memory"] == f"{wanted}Mi"


class TestMultus:
    """The annotation is a text to Kubernetes; Multus reads JSON: name, namespace, interface, mac (its how-to-use)."""

    def test_it_names_each_attachment(self, good: dict[str, Any]) -> None:
        annotation = daemon(good["multus"])["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"]
        assert json.loads(annotation) == [N3 | {"namespace": "telco"}, N6]

    def test_there_is_none_on_the_network_of_the_node(self, good: dict[str, Any]) -> None:
        assert "k8s.v1.cni.cncf.io/networks" not in daemon(good["host"])["metadata"]["annotations"]
        assert daemon(good["host"])["spec"]["hostNetwork"]
        assert "hostNetwork" not in daemon(good["multus"])["spec"]


class TestPorts:
    """Clients reach NETCONF, the feed and, where it gives them, its snapshots."""

    @pytest.mark.parametrize(
        ("name", "ports"),
        [
            ("host", {"netconf": 830, "feed": 5556, "snapshots": 5557}),
            ("policy", {"netconf": 830, "feed": 5556, "snapshots": 5557}),
            ("no snapshots", {"netconf": 830, "feed": 5556}),
        ],
    )
    def test_of_the_container_its_service_and_who_may_come_in(
        self, good: dict[str, Any], name: str, ports: dict[str, int]
    ) -> None:
        of_kind = {each["kind"]: each.get("spec") for each in good[name]["documents"]}
        assert {p["name"]: p["containerPort"] for p in function(good[name])["ports"]} == ports
        assert {p["name"]: p["port"] for p in of_kind["Service"]["ports"]} == ports
        let_in = of_kind.get("NetworkPolicy", {"ingress": [{"ports": [{"port": each} for each in ports]}]})["ingress"]
        assert {p["port"] for rule in let_in for p in rule["ports"]} == ports.keys()


class TestStop:
    """A pod on the network of its node leaves the programs to the next one; no other pod leaves anything."""

    @pytest.mark.parametrize(("name", "leaves"), [("host", True), ("detach", False), ("multus", False)])
    def test_of_each(self, good: dict[str, Any], name: str, leaves: bool) -> None:
        before = function(good[name]).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        assert before == (["sh", "-c", "kill -USR1 1"] if leaves else None)


@pytest.mark.parametrize("number", range(len(BAD)), ids=[words for _, words in BAD])
def test_bad_values_are_refused_in_a_sentence(bad: list[dict[str, Any]], number: int) -> None:
    assert BAD[number][1] in bad[number].get("error", "rendered")
