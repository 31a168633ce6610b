"""The unit, read by systemd's own tools: no word that it does not know, and little that it leaves open."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from history.collect import settings as collecting
from nf.kernel import privilege

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = DEPLOY / "supernetflow.service"
COLLECTOR = DEPLOY / "supernetflow-collector.service"
WEB = DEPLOY / "supernetflow-web.service"
MOST = 30  # of systemd-analyze security, which says it as 3.0
MOST_COLLECTOR = 15  # it has no right at all


def settings(text: str) -> dict[str, list[str]]:
    """Return the values of each setting; several lines of one are several values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root in which the unit lies as the package puts it, with a command and its manual."""
    for place in ("usr/bin", "lib/systemd/system", "etc/supernetflow"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "usr/lib/supernetflow-collector/bin").mkdir(parents=True)
    for command in ("usr/bin/snf", "usr/bin/kill", "usr/bin/sh", "usr/lib/supernetflow-collector/bin/snf"):
        (tmp_path / command).write_text("#!/bin/sh\n")
        (tmp_path / command).chmod(0o755)
    (tmp_path / "bin").symlink_to("usr/bin")
    for unit in (UNIT, COLLECTOR, WEB):
        shutil.copyfile(unit, tmp_path / "lib/systemd/system" / unit.name)
    return tmp_path


def analyze(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *words, f"--root={root}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def change(root: Path, old: str, new: str, unit: Path = UNIT) -> None:
    file = root / "lib/systemd/system" / unit.name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def verify(root: Path, unit: Path = UNIT) -> tuple[int, str]:
    """Return the verdict, and what is said of this unit; its targets are in no root of a test."""
    done = analyze(root, "verify", "--man=no", "--recursive-errors=no", unit.name)
    return done.returncode, done.stderr


class TestVerify:
    """systemd reads the unit without a complaint, and complains of a slip."""

    @pytest.mark.parametrize("unit", [UNIT, COLLECTOR, WEB])
    def test_it_is_clean(self, root, unit):
        assert verify(root, unit) == (0, "")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("WatchdogSec=2min", "WatchdogSecs=2min"),
            ("Type=notify", "Type=notifies"),
            ("MemoryMax=", "MemoryMax=lots of "),
            ("ExecStart=/usr/bin/snf", "ExecStart=/usr/bin/snif"),
        ],
    )
    def test_a_slip_is_seen(self, root, old, new):
        change(root, old, new)

        assert verify(root) != (0, "")


class TestSecurity:
    """The exposure is at most 3.0."""

    def judge(self, root: Path) -> int:
        return analyze(root, "security", "--offline=true", f"--threshold={MOST}", UNIT.name).returncode

    def test_it_is_low(self, root):
        assert self.judge(root) == 0

    def test_root_with_all_capabilities_would_not_pass(self, root):
        change(root, "User=supernetflow\n", "")
        change(root, "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_PERFMON CAP_NET_BIND_SERVICE\n", "")

        assert self.judge(root) != 0


class TestCollector:
    """The collector's unit leaves nothing open that a collector does not use, and writes where its pages say."""

    def judge(self, root: Path) -> int:
        words = ("security", "--offline=true", f"--threshold={MOST_COLLECTOR}", COLLECTOR.name)
        return analyze(root, *words).returncode

    def test_its_exposure_is_low(self, root):
        assert self.judge(root) == 0

    def test_a_capability_would_not_pass(self, root):
        change(root, "CapabilityBoundingSet=\n", "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_ADMIN\n", COLLECTOR)

        assert self.judge(root) != 0

    def test_it_has_no_capability(self):
        said = settings(COLLECTOR.read_text())

        assert said["CapabilityBoundingSet"] == [""]
        assert "AmbientCapabilities" not in said

    def test_a_failure_that_another_start_cannot_mend_is_the_last(self):
        said = settings(COLLECTOR.read_text())

        assert (said["Restart"], said["RestartPreventExitStatus"]) == (["on-failure"], ["2"])

    def test_folders_are_those_that_the_page_of_deployment_names(self):
        page = (DEPLOY.parent / "README.md").read_text()
        text = COLLECTOR.read_text()

        for place in ("/etc/supernetflow-collector/collector.toml", "/etc/default/supernetflow-collector"):
            assert place in text
            assert f"`{place}`" in page
        assert f"`/var/lib/{settings(text)['StateDirectory'][0]}/`" in page

    def test_the_configuration_that_it_comes_with_is_one_and_collects_from_nobody(self, tmp_path):
        text = (DEPLOY.parent / "deb/debian-collector/collector.toml").read_text()
        asked = re.search(r'grep -q "([^"]+)"', COLLECTOR.read_text())
        assert asked is not None

        assert tomllib.loads(text) == {}
        assert subprocess.run(["grep", "-q", asked[1]], input=text, text=True, check=False).returncode == 1
        whole = tmp_path / "collector.toml"
        whole.write_text(re.sub(r"^#(?! |$)", "", text, flags=re.MULTILINE))
        assert subprocess.run(["grep", "-q", asked[1], whole], check=False).returncode == 0
        found, sources = collecting.read(whole)
        assert found.keys() == {"keep-records", "keep-minutes", "keep-hours", "disk"}
        assert [endpoint for endpoint, _ in sources] == ["tcp://probe1:5556"]


