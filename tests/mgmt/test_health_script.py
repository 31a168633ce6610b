"""The test that comes with the package of ETSI NFV, against a server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from nf.apply.vitals import PortVitals, Vitals
from tests.test_house import ROOT

WELL = Vitals(interval_s=1.0, ports={"n3": PortVitals("up")})
ILL = replace(WELL, ports={"n3": PortVitals("down")})


class TestHealthScript:
    """It says in words and by its status whether a probe is healthy, with OpenSSH alone."""

    @pytest.fixture
    def ask(self, datastore, key_pair, tmp_path) -> Iterator[object]:
        users = tmp_path / "users"
        users.write_text(f"alice {key_pair('alice').with_suffix('.pub').read_text()}")
        # The file of known hosts is that of whoever runs the tests, whatever HOME says.
        own = tmp_path / "ssh"
        own.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -o UserKnownHostsFile={tmp_path}/known "$@"\n')
        own.chmod(0o755)
        vitals = [WELL]
        with NetconfServer(datastore, Function(dict, vitals=lambda: vitals[0]), port=0, users_file=users) as server:

            def run(state: Vitals = WELL, key: str = "alice", port: int = server.port):
                vitals[0] = state
                return subprocess.run(
                    [ROOT / "deploy" / "csar" / "Tests" / "health.sh", "alice", key_pair(key), "127.0.0.1", str(port)],
                    capture_output=True,
                    text=True,
                    check=False,
                    env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                )

            yield run

    def test_a_probe_that_is_well(self, ask):
        done = ask()

        assert (done.returncode, done.stdout) == (0, "127.0.0.1 is healthy.\n")

    def test_a_probe_with_a_port_that_is_down_says_which(self, ask):
        done = ask(ILL)

        assert done.returncode == 1
        assert done.stdout.startswith("127.0.0.1 is not healthy:\n")
        assert "n3 is down" in done.stdout

    def test_a_key_that_nobody_knows(self, ask):
        done = ask(key="mallory")

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1] == "127.0.0.1 does not say whether it is healthy"

    def test_an_address_where_nobody_is(self, ask):
        done = ask(port=1)

        assert (done.returncode, done.stdout) == (2, "")
