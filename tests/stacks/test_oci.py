"""The container image: what it says of itself, and its command under the chart's rights, without a container engine.

podman needs other control groups than a machine of tests may have, so the root is unpacked and entered by hand: with
namespaces of network, mounts and processes, a read-only root, and by setpriv the user and capabilities of the chart.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lab.net import Net, inside
from lab.operator import key_pair
from mgmt.cli.main import snf
from tests.live.switchboard import ip
from tests.stacks.image import Sandbox, unpack
from tests.stacks.test_kubernetes import HOST, daemon, render
from tests.test_house import ROOT

pytestmark = pytest.mark.timeout(1500)  # the package and the image are built, and a minimal Debian

# The node's BPF file system, as systemd has it; it is there as long as the namespace.
_OWN_BPF = (
    "mount --make-rprivate / && mount -t bpf bpf $0 && mkdir -p $0/supernetflow && echo made && exec sleep infinity"
)
TAKEOVER = ["snf", "get", "/snf-function:network-function/state/takeover", "--output", "json"]
OWN = 64830  # user and group of the image
PORTS = {"n3": "02:00:00:00:00:03", "n6": "02:00:00:00:00:06", "n4": "02:00:00:00:00:04"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Path]]:
    """The configuration of the image, and its root; SNF_OCI is an archive that is there."""
    folder = tmp_path_factory.mktemp("image")
    archive = Path(os.environ.get("SNF_OCI", folder / "image.tar"))
    if not archive.exists():
        subprocess.run([ROOT / "deploy" / "oci" / "build", archive], check=True)
    yield unpack(archive, folder / "root"), folder / "root"
    subprocess.run(["rm", "-rf", folder / "root"], check=True)


@pytest.fixture(scope="module")
def pods() -> dict[bool, dict[str, Any]]:
    """The pods that the chart renders, by whether they are of no root."""
    root, other = render(HOST, HOST | {"runAsNonRoot": True})
    return {False: daemon(root)["spec"], True: daemon(other)["spec"]}


@pytest.fixture
def sandbox(image: tuple[dict[str, Any], Path], pods: dict[bool, dict[str, Any]], tmp_path: Path) -> Iterator[Sandbox]:
    """A node with three ports, and the volumes that the chart mounts."""
    (_, root), pod = image, pods[True]
    volumes = {}
    for mount in (mount for each in (*pod["initContainers"], *pod["containers"]) for mount in each["volumeMounts"]):
        volumes[mount["mountPath"]] = tmp_path / mount["name"]
        (tmp_path / mount["name"]).mkdir(exist_ok=True)
        (root / mount["mountPath"].lstrip("/")).mkdir(parents=True, exist_ok=True)
    made = CliRunner().invoke(snf, ["keys", str(tmp_path / "made"), "analytics"])
    assert made.exit_code == 0, made.output
    for file in (tmp_path / "made").iterdir():
        file.rename(tmp_path / "keys" / file.name)
    public = key_pair(tmp_path / "keys" / "probe")
    (tmp_path / "keys" / "users").write_text(f'probe group="probes" {public}\nalice group="admin" {public}\n')
    (tmp_path / "startup" / "startup.xml").write_text(HOST["configuration"]["startup"])
    for file in (tmp_path / "keys").iterdir():  # as kubelet mounts a Secret where the pod has a group
        os.chown(file, 0, OWN)
        file.chmod(0o440)
    for name in ("filled", "tmp", "cache"):  # an emptyDir is everybody's
        (tmp_path / name).chmod(0o777)
    tmp_path.chmod(0o755)
    with Net() as net:
        net.add("node")
        with inside(net.path("node")):
            ip("link", "set", "lo", "up")
            for name, address in PORTS.items():
                ip("link", "add", name, "address", address, "type", "veth", "peer", "name", f"far-{name}")
                ip("link", "set", name, "up")
                ip("link", "set", f"far-{name}", "up")
        bpf = tmp_path / "node-bpf"
        bpf.mkdir()
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _OWN_BPF, str(bpf)], stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "made\n"
            volumes["/sys/fs/bpf"] = bpf / "supernetflow"
            running = Sandbox(root, net.path("node"), holder.pid, volumes)
            try:
                yield running
            finally:
                running.close()


def rights(container: dict[str, Any], *, permitted: bool = True) -> list[str]:
    """Return the words of setpriv for a security context, as a runtime understands it.

    Runtimes of Kubernetes leave what they grant *permitted* until exec; setpriv does when it changes the user, not over
    another one.
    """
    context = container["securityContext"]
    added = [f"+{name.lower()}" for name in context["capabilities"].get("add", [])]
    user, group = context["runAsUser"], context.get("runAsGroup", 0)
    words = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"]
    words.append(f"--bounding-set={','.join(['-all', *added])}")
    if context["allowPrivilegeEscalation"]:
        return words
    return [*words, "--no-new-privs"] if permitted else [*words, "setpriv", "--no-new-privs"]


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Return the variables of a container; the node has a name."""
    return {each["name"]: each.get("value", "node-1") for each in container.get("env", [])}