class TestPage:
    """The unit of the page has no right, and writes nowhere."""

    def test_its_exposure_is_low(self, root):
        words = ("security", "--offline=true", f"--threshold={MOST_COLLECTOR}", WEB.name)

        assert analyze(root, *words).returncode == 0
        change(root, "CapabilityBoundingSet=\n", "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_ADMIN\n", WEB)
        assert analyze(root, *words).returncode != 0

    def test_it_reads_what_the_collector_writes_and_has_no_folder_of_its_own(self):
        said, collector = settings(WEB.read_text()), settings(COLLECTOR.read_text())

        assert f"--folder /var/lib/{collector['StateDirectory'][0]} " in said["ExecStart"][0]
        assert said["User"] == collector["User"]
        assert said["ProtectSystem"] == ["strict"]
        assert not {"StateDirectory", "ReadWritePaths", "RuntimeDirectory", "AmbientCapabilities"} & said.keys()

    def test_the_options_that_it_comes_with_are_none(self):
        text = (DEPLOY / "supernetflow-web.default").read_text()

        assert "EnvironmentFile=-/etc/default/supernetflow-web\n" in WEB.read_text()
        assert [line for line in text.splitlines() if not line.startswith("#")] == ['SNF_OPTIONS=""']


class TestAgreement:
    """The unit gives what the function asks for."""

    def test_capabilities_are_those_that_are_used(self):
        said = settings(UNIT.read_text())

        for name in ("AmbientCapabilities", "CapabilityBoundingSet"):
            assert set(said[name][0].split()) == {*privilege.NEEDED, "CAP_NET_BIND_SERVICE"}

    def test_a_failure_that_another_start_cannot_mend_is_the_last(self):
        """2 is refused, 75 may be better in a while (docs/operation.md)."""
        said = settings(UNIT.read_text())

        assert said["Restart"] == ["on-failure"]
        assert said["RestartPreventExitStatus"] == ["2"]
        assert said["StartLimitBurst"]

    def test_no_memory_is_written_to_a_disk(self):
        assert settings(UNIT.read_text())["LimitCORE"] == ["0"]

    def test_folders_are_those_that_the_page_of_deployment_names(self):
        page = (DEPLOY.parent / "README.md").read_text()
        said = settings(UNIT.read_text())

        for name, place in (
            ("StateDirectory", "/var/lib"),
            ("CacheDirectory", "/var/cache"),
            ("RuntimeDirectory", "/run"),
        ):
            assert f"`{place}/{said[name][0]}/`" in page
        for place in (
            said["ReadWritePaths"][0].lstrip("-"),
            said["ConditionPathExists"][0],
            said["EnvironmentFile"][0][1:],
        ):
            assert place in page


class TestUser:
    """The user and the folders are as sysusers.d(5) and tmpfiles.d(5) read them."""

    @pytest.mark.parametrize("unit", [UNIT, COLLECTOR])
    def test_the_user_is_made_once_and_again(self, tmp_path, unit):
        (tmp_path / "etc").mkdir()
        for _ in range(2):
            words = ["systemd-sysusers", f"--root={tmp_path}", str(unit.with_suffix(".sysusers"))]
            subprocess.run(words, check=True, capture_output=True)

        (user,) = (tmp_path / "etc/passwd").read_text().splitlines()
        assert user.split(":")[0] == settings(unit.read_text())["User"][0]
        assert user.split(":")[6] == "/usr/sbin/nologin"

    def test_folders_have_their_modes(self, tmp_path):
        (tmp_path / "etc").mkdir()
        (tmp_path / "sys/fs/bpf").mkdir(parents=True)
        sysusers = ["systemd-sysusers", f"--root={tmp_path}", str(DEPLOY / "supernetflow.sysusers")]
        tmpfiles = ["systemd-tmpfiles", "--create", f"--root={tmp_path}", str(DEPLOY / "supernetflow.tmpfiles")]
        for words in (sysusers, tmpfiles):
            done = subprocess.run(words, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

        modes = {
            p: (tmp_path / p).stat().st_mode & 0o7777
            for p in ("sys/fs/bpf", "sys/fs/bpf/supernetflow", "etc/supernetflow/keys")
        }
        assert modes == {"sys/fs/bpf": 0o1711, "sys/fs/bpf/supernetflow": 0o700, "etc/supernetflow/keys": 0o750}
        assert (tmp_path / "sys/fs/bpf/supernetflow").stat().st_uid != 0
