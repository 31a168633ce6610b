"""The unit under systemd: it waits for a configuration, starts in its sandbox, reloads, hangs, fails, and ends."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

from lab.wait import slowness, wait_until
from nf.settings import Limits
from tests.machines.unit import UNIT, another_tree

BITS = {"net_admin": 12, "net_raw": 13, "perfmon": 38, "bpf": 39}  # include/uapi/linux/capability.h
PORT = 830  # of NETCONF over SSH (RFC 6242)
HOLD = f"""
import os, socket, time
held = socket.create_server(("127.0.0.1", {PORT}))
print(os.getpid(), flush=True)
time.sleep(1e6)
"""
LOCKED = "                with self._engine.sweeping:\n"  # of the loop of the function
LIMIT_S = 5  # longer than it takes until the function says its first word, and shorter than a start
FUNCTION = '<network-function xmlns="urn:supernetflow:yang:snf-function">'
TOO_MANY = f"{FUNCTION}<limits><flows>4000000</flows></limits></network-function>"


class TestStart:
    """Without a configuration the unit is inactive and says so; with one it is ready when it answers."""

    def test_without_a_configuration_it_says_what_it_waits_for(self, unit):
        unit.start()

        assert unit.shows("ActiveState") == "inactive"
        said = unit.machine.run("systemctl", "status", UNIT, check=False)
        assert "ConditionPathExists=/etc/supernetflow/startup.xml was not met" in said

    def test_it_is_ready_under_its_sandbox_and_a_stop_leaves_nothing(self, unit):
        unit.configure()
        unit.start()

        assert unit.shows("StatusText").startswith("NETCONF on 127.0.0.1:830")
        assert int(unit.shows("NFileDescriptorStore")) > 40
        status = (unit.machine.root / f"proc/{unit.main}/status").read_text()
        said = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
        assert int(said["CapEff"], 16) == sum(1 << bit for bit in BITS.values())
        assert said["NoNewPrivs"] == "1"
        assert said["Uid"].split()[0] == unit.machine.run("id", "-u", "supernetflow").strip()
        core = (unit.machine.root / f"proc/{unit.main}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", core, re.MULTILINE)

        begun_s = time.monotonic()
        unit.machine.run("systemctl", "stop", UNIT)
        took_s = time.monotonic() - begun_s
        print(f"stopped in {took_s:.1f} s")
        assert unit.shows("Result") == "success", unit.said()
        assert unit.traces() == ""
        assert unit.shows("NFileDescriptorStore") == "0"

    def test_the_journal_has_priorities_sessions_and_users(self, unit):
        unit.configure()
        unit.start()
        unit.frames()

        def opened() -> dict[str, str] | None:
            lines = unit.machine.run("journalctl", f"--unit={UNIT}", "--output=json", "SNF_USER=operator").splitlines()
            found = [json.loads(line) for line in lines]
            return next((each for each in found if each["MESSAGE"].startswith("session ")), None)

        message = wait_until(opened, "the session is in the journal")
        assert message["SNF_SESSION"].isdigit()
        assert message["PRIORITY"] == "6"
        assert message["SYSLOG_IDENTIFIER"] == "snf"
        assert message["CODE_FILE"].endswith("audit.py")


class TestReload:
    """`systemctl reload` has users, host key and signatures read again."""

    def test_it_says_what_was_read_and_goes_on(self, unit):
        unit.configure()
        unit.start()
        main = unit.main

        unit.machine.run("systemctl", "reload", UNIT)

        wait_until(lambda: "read the signatures again: " in unit.said(), "all is read again")
        assert "read the users file again: 1 users" in unit.said()
        assert (unit.main, unit.shows("ActiveState")) == (main, "active")


class TestHang:
    """A function that goes on no more is ended by the watchdog, and the next process takes over."""

    def test_a_stopped_process(self, unit):
        unit.change("WatchdogSec=3", "TimeoutAbortSec=1")
        unit.configure()
        unit.start()

        hung = unit.kill("STOP")
        unit.restarted(hung)

        assert "takes over the data plane of process" in unit.said()
        assert "Watchdog timeout" in unit.machine.run("journalctl", f"--unit={UNIT}", "--output=cat")

    def test_a_loop_that_hangs_while_all_else_goes_on(self, unit):
        """The function is another tree's, whose loop waits with its lock as long as a file is there."""
        hang = unit.machine.root / "run/supernetflow/hang"
        stuck = f'{LOCKED}                    while Path("/run/supernetflow/hang").exists():\n'
        stuck += "                        time.sleep(0.1)\n"
        another_tree(unit.machine.root / "opt/other", "nf/service.py", LOCKED, stuck)
        unit.use(Path("/opt/other"))
        unit.change("WatchdogSec=6")
        unit.configure()
        unit.start()
        main = unit.main

        hang.touch()
        wait_until(lambda: unit.main not in (0, main), "the watchdog has ended it", 120)
        hang.unlink()
        unit.restarted(main)

        assert f"Killing process {main} (" in unit.said()
        assert "takes over the data plane of process" in unit.said()