def command(container: dict[str, Any]) -> list[str]:
    """Return the command of a container with its variables in it (Kubernetes: $(NAME))."""
    words = list(container["command"])
    for name, value in environment(container).items():
        words = [word.replace(f"$({name})", value) for word in words]
    return words


def prepare(sandbox: Sandbox, pod: dict[str, Any]) -> dict[str, Any]:
    """Run the first containers of a pod to their ends; return the one of the function."""
    for first in pod["initContainers"]:
        done = sandbox.run(command(first), environment(first), rights(first))
        assert (done.returncode, done.stderr) == (0, "")
    (function,) = pod["containers"]
    return dict(function)


def begin(sandbox: Sandbox, pod: dict[str, Any], log: Path) -> int:
    """Start the containers of the pod in their order; return the process of the function."""
    function = prepare(sandbox, pod)
    process = sandbox.start(command(function), environment(function), rights(function), log)
    assert process, log.read_text()
    return process


def programs(sandbox: Sandbox) -> list[str]:
    """Return the ports that have a program."""
    with inside(sandbox.network):
        shown = subprocess.run(["ip", "-o", "link", "show"], capture_output=True, text=True, check=True).stdout
    return sorted(name for name in PORTS if any(f" {name}@" in line and "xdp" in line for line in shown.splitlines()))


class TestImage:
    """The image has its user, its command and its labels, and nothing of its making."""

    def test_user_command_and_labels(self, image: tuple[dict[str, Any], Path]) -> None:
        config = image[0]["config"]
        assert config["User"] == "64830:64830"
        assert config["Entrypoint"] == ["/usr/bin/snf"]
        assert config["Cmd"][0] == "run"
        assert {"title", "version", "revision", "licenses"} <= {label.rpartition(".")[2] for label in config["Labels"]}

    def test_nothing_of_its_making_is_in_it(self, image: tuple[dict[str, Any], Path]) -> None:
        root = image[1]
        assert not list((root / "etc" / "apt").glob("sources.list*/*"))
        assert not (root / "etc" / "apt" / "sources.list").exists()
        assert not list((root / "var" / "lib" / "apt" / "lists").glob("*"))
        assert not list((root / "tmp").iterdir())


class TestPod:
    """The chart's command, user and capabilities are enough for the function, its probes and the next pod."""

    @pytest.mark.parametrize("non_root", [False, True])
    def test_it_answers_the_probes_and_hands_over(
        self, sandbox: Sandbox, pods: dict[bool, dict[str, Any]], tmp_path: Path, non_root: bool
    ) -> None:
        pod = pods[non_root]
        (function,) = pod["containers"]
        run = environment(function), rights(function)

        process = begin(sandbox, pod, tmp_path / "first.log")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            said = sandbox.execute(process, function[probe]["exec"]["command"], *run)
            assert said.returncode == 0, said.stdout + said.stderr
        named = sandbox.execute(
            process, ["snf", "get", "/snf-function:network-function/name", "--output", "json"], *run
        )
        assert "node-1" in named.stdout
        assert "unread-since" not in sandbox.execute(process, TAKEOVER, *run).stdout
        assert programs(sandbox) == ["n3", "n6"]

        sandbox.execute(process, function["lifecycle"]["preStop"]["exec"]["command"], *run)
        assert sandbox.ended() == 0
        assert programs(sandbox) == ["n3", "n6"]

        process = begin(sandbox, pod, tmp_path / "second.log")
        assert "unread-since" in sandbox.execute(process, TAKEOVER, *run).stdout

        os.kill(process, signal.SIGTERM)
        assert sandbox.ended() == 0
        assert programs(sandbox) == []


class TestNothingPermitted:
    """Another user has what the file of his program permits; where nothing was left to him that is nothing."""

    def test_a_start_says_what_is_missing(
        self, sandbox: Sandbox, pods: dict[bool, dict[str, Any]], tmp_path: Path
    ) -> None:
        function = prepare(sandbox, pods[True])
        log = tmp_path / "log"

        assert not sandbox.start(command(function), environment(function), rights(function, permitted=False), log)

        said = log.read_text()
        assert "The function may not start without CAP_NET_ADMIN" in said
        assert "Traceback" not in said
