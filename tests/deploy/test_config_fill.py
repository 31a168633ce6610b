"""``snf config fill`` brings a configuration and keys that are there together, and says which key is missing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mgmt.cli.main import main
from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.store.datastore import settings_of

EXAMPLE = yang_dir() / "examples" / "probe-mirror.xml"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Keys of the publisher, of a client and of the pseudonyms."""
    main(["keys", str(tmp_path / "keys"), "analytics"])
    return tmp_path / "keys"


def fill(*words: object) -> int:
    try:
        main(["config", "fill", *map(str, words)])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


class TestFilled:
    """Each place has the key of its name, and the function the name that was given."""

    def test_the_keys_are_those_of_the_folder(self, keys: Path, tmp_path: Path) -> None:
        assert fill(EXAMPLE, "--keys", keys, "--out", tmp_path / "out.xml", "--name", "node-7") == 0

        settings = settings_of((tmp_path / "out.xml").read_bytes(), "out.xml")
        curve = settings.export.curve
        assert curve is not None
        assert (
            f"public_key={curve.public_key}\nsecret_key={curve.secret_key}\n" in (keys / "publisher.curve").read_text()
        )
        assert f"public_key={curve.consumers[0].key}" in (keys / "analytics.curve").read_text()
        assert settings.nf_id == "node-7"

    def test_nobody_else_can_read_it_and_again_is_no_error(self, keys: Path, tmp_path: Path) -> None:
        for _ in range(2):
            assert fill(EXAMPLE, "--keys", keys, "--out", tmp_path / "out.xml") == 0
        assert stat.S_IMODE((tmp_path / "out.xml").stat().st_mode) == 0o600

    def test_of_a_client_the_public_key_is_enough(self, keys: Path, tmp_path: Path) -> None:
        file = keys / "analytics.curve"
        file.write_text("".join(line for line in file.open() if line.startswith("public_key=")))
        assert fill(EXAMPLE, "--keys", keys, "--out", tmp_path / "out.xml") == 0


class TestRefused:
    """A key that is missing is said by its file, before anything is written."""

    @pytest.mark.parametrize("missing", ["analytics.curve", "publisher.curve", "pseudonyms.key"])
    def test_a_key_that_is_not_there(
        self, keys: Path, tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (keys / missing).unlink()
        assert fill(EXAMPLE, "--keys", keys, "--out", tmp_path / "out.xml") == 2
        assert f"{keys / missing} has no key for @" in capsys.readouterr().err
        assert not (tmp_path / "out.xml").exists()

    def test_a_key_that_all_can_read(self, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (keys / "pseudonyms.key").chmod(0o644)
        assert fill(EXAMPLE, "--keys", keys, "--out", tmp_path / "out.xml") == 2
        assert "Everybody on this host can read the key" in capsys.readouterr().err

    def test_no_xml(self, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "in.xml").write_text("n3: true")
        assert fill(tmp_path / "in.xml", "--keys", keys, "--out", tmp_path / "out.xml", "--name", "a") == 2
        assert "is no XML" in capsys.readouterr().err
