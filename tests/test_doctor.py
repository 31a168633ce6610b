"""``snf doctor``: its findings here, and its words where something is missing."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import types
from pathlib import Path

import pytest

from nf import doctor
from nf.kernel import probe, source
from nf.kernel.devices import BASIC, MULTI_BUFFER, REDIRECT, TARGET, Device

ROOT = Path(__file__).resolve().parents[1]
READS_BEYOND = """
BPF_RINGBUF_OUTPUT(ring_shape, 1);
BPF_ARRAY_OF_MAPS(rings, "ring_shape", 1024);
int snf_beyond(struct xdp_md *ctx)
{
	u32 zero = 0;

	return rings.lookup(&zero) && *(u8 *)(long)ctx->data ? XDP_DROP : XDP_PASS;
}
"""


def of(name, found):
    (check,) = (c for c in found if c.name == name)
    return check


def devices():
    return {d["ifname"] for d in json.loads(subprocess.check_output(["ip", "-json", "link"]))}


def under(*restriction):
    """Run the check of the make targets as somebody who may do less."""
    command = ["setpriv", *restriction, sys.executable, "-m", "nf.doctor"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


class TestThisHost:
    """The tests run where the function runs, so everything required is there."""

    def test_nothing_required_is_missing(self):
        assert [c for c in doctor.checks(lab=True) if c.required and not c.ok] == []

    def test_bcc_is_the_loader_of_the_distribution(self):
        assert probe.bcc_origin().endswith("dist-packages/bcc")

    def test_it_leaves_no_device_behind(self):
        before = devices()
        assert probe.native_xdp() == ""
        assert probe.sent() == ""
        assert devices() == before

    def test_the_kernel_is_asked_which_drivers_run_xdp(self):
        # ethtool has no word for it; veth has had native XDP since Linux 4.19, the loopback device never.
        name = f"snfd{os.getpid() % 100_000}"
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"], check=True)
        try:
            said = probe.xdp_features()
        finally:
            subprocess.run(["ip", "link", "del", name], check=True)
        if doctor._version(platform.release()) < (6, 3):
            assert said == {}
        else:
            # include/uapi/linux/netdev.h: veth is read, redirects and takes several buffers;
            # the loopback device does nothing of it.
            assert said[name] & BASIC
            assert said[name] & REDIRECT
            assert said[name] & MULTI_BUFFER
            assert not said["lo"] & BASIC


class TestMissing:
    """A missing thing is named, with the command that mends it."""

    @pytest.mark.parametrize("release", ["5.14.0-1-amd64", "4.19.0", "5.4.0-rc1", "unknown"])
    def test_an_old_kernel(self, monkeypatch, release):
        monkeypatch.setattr(platform, "release", lambda: release)
        check = of("kernel", doctor.checks())
        assert not check.ok
        assert "6.1 or newer" in check.remedy
        assert "apt-get install linux-image" in check.remedy

    @pytest.mark.parametrize("release", ["6.1.0-18-amd64", "6.12.117+deb12-cloud-amd64", "10.0.0+deb"])
    def test_a_kernel_that_is_new_enough(self, monkeypatch, release):
        monkeypatch.setattr(platform, "release", lambda: release)
        assert of("kernel", doctor.checks()).ok

    def test_bcc(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "bcc", None)
        check = of("bcc", doctor.checks())
        assert (check.ok, check.detail) == (False, "missing")
        assert "apt-get install python3-bpfcc" in check.remedy

    def test_the_other_package_of_that_name_is_not_taken_for_bcc(self, monkeypatch):
        other = types.ModuleType("bcc")
        other.__file__ = "/somewhere/site-packages/bcc/__init__.py"
        monkeypatch.setitem(sys.modules, "bcc", other)
        check = of("bcc", doctor.checks())
        assert (check.ok, check.detail) == (False, "another project's")

    def test_the_binding_of_libyang(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "libyang", None)
        check = of("libyang", doctor.checks())
        assert not check.ok
        assert "apt-get install libyang2-dev" in check.remedy

    def test_a_tool(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        check = of("ip", doctor.checks())
        assert not check.ok
        assert "apt-get install iproute2" in check.remedy


class TestDevices:
    """A driver's lack is said in words, with the remedy."""

    @pytest.mark.parametrize(
        ("device", "says"),
        [
            (Device("a", "ice", 127, 8, 1500, False), "native, driver ice, 8 receive queues, MTU 1500"),
            (Device("a", "x", 0, 1, 1500, False), "generic only"),
            (Device("a", "x", None, 1, 1500, False), "this kernel does not say"),
            (Device("a", "x", BASIC | REDIRECT, 1, 1500, False), "no target of inline or monitor"),
            (Device("a", "x", BASIC | REDIRECT | TARGET, 1, 9000, False), "frames of MTU 9000 need several buffers"),
            (Device("a", "x", 127, 1, 1500, True), "takes VLAN tags off"),
        ],
    )
    def test_a_device_is_described(self, device, says):
        check = doctor.describe(device)
        assert says in check.detail
        assert not check.required

    @pytest.mark.parametrize(
        "device", [Device("a", "ice", 127, 8, 9000, False), Device("a", "x", None, 1, 1500, False)]
    )
    def test_nothing_is_made_up(self, device):
        detail = doctor.describe(device).detail
        assert "no target" not in detail
        assert "several buffers" not in detail
        assert "VLAN" not in detail


