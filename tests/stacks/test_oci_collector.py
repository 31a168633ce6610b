"""The collector's image: what it says of itself, and its command as the chart has it, in a root without any right."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lab.net import Net, inside
from lab.wait import comes_true
from mgmt.cli.main import snf
from nf.publish import Publisher
from nf.settings import Curve, Export
from tests.feed.samples import batch
from tests.live.switchboard import ip
from tests.stacks.image import Sandbox, unpack
from tests.stacks.test_kubernetes import HOST, render
from tests.stacks.test_kubernetes_collector import WITH, of_collector, pod
from tests.test_house import ROOT

pytestmark = pytest.mark.timeout(1500)  # the package and the image are built, and a minimal Debian

OWN = 64831  # user and group of the image
ENDPOINT = "tcp://127.0.0.1:5556"
WORST = ["snf", "query", "worst", "--by=app", "--least=1", "--since=2026-07-01T00:00:00", "--output=json"]
VALUES = WITH | {"collector": WITH["collector"] | {"from": [{"endpoint": ENDPOINT, "curve": "collector.curve"}]}}
# As a runtime understands a pod that may do nothing.
WHO = (
    f"--reuid={OWN} --regid={OWN} --clear-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all --no-new-privs"
).split()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Path]]:
    """The configuration of the image, and its root; SNF_OCI_COLLECTOR is an archive that is there."""
    folder = tmp_path_factory.mktemp("image")
    archive = Path(os.environ.get("SNF_OCI_COLLECTOR", folder / "image.tar"))
    if not archive.exists():
        subprocess.run([ROOT / "deploy" / "oci" / "build", "--collector", archive], check=True)
    yield unpack(archive, folder / "root"), folder / "root"
    subprocess.run(["rm", "-rf", folder / "root"], check=True)


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    (found,) = render(VALUES)
    return found


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    made = CliRunner().invoke(snf, ["keys", str(tmp_path / "made"), "collector"])
    assert made.exit_code == 0, made.output
    return tmp_path / "made"


@pytest.fixture
def sandbox(
    image: tuple[dict[str, Any], Path], said: dict[str, Any], keys: Path, tmp_path: Path
) -> Iterator[tuple[Sandbox, dict[str, Path]]]:
    """A pod's namespaces, with the volumes that the chart mounts as kubelet makes them."""
    (_, root), spec = image, pod(said)
    volumes = {}
    for mount in (mount for each in (*spec["initContainers"], *spec["containers"]) for mount in each["volumeMounts"]):
        volumes[mount["mountPath"]] = folder = tmp_path / mount["name"]
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        (root / mount["mountPath"].lstrip("/")).mkdir(parents=True, exist_ok=True)
    (tmp_path / "config/collector.toml").write_text(of_collector(said)["ConfigMap"]["data"]["collector.toml"])
    secret = tmp_path / "secret/collector.curve"
    secret.write_bytes((keys / "collector.curve").read_bytes())
    os.chown(secret, 0, OWN)
    secret.chmod(0o440)
    os.chown(tmp_path / "history", 0, OWN)
    (tmp_path / "history").chmod(0o2770)
    tmp_path.chmod(0o755)
    with Net() as net:
        net.add("pod")
        with inside(net.path("pod")):
            ip("link", "set", "lo", "up")
        words = ["unshare", "--mount", "sh", "-c", "echo made && exec sleep infinity"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "made\n"
            running = Sandbox(root, net.path("pod"), holder.pid, volumes)
            try:
                yield running, {name: tmp_path / name for name in ("history", "keys")}
            finally:
                running.close()


def pair(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


class TestImage:
    """The image has its user, its command and its labels, and nothing of its making or of a probe."""

    def test_user_command_and_labels(self, image: tuple[dict[str, Any], Path]) -> None:
        config = image[0]["config"]
        assert config["User"] == f"{OWN}:{OWN}"
        assert config["Entrypoint"] == ["/usr/bin/snf"]
        assert config["Cmd"][0] == "collect"
        assert config["Labels"]["org.opencontainers.image.title"] == "supernetflow-collector"

    def test_nothing_of_its_making_is_in_it(self, image: tuple[dict[str, Any], Path]) -> None:
        root = image[1]
        assert not (root / "etc/apt/sources.list").exists()
        assert not list((root / "etc/apt").glob("sources.list*/*"))
        assert not list((root / "tmp").iterdir())

    def test_nothing_of_a_probe_is_in_it(self, image: tuple[dict[str, Any], Path]) -> None:
        root = image[1]
        assert not (root / "usr/lib/supernetflow").exists()
        assert not list(root.glob("usr/lib/python3/dist-packages/bcc"))
        assert not list(root.glob("usr/lib/**/libLLVM*"))


class TestPod:
    """The chart's commands collect over CURVE, answer the probes and a question, and end with all written."""

    def test_it_collects_and_answers(
        self, sandbox: tuple[Sandbox, dict[str, Path]], said: dict[str, Any], keys: Path, tmp_path: Path
    ) -> None:
        node, folders = sandbox
        (first,), (container,) = pod(said)["initContainers"], pod(said)["containers"]
        as_kubelet = [f"--groups={OWN}" if word == "--clear-groups" else word for word in WHO]
        done = node.run(first["command"], {}, as_kubelet)
        assert (done.returncode, done.stderr) == (0, "")

        server, client = pair(keys / "publisher.curve"), pair(keys / "collector.curve")
        curve = Curve(server["secret_key"], server["public_key"], (client["public_key"],))
        with inside(node.network):
            publisher = Publisher(Export(endpoint=ENDPOINT, batch_rows=1, curve=curve), "nf1")
            publisher.start()
        log = tmp_path / "log"
        try:
            process = node.start(container["command"], {}, WHO, log, ready="Collecting from 1 function ")
            assert process, log.read_text()
            assert comes_true(lambda: self.metric(node, "snf_function_up") == "1.0", 60), log.read_text()
            publisher.publish(batch(20, seed=1))
            assert comes_true(lambda: list(folders["history"].glob("records/*/*/*.parquet")), 60), log.read_text()
            asked = node.execute(process, WORST, {}, WHO)
            assert asked.returncode == 0, asked.stderr
            assert '"value":' in asked.stdout
        finally:
            publisher.stop()

        os.kill(process, signal.SIGTERM)
        assert node.ended() == 0, log.read_text()
        assert re.search(r"^[1-9]\d* rows were written", log.read_text(), re.MULTILINE), log.read_text()

    @staticmethod
    def metric(node: Sandbox, name: str) -> str:
        """Return the value of a metric, as Prometheus and the probes get it; "" without one."""
        with inside(node.network):
            try:
                with urllib.request.urlopen("http://127.0.0.1:9550/metrics", timeout=10) as answer:
                    text = answer.read().decode()
            except OSError:
                return ""
        found = re.search(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return found[1] if found else ""


def test_without_the_collector_the_chart_asks_for_no_second_image() -> None:
    (found,) = render(HOST)
    assert "supernetflow-collector" not in str(found["documents"])
