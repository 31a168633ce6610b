"""A function that finds the data plane of one that died reports it: the find, and the time that nobody read it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from lab.net import Net, inside
from mgmt.cli.run import state_of
from nf.service import Service
from nf.sessions.restart.statedir import hold
from nf.settings import Export, Interface, Role, Settings
from tests.live.conftest import wait_until
from tests.live.frames import sender
from tests.live.test_time import frame

SETTINGS = Settings(interfaces=(Interface("n3", Role.N3),), export=Export(endpoint="ipc:///tmp/snf-takeover.sock"))
CHILD = """
import sys
from pathlib import Path
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from nf.service import Service
from nf.settings import Settings
from nf.sessions.restart.statedir import hold
from tests.live.test_takeover import SETTINGS
with hold(Path(sys.argv[2])) as held, Service(None, held) as service:
    service.apply(Settings(), SETTINGS)
    print("ready", flush=True)
    service.run()
"""


@pytest.fixture
def home() -> Iterator[str]:
    with Net() as net:
        net.add("host")
        net.veth(("host", "gnb"), ("host", "n3"))
        with inside(net.path("host")):
            yield net.path("host")


class TestTakeover:
    """The next process on the same state directory takes over after SIGKILL."""

    def test_it_is_in_the_log_and_in_the_state(self, home, tmp_path, caplog):
        with (
            sender("gnb", [frame(1)]),
            subprocess.Popen([sys.executable, "-c", CHILD, home, tmp_path], stdout=subprocess.PIPE, text=True) as child,
        ):
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            written = (tmp_path / "lock").read_text()
            wait_until(lambda: (tmp_path / "lock").read_text() != written, "it notes that it reads")
            killed_s = time.monotonic()
            os.kill(child.pid, signal.SIGKILL)
            child.wait()

        with hold(tmp_path) as held, Service(None, held) as service:
            assert state_of(service)["takeover"]["process"] == child.pid
            assert "outage" not in state_of(service)["takeover"]
            found = re.search(
                rf"takes over the data plane of process {child.pid}, which has ended: n3; 1 flows, "
                r"(\d+) frames counted. "
                r"Nobody has read it since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.",
                caplog.text,
            )
            assert found
            assert int(found[1]) == service.plane.read_counters()["frames"] > 0

            service.apply(Settings(), SETTINGS)
            loop = threading.Thread(target=service.run)
            loop.start()
            wait_until(lambda: "outage" in state_of(service)["takeover"], "it reads")
            most_ms, outage_ms = (time.monotonic() - killed_s + 1) * 1e3, state_of(service)["takeover"]["outage"]
            service.stop()
            loop.join()

        told = re.search(r"read again after (\d+\.\d) s", caplog.text)
        assert told
        assert float(told[1]) == pytest.approx(outage_ms / 1e3, abs=0.05)
        assert 0 < outage_ms < most_ms
