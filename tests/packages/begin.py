"""From nothing to records: installation, the trimmed environment, a configuration, the start, counted packets."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from scapy.layers.inet import IP
from scapy.utils import PcapReader

from gtp.link import IPV4
from gtp.sctp import sctp_in_ip
from lab.wait import comes_true, wait_until
from tests.kernel.packets import DL_TEID, GNB, UE, UL_TEID, UPF
from tests.packages import inside
from tests.packages.built import unpacked_mb
from tests.packages.installed import HOME, UNIT, Installed
from tests.packages.report import Report
from tests.packages.traffic import Traffic

__all__ = ["depend", "show"]

MOST_MB = 170.0  # installed, with byte code
_FRAMES = 1000
_NGAP_PPID = 60  # TS 38.412, 7
_CAPTURE = "captures/pcap/open5gs__testregistration.pcapng"
_SESSION = f"""<subscribers xmlns="urn:supernetflow:yang:snf-subscribers"><static-session><name>phone</name>
<imsi>001010000000001</imsi><ue-ipv4>{UE}</ue-ipv4>
<uplink><address>{UPF}</address><teid>{UL_TEID}</teid></uplink>
<downlink><address>{GNB}</address><teid>{DL_TEID}</teid></downlink></static-session></subscribers>"""


def show(report: Report, place: Installed, package: Path, shared: Path) -> None:
    """Do it all; each step needs those before it."""
    _install(report, place, package)
    _environment(report, place, shared)
    _commands(report, place)
    _first(report, place)
    _count(report, place)


def depend(report: Report, place: Installed, package: Path) -> None:
    """Install what the package depends on, so that files can be compared before and after the package alone."""
    with report.step("dependencies", needed=True) as said:
        before = _packages(place)
        place.apt("satisfy", place.machine.run("dpkg-deb", "--field", f"/srv/{package.name}", "Depends").strip())
        said.append(f"apt resolves them: {len(_packages(place) - before)} packages of Debian, beside a service manager")


def _packages(place: Installed) -> set[str]:
    return set(place.machine.run("dpkg-query", "-f", "${Package}\n", "-W").split())


def _install(report: Report, place: Installed, package: Path) -> None:
    machine = place.machine
    with report.step(f"apt install {package.name}", needed=True) as said:
        place.apt("install", f"/srv/{package.name}")
        code = list((machine.root / HOME).rglob("*.pyc"))
        in_mb = unpacked_mb(machine.root / HOME)
        said.append(
            f"{in_mb:.0f} MB (at most {MOST_MB:.0f}), {sum(f.stat().st_size for f in code) / 1e6:.0f} of it byte code"
        )
        assert code
        assert in_mb <= MOST_MB
    with report.step("the service waits for a configuration") as said:
        assert machine.run("systemctl", "is-enabled", UNIT).strip() == "enabled"
        assert place.state == "inactive"
        told = machine.run("systemctl", "status", UNIT, check=False)
        assert "/etc/supernetflow/startup.xml was not met" in told, told
        said.append("enabled, inactive, and systemctl status says why")


def _environment(report: Report, place: Installed, shared: Path) -> None:
    with report.step("the trimmed environment") as said:
        messages = _ngap(shared / _CAPTURE)
        script = place.machine.root / "tmp/inside.py"
        script.write_text(Path(inside.__file__).read_text())
        words = place.machine.words(f"/{HOME}/bin/python3", "-I", "/tmp/inside.py")
        done = subprocess.run(words, input="\n".join(messages), capture_output=True, text=True, check=False)
        script.unlink()
        assert done.returncode == 0, done.stderr[-600:]
        told = json.loads(done.stdout)
        assert told["ngap"] == inside.decoded(messages)
        said.append(
            f"{told['modules']} modules import, {len(messages)} NGAP messages say what they say to the whole pycrate"
        )


def _ngap(path: Path) -> list[str]:
    found = []
    with PcapReader(str(path)) as packets:
        for packet in packets:
            ip = packet.getlayer(IP)
            said = sctp_in_ip(IPV4, ip.original, {}) if ip is not None else ()
            found += [each.payload.hex() for each in said if each.protocol == _NGAP_PPID]
    return found


def _commands(report: Report, place: Installed) -> None:
    machine = place.machine
    with report.step("commands, pages, completion") as said:
        assert machine.run("snf", "--version").startswith("snf, version ")
        pages = sorted((machine.root / "usr/share/man/man1").glob("snf*.1.gz"))
        completed = machine.shell("_SNF_COMPLETE=bash_complete COMP_WORDS='snf d' COMP_CWORD=1 snf").split()
        assert "plain,doctor" in completed
        said.append(
            f"{len(pages)} pages; bash completes snf d to {', '.join(each.split(',')[1] for each in completed)}"
        )
    with report.step("snf doctor") as said:
        checks = json.loads(machine.run("snf", "doctor", "--output", "json"))
        said.append(f"{len(checks.get('checks', checks))} findings, none missing")


def _first(report: Report, place: Installed) -> None:
    machine = place.machine
    with report.step("snf init", needed=True) as said:
        place.init()
        made = place.kept()
        place.init()
        assert made == place.kept()
        machine.run("snf", "config", "check", "/etc/supernetflow/startup.xml")
        said.append("users, keys, startup.xml; the same command again is no error; snf config check finds nothing")
    with report.step("systemctl start", needed=True) as said:
        machine.run("systemctl", "start", UNIT)
        place.ready()
        kept = [each.name for each in (machine.root / "var/cache/supernetflow").iterdir()]
        maps = Path(f"/proc/{machine.process(place.main)}/maps").read_text()
        assert not kept, kept
        assert "libbcc" not in maps
        assert "clang" not in maps
        said.append("nothing was compiled, and neither bcc nor clang is in the process")


def _count(report: Report, place: Installed) -> None:
    with report.step("configuration by ncclient") as said, place.client() as client:
        client.change(_SESSION)
        said.append("a session of a subscriber: locked, edited, committed")
    with report.step("packets and records") as said:
        before = place.counters()["frames"]
        with Traffic(place.network, "gnb", "upf") as traffic:
            comes_true(lambda: traffic.sent >= _FRAMES, 60)
            traffic.stop()
            lost = traffic.missing()
            wait_until(lambda: place.counters()["frames"] - before >= traffic.sent, "all are counted", 10)
            counted = place.counters()["frames"] - before
            records = _records(place)
        said.append(f"{traffic.sent} sent, {counted} counted, {len(lost)} lost; {len(records)} records over CURVE")
        assert counted == traffic.sent
        assert not lost
        assert any(each.get("ul_bytes") for each in records), records[:3]


def _records(place: Installed) -> list[dict[str, object]]:
    """Return what comes over the bus until there is a record with bytes."""
    words = "snf watch --curve /etc/supernetflow/keys/watch.curve --output json --seconds 15"
    found: list[dict[str, object]] = []
    begun = time.monotonic()
    with subprocess.Popen(place.machine.words(*words.split()), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        for line in watching.stdout:
            found.append(json.loads(line))
            if found[-1].get("ul_bytes") or time.monotonic() - begun > 60:
                break
        watching.terminate()
    return found
