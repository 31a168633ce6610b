"""A real function that is killed while it commits, and what its next start and the kernel have then.

``python -m tests.live.commits NAMESPACE STATE STEP`` is the function that is killed: by a real SIGKILL, when its log
says the step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from lxml import etree

from lab.net import child_of_the_lab
from lab.operator import interfaces
from mgmt.netconf.store.datastore import Datastore
from nf.abi import SNF_COUNT, SNF_SUPPRESS
from nf.service import Service
from nf.sessions.restart.statedir import hold
from tests.mgmt.killed import EXPECTED, STEPS, at_step

__all__ = ["EXPECTED", "STEPS", "killed_at"]

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
SNF = "urn:supernetflow:yang:snf-"
ROOT = Path(__file__).resolve().parents[2]
PORTS = {"old": {"n3": "n3"}, "new": {"n3": "n3", "n6": "n6"}}
ACTIONS = {"old": ("count", SNF_COUNT), "new": ("suppress", SNF_SUPPRESS)}
TEIDS = {"old": 0x100, "new": 0x200}
UPF = "192.0.2.2"


def config(which: str) -> etree._Element:
    """Return the configuration of this name: ports, a policy and a session that are not those of the other."""
    return etree.fromstring(
        f'<config xmlns="{BASE}">{interfaces(PORTS[which])}'
        f'<exporter xmlns="{SNF}export"><endpoint>ipc:///tmp/snf-commits.sock</endpoint></exporter>'
        f'<policies xmlns="{SNF}policies"><policy><name>p</name><application-class>web</application-class>'
        f"<action>{ACTIONS[which][0]}</action></policy></policies>"
        f'<subscribers xmlns="{SNF}subscribers"><static-session><name>{which}</name><ue-ipv4>10.45.0.1</ue-ipv4>'
        f"<uplink><address>{UPF}</address><teid>{TEIDS[which]}</teid></uplink></static-session></subscribers></config>"
    )


def killed_at(namespace: str, folder: Path, step: str) -> str:
    """Kill a function at a step of its commit; return what its next start and the kernel have: old, new, or neither.

    The caller is in the network namespace.
    """
    words = [sys.executable, "-m", "tests.live.commits", namespace, str(folder), step]
    status = subprocess.run(words, check=False, cwd=ROOT).returncode
    assert status == -9, f"it ended with {status} and was not killed at {step}"
    with hold(folder) as held, Service(None, held) as service:
        datastore = Datastore(folder, service, None)
        running = datastore.read("running")
        found = {which for which in PORTS if _ports(running) == set(PORTS[which])}
        (which,) = found or {"neither"}
        assert service.verify(type(service.settings)(), datastore.settings) == []
        return which if which in PORTS and _kernel_has(service, which) else "neither"


def _ports(running: etree._Element) -> set[str]:
    return set(running.xpath("//*[local-name()='interface']/*[local-name()='name']/text()"))


def _kernel_has(service: Service, which: str) -> bool:
    """Ask iproute2 for the programs, and the shared tables for actions and tunnels."""
    shown = subprocess.run(["ip", "-json", "-details", "link", "show"], capture_output=True, text=True, check=True)
    programs = {link["ifname"] for link in json.loads(shown.stdout) if link.get("xdp", {}).get("prog", {}).get("id")}
    actions = np.unique(service.plane._maps["policies"].read()[1]["action"])
    keys = [(UPF, teid) for teid in TEIDS.values()]
    tunnels = {w for w, there in zip(TEIDS, service.plane.sessions.has_tunnels(keys).tolist(), strict=True) if there}
    return (programs, set(actions.tolist()), tunnels) == (set(PORTS[which]), {0, ACTIONS[which][1]}, {which})


def main() -> None:
    """Be the function that is killed."""
    namespace, folder, step = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    child_of_the_lab(namespace)
    with hold(folder) as held, Service(None, held) as service:
        datastore = Datastore(folder, service, etree.tostring(config("old")))
        at_step(step)
        session = datastore.open_session()
        datastore.edit(session, config("new"), "replace")
        datastore.commit(session)


if __name__ == "__main__":
    main()
