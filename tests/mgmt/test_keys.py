"""Keys: a command makes them, examples have none, and those that examples once had are refused."""

import re
import stat
from pathlib import Path

import pytest
import zmq
from lxml import etree

from mgmt.bind import bind
from mgmt.cli import inputs
from mgmt.cli.main import main
from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.store.edit import apply_edit, empty_tree
from nf.errors import BadSettings, SnfError

EXAMPLES = sorted((yang_dir() / "examples").glob("*.xml"))
EXPORT = "urn:supernetflow:yang:snf-export"
PUBLISHED = {  # in the examples of 2026-11-23
    "public-key": "Yne@$w-vo&lt;fVvi]a&lt;NY6T1ed:M$fCG*[IaLV{hID",
    "secret-key": "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
    "client": "rq:rM&gt;}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


class TestCommand:
    """``snf keys`` writes what is secret into files of its owner, and says what is public."""

    def test_pairs_are_pairs_and_readable_by_their_owner_alone(self, tmp_path: Path, capsys):
        main(["keys", str(tmp_path / "keys"), "dashboard"])

        said = dict(line.split("\t")[::2] for line in capsys.readouterr().out.splitlines() if ".curve" in line)
        assert said.keys() == {"publisher", "dashboard"}
        for name, public in said.items():
            pair = inputs.curve_keys(tmp_path / "keys" / f"{name}.curve")
            assert zmq.curve_public(pair.secret_key.encode()).decode() == public == pair.public_key
            assert pair.server_key == said["publisher"]
        assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()} == {0o600}

    def test_nothing_secret_is_printed(self, tmp_path: Path, capsys):
        main(["keys", str(tmp_path / "keys"), "dashboard"])

        said = capsys.readouterr().out
        for path in (tmp_path / "keys").iterdir():
            secret = path.read_text().rpartition("secret_key=")[2].strip()
            assert secret not in said

    def test_a_key_is_never_written_over(self, tmp_path: Path, capsys):
        main(["keys", str(tmp_path)])
        before = (tmp_path / "publisher.curve").read_text()

        with pytest.raises(SystemExit):
            main(["keys", str(tmp_path), "dashboard"])

        assert "not written over" in capsys.readouterr().err
        assert (tmp_path / "publisher.curve").read_text() == before
        assert not (tmp_path / "dashboard.curve").exists()

    @pytest.mark.parametrize("name", ["../up", "a b", "", "a" * 65])
    def test_a_name_that_is_no_file_is_refused(self, name, tmp_path: Path, capsys):
        with pytest.raises(SystemExit):
            main(["keys", str(tmp_path / "keys"), name])
        assert "no name for a key" in capsys.readouterr().err
        assert not (tmp_path / "keys").exists()


@pytest.mark.clause("R-95950", "R-10129", "R-12271", "R-33955")
class TestExamples:
    """An example runs on anybody's machine, with keys that nobody else has."""

    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
    def test_an_example_has_no_key(self, path: Path):
        names = ("{*}public-key", "{*}secret-key", "{*}client", "{*}key", "{*}previous-key")
        for element in (e for e in etree.parse(path).iter(*names) if not len(e)):
            assert re.fullmatch(r"@[a-z-]+@", element.text), element.tag

    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
    def test_an_example_that_is_not_filled_says_what_to_do(self, path: Path):
        with pytest.raises(SnfError, match="snf keys DIR -f"):
            inputs.configuration(path)

    @pytest.mark.clause("R-95950", "R-10129", "R-12271", "R-33955")
    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
    def test_an_example_is_taken_with_its_keys(self, path: Path, tmp_path: Path):
        main(["keys", str(tmp_path / "keys"), "-f", str(path)])

        settings = inputs.configuration(tmp_path / "keys" / path.name)

        assert settings.export.curve.public_key in (tmp_path / "keys/publisher.curve").read_text()
        (consumer,) = settings.export.curve.consumers
        assert inputs.curve_keys(tmp_path / "keys/analytics.curve").public_key == consumer.key
        assert len(settings.privacy.key) == 32

    def test_a_key_that_looks_like_a_place_is_a_key(self, tmp_path: Path):
        # One of a hundred files of `snf keys` has one.
        curve = f"<public-key>{'a' * 37}@t@</public-key><secret-key>{'b' * 40}</secret-key>"
        file = tmp_path / "filled.xml"
        file.write_text(f'<config><exporter xmlns="{EXPORT}"><curve>{curve}</curve></exporter></config>')

        assert inputs.configuration(file).export.curve.public_key.endswith("@t@")


class TestPublishedKeys:
    """A key that was in an example is refused, wherever it stands but where it is the key of before."""

    @pytest.mark.parametrize("leaf", PUBLISHED)
    def test_it_is_named_and_refused(self, leaf, model):
        keys = {"public-key": "a" * 40, "secret-key": "b" * 40, "client": "c" * 40, leaf: PUBLISHED[leaf]}
        key = f"<key>{keys.pop('key')}</key>" if "key" in keys else ""
        curve = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
        tree = etree.fromstring(
            f'<config><exporter xmlns="urn:supernetflow:yang:snf-export"><curve>{curve}</curve></exporter>'
            f'<privacy xmlns="urn:supernetflow:yang:snf-privacy">{key}</privacy></config>'
        )

        with pytest.raises(BadSettings, match="everybody can read") as refused:
            bind(model.validate(apply_edit(model, empty_tree(), tree)[0]))

        assert PUBLISHED[leaf] not in str(refused.value)

    def test_names_under_it_can_go_on_while_it_is_replaced(self, model):
        privacy = f"<key>AAECAwQFBgcICQoLDA0ODw==</key><previous-key>{PUBLISHED['key']}</previous-key>"
        tree = etree.fromstring(
            f'<config><privacy xmlns="urn:supernetflow:yang:snf-privacy">{privacy}</privacy></config>'
        )
        settings = bind(model.validate(apply_edit(model, empty_tree(), tree)[0]))
        assert settings.privacy.previous_key == bytes(range(32))