class TestRefused:
    """A failure that another start cannot mend ends it at once: one sentence, status 2, no further start."""

    def refused(self, unit) -> str:
        unit.machine.run("systemctl", "start", UNIT, check=False)
        wait_until(lambda: unit.shows("ActiveState") == "failed", "it has failed")
        assert (unit.shows("ExecMainStatus"), unit.shows("NRestarts")) == ("2", "0")
        lines = unit.machine.run("journalctl", f"--unit={UNIT}", "--priority=err", "--output=json").splitlines()
        said = [json.loads(line)["MESSAGE"] for line in lines]
        (sentence,) = [each for each in said if each.startswith("snf: ")]
        assert unit.traces() == ""
        return sentence

    def test_a_users_file_that_is_none(self, unit):
        unit.configure()
        unit.write("users", "operator no-key\n")

        assert "Line 1 of the users file /etc/supernetflow/users" in self.refused(unit)

    def test_tables_that_have_no_room_in_the_memory_of_the_unit(self, unit):
        unit.configure(TOO_MANY)

        said = self.refused(unit)

        assert "The tables of 4,000,000 flows and 65,536 sessions take 1,623 MB" in said
        assert "limited to 671 MB" in said

    def test_a_capability_that_is_missing(self, unit):
        unit.configure()
        given = "CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_NET_BIND_SERVICE"
        unit.change("AmbientCapabilities=", f"AmbientCapabilities={given}")

        assert "may not start without CAP_PERFMON (" in self.refused(unit)

    def test_no_memory_for_the_tables_that_it_begins_with(self, unit):
        unit.configure()
        unit.change("MemoryMax=96M")

        assert "limited to 101 MB" in self.refused(unit)


class TestLater:
    """A failure that may be over in a while is tried again, for as long as the unit says."""

    def test_a_port_of_netconf_that_another_process_has(self, unit):
        unit.configure()
        words = unit.machine.words("python3", "-c", HOLD)
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            number = holder.stdout.readline().strip()  # as the machine counts
            try:
                unit.machine.run("systemctl", "start", "--no-block", UNIT)
                wait_until(lambda: int(unit.shows("NRestarts")) >= 2, "it is tried again")
                assert unit.shows("ExecMainStatus") in {"75", "0"}  # 0 while the next one begins
            finally:
                unit.machine.run("kill", number)

        wait_until(lambda: unit.shows("SubState") == "running", "it runs once the port is free")
        assert f"NETCONF cannot listen at 127.0.0.1 port {PORT}" in unit.said()


class TestFull:
    """With a full table of flows a stop and a takeover are as quick as the limits of the unit say, and much quicker."""

    def test_the_time_to_stop_is_met(self, unit):
        unit.configure()
        unit.start()
        flows = Limits().flows
        with unit.traffic() as traffic:

            def full() -> bool:
                """Say whether the status line, which is written each minute, tells of a full table."""
                traffic.fill(flows)
                told = re.search(r"([\d,]+) flows;", unit.shows("StatusText"))
                return told is not None and int(told[1].replace(",", "")) > 0.9 * flows

            wait_until(full, "the table is full", 180)
        killed = unit.kill()
        unit.restarted(killed)
        print(f"a takeover of a full table took {unit.used_s():.1f} s of the processor")

        begun_s = time.monotonic()
        unit.machine.run("systemctl", "stop", UNIT)
        print(f"a stop with a full table took {time.monotonic() - begun_s:.1f} s at a slowness of {slowness():.1f}")
        assert unit.shows("Result") == "success", unit.said()
        assert unit.traces() == ""


class TestSlow:
    """On a machine of a tenth of the speed a start takes longer than the unit's limit, and goes on all the same."""

    def test_limits_are_for_what_hangs(self, unit):
        """The limit is some seconds here, and starting takes more: what is asked for counts."""
        unit.change("CPUQuota=10%", f"TimeoutStartSec={LIMIT_S}", f"TimeoutStopSec={LIMIT_S}")
        unit.configure()

        begun_s = time.monotonic()
        unit.start()
        took_s = time.monotonic() - begun_s
        unit.machine.run("systemctl", "stop", UNIT)

        print(f"started in {took_s:.1f} s at a slowness of {slowness():.1f}")
        assert took_s > LIMIT_S
        assert unit.shows("Result") == "success", unit.said()
        assert unit.traces() == ""