class TestSentence:
    """A make target stops with one sentence, whatever else is missing because of it."""

    @pytest.mark.parametrize(
        ("restriction", "says"),
        [
            (("--reuid=65534", "--clear-groups"), "sudo"),
            (("--bounding-set=-net_admin",), "CAP_NET_ADMIN"),
            (("--bounding-set=-sys_admin,-bpf,-perfmon",), "CAP_SYS_ADMIN"),
        ],
        ids=["no-root", "no-net-admin", "no-sys-admin"],
    )
    def test_without_a_right(self, restriction, says):
        run = under(*restriction)
        assert run.returncode == 1
        assert run.stdout == ""
        assert run.stderr.count("\n") == 1
        assert says in run.stderr

    def test_nothing_at_all_when_all_is_there(self):
        run = under()
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


class TestService:
    """The function needs four capabilities; what the lab needs beside them is the lab's."""

    def test_four_are_enough(self):
        four = "--bounding-set=-all,+bpf,+net_admin,+perfmon,+net_raw"
        command = [sys.executable, "-c", "import sys; from nf.doctor import main; sys.exit(main(quiet=True))"]
        run = subprocess.run(["setpriv", four, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")

    @pytest.mark.parametrize("missing", ["bpf", "net_admin", "perfmon", "net_raw"])
    def test_each_of_them_is_named(self, missing):
        command = [sys.executable, "-c", "import sys; from nf.doctor import main; sys.exit(main(quiet=True))"]
        restriction = f"--bounding-set=-sys_admin,-{missing}"
        run = subprocess.run(["setpriv", restriction, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert f"CAP_{missing.upper()}" in run.stderr.split(".")[0]

    def test_a_program_that_the_kernel_refuses_is_named_with_its_reason(self, monkeypatch, tmp_path):
        monkeypatch.setenv("SNF_CACHE", str(tmp_path))
        monkeypatch.setattr(source, "text", lambda: READS_BEYOND)
        check = of("BPF programs and tables", doctor.checks())
        assert not check.ok
        assert check.detail.startswith("The kernel refuses the program snf_beyond: R")
        assert check.detail.endswith(" offset is outside of the packet")


class TestSetup:
    """The make targets ask for the kernel and the rights before they install anything."""

    @pytest.mark.parametrize("capability", ["net_admin", "sys_admin"])
    def test_without_a_capability_it_stops_at_once(self, capability):
        command = ["setpriv", f"--bounding-set=-{capability}", ROOT / "scripts" / "require-kernel"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert run.stderr.count("\n") == 1
        assert f"CAP_{capability.upper()}" in run.stderr

    @pytest.mark.parametrize(
        ("release", "status"),
        [("4.19.0-27-amd64", 1), ("5.15.0", 1), ("6.0.19", 1), ("6.1.0-18-amd64", 0), ("6.18.44-rc1", 0)],
    )
    def test_an_old_kernel_is_refused_with_its_version(self, tmp_path, release, status):
        uname = tmp_path / "uname"
        uname.write_text(f"#!/bin/sh\necho {release}\n")
        uname.chmod(0o755)
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        run = subprocess.run(
            [ROOT / "scripts" / "require-kernel"], env=path, capture_output=True, text=True, check=False
        )
        assert run.returncode == status
        assert (release in run.stderr) == bool(status)
        assert run.stderr.count("\n") == status

    def test_installed_packages_are_not_asked_of_apt_again(self, tmp_path):
        apt = tmp_path / "apt-get"
        apt.write_text("#!/bin/sh\nexit 1\n")
        apt.chmod(0o755)
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        run = subprocess.run(
            [ROOT / "scripts" / "setup", "--apt-only", "iproute2", "python3-bpfcc"], env=path, check=False
        )
        assert run.returncode == 0

    def test_a_package_that_apt_cannot_install_is_named(self, tmp_path):
        apt = tmp_path / "apt-get"
        apt.write_text('#!/bin/sh\necho "E: Unable to locate"\n[ "$1" = update ]\n')
        apt.chmod(0o755)
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        run = subprocess.run(
            [ROOT / "scripts" / "setup", "--apt-only", "no-such-package-1"],
            env=path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 1
        assert run.stderr.splitlines()[-1].startswith("apt-get could not install no-such-package-1")
        assert "E: Unable to locate" in run.stderr


class TestJson:
    """A program reads the same findings: each with its fact, and with a remedy where something is missing."""

    def of(self, *restriction):
        command = [*restriction, sys.executable, "-m", "mgmt.cli.main", "doctor", "--output", "json"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return run.returncode, json.loads(run.stdout)

    def test_where_nothing_is_missing(self):
        status, told = self.of()
        assert (status, told["ok"]) == (0, True)
        assert all(c["ok"] or not c["required"] for c in told["checks"])
        (kernel,) = (c for c in told["checks"] if c["name"] == "kernel")
        assert kernel == {"name": "kernel", "ok": True, "required": True, "fact": platform.release()}

    def test_where_something_is(self):
        status, told = self.of("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        assert (status, told["ok"]) == (1, False)
        (lacks,) = (c for c in told["checks"] if c["required"] and not c["ok"])
        assert (lacks["name"], lacks["fact"][:17]) == ("capabilities", "without CAP_NET_A")
        assert "sudo" in lacks["remedy"]
