"""The client profile: options before variables before the file, and host keys that are remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import paramiko
import pytest

from mgmt.cli.main import main
from mgmt.cli.netconf_client import connect
from mgmt.cli.profile import SETTINGS, KnownHosts
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from nf.errors import SnfError

ROOT = Path(__file__).resolve().parents[2]


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def snf(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Run a command as a shell would, but for a process of its own."""

    def run(*words: object) -> Run:
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Run(status, said.out, said.err)

    return run


@pytest.fixture
def profile(profile_folder: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        profile_folder.mkdir(parents=True, exist_ok=True)
        file = profile_folder / "client.toml"
        file.write_text(text)
        return file

    return write


class TestWhatCounts:
    """An option counts before its variable, a variable before the file, the file before what is built in."""

    def test_the_file_alone(self, bench, snf, profile):
        profile(f'netconf = "127.0.0.1:{bench.server.port}"\nuser = "alice"\nkey = "{bench.key}"\n')
        run = snf("sessions")
        assert run.returncode == 0, run.stderr
        assert "0 shown of 0 sessions" in run.stdout

    def test_a_variable_before_the_file(self, bench, snf, profile, monkeypatch):
        profile(f'netconf = "127.0.0.1:{bench.server.port}"\nuser = "mallory"\nkey = "{bench.key}"\n')
        assert "mallory" in snf("sessions").stderr
        monkeypatch.setenv("SNF_USER", "alice")
        assert snf("sessions").returncode == 0

    def test_an_option_before_the_variable(self, bench, snf, profile, monkeypatch):
        profile(f'netconf = "127.0.0.1:{bench.server.port}"\nkey = "{bench.key}"\n')
        monkeypatch.setenv("SNF_USER", "mallory")
        assert snf("sessions", "--user", "alice").returncode == 0

    def test_a_path_in_the_file_is_relative_to_it(self, bench, snf, profile):
        file = profile(f'netconf = "127.0.0.1:{bench.server.port}"\nuser = "alice"\nkey = "my.key"\n')
        (file.parent / "my.key").write_bytes(bench.key.read_bytes())
        assert snf("sessions").returncode == 0

    def test_a_file_of_another_name(self, bench, snf, tmp_path, monkeypatch):
        other = tmp_path / "lab.toml"
        other.write_text(f'netconf = "127.0.0.1:{bench.server.port}"\nuser = "alice"\nkey = "{bench.key}"\n')
        monkeypatch.setenv("SNF_CLIENT", str(other))
        assert snf("sessions").returncode == 0
        assert (tmp_path / "known_hosts").exists()

    def test_the_feed_has_its_place_in_it(self, snf, profile):
        profile('endpoint = "nonsense"\n')
        run = snf("watch", "--seconds", "1")
        assert (run.returncode, "nonsense" in run.stderr) == (2, True)

    @pytest.mark.parametrize(
        ("text", "says"),
        [("user = alice", "is not TOML"), ('usr = "alice"', "no setting usr"), ("user = 3", "user")],
    )
    def test_a_wrong_file_is_a_sentence(self, snf, profile, text, says):
        profile(text)
        run = snf("sessions")
        assert run.returncode == 2
        assert says in run.stderr
        assert "Traceback" not in run.stderr


def test_the_documentation_has_each_setting():
    page = (ROOT / "docs" / "commands.md").read_text()
    rows = [line.split(" | ")[:3] for line in page.splitlines() if line.startswith("| `--")]
    assert rows == [[f"| `--{n}`", f"`SNF_{n.upper().replace('-', '_')}`", f"`{n}`"] for n in SETTINGS]


class TestHostKeys:
    """The key of a function that was never met is remembered; another one later is refused."""

    def options(self, port, bench):
        return ("--netconf", f"127.0.0.1:{port}", "--user", "alice", "--key", bench.key)

    def test_the_first_session_tells_the_key_and_the_next_ones_nothing(self, bench, snf, profile_folder):
        first, second = (snf("sessions", *self.options(bench.server.port, bench)) for _ in range(2))
        shown = paramiko.PKey.from_path(bench.datastore.state_dir / "ssh_host_key").fingerprint
        assert shown in first.stderr
        assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")
        (line,) = (profile_folder / "known_hosts").read_text().splitlines()
        public = (bench.datastore.state_dir / "ssh_host_key.pub").read_text().split()
        assert line.split() == [f"[127.0.0.1]:{bench.server.port}", *public[:2]]

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
    def test_a_changed_key_is_refused(self, bench, snf, profile_folder, key_pair, kind):
        other = key_pair(f"host-{kind}", kind, "256" if kind == "ecdsa" else "").with_suffix(".pub").read_text()
        known = KnownHosts(profile_folder / "known_hosts")
        known.remember("127.0.0.1", bench.server.port, " ".join(other.split()[:2]))
        run = snf("sessions", *self.options(bench.server.port, bench))
        assert run.returncode == 2
        assert "somebody may be in between" in run.stderr
        assert run.stderr.count("\n") == 1

    def test_a_key_that_is_given_counts_alone(self, bench, snf, profile_folder, key_pair):
        other = key_pair("other").with_suffix(".pub")
        KnownHosts(profile_folder / "known_hosts").remember("127.0.0.1", bench.server.port, other.read_text())
        right = bench.datastore.state_dir / "ssh_host_key.pub"
        options = self.options(bench.server.port, bench)
        assert snf("sessions", *options, "--host-key", right).returncode == 0
        assert "not the one that was given" in snf("sessions", *options, "--host-key", other).stderr

    def test_each_function_has_its_own(self, bench, datastore, key_pair, tmp_path):
        known = KnownHosts(tmp_path / "known")
        host_key = key_pair("second-host")
        second = NetconfServer(datastore, Function(dict), port=0, users_file=bench.users, host_key_file=host_key)
        with second:
            for server in (bench.server, second, bench.server, second):
                with connect("127.0.0.1", server.port, "alice", bench.key, known=known):
                    pass
        assert len(known.path.read_text().splitlines()) == 2

    def test_a_file_that_cannot_be_read_is_a_sentence(self, tmp_path):
        with pytest.raises(SnfError, match="cannot be read"):
            KnownHosts(tmp_path).find("127.0.0.1", 830)

    def test_a_wrong_user_is_told_from_a_function_that_is_not_there(self, bench):
        with (
            pytest.raises(SnfError, match="does not take bob"),
            connect("127.0.0.1", bench.server.port, "bob", bench.key),
        ):
            pass
