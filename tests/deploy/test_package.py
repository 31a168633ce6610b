"""The Debian packages, as far as they can be looked at without a build; `make package-test` installs them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mgmt.cli.main import snf

ROOT = Path(__file__).resolve().parents[2]
DEB = ROOT / "deploy" / "deb"
DEBIAN = DEB / "debian"
COLLECTOR = DEB / "debian-collector"
FOLDERS = {"supernetflow": DEBIAN, "supernetflow-collector": COLLECTOR}
SECTIONS = {"supernetflow": "1", "supernetflow-collector": "1snf"}


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in words], capture_output=True, text=True, check=False, cwd=ROOT)


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, group
    for each in group.commands.values():
        if isinstance(each, click.Group):
            yield from commands(each, f"{name}-{each.name}")
        else:
            yield f"{name}-{each.name}", each


COMMANDS = dict(commands(snf, "snf"))


@pytest.fixture(scope="module", params=FOLDERS)
def manual(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    done = run(sys.executable, DEB / "manual.py", folder, request.param)
    assert done.returncode == 0, done.stderr
    return folder


class TestManual:
    """Each command has a page, which names each of its options, and shells complete it."""

    def test_each_command_has_a_page(self, manual):
        assert {file.stem for file in manual.glob("*.1*")} == set(COMMANDS)

    def test_pages_of_both_packages_have_names_of_their_own(self, manual):
        (section,) = {file.suffix for file in manual.glob("*.1*")}

        package = next(name for name in sorted(SECTIONS, reverse=True) if manual.name.startswith(name))
        assert section == f".{SECTIONS[package]}"

    @pytest.mark.parametrize("name", COMMANDS)
    def test_the_page_names_each_option(self, manual, name):
        (page,) = manual.glob(f"{name}.1*")
        text = page.read_text().replace("\\-", "-")

        shown = [each for each in COMMANDS[name].params if isinstance(each, click.Option) and not each.hidden]
        assert [each.opts for each in shown if each.opts[0] not in text] == []

    def test_no_line_of_a_page_is_a_request_by_accident(self, manual):
        known = re.compile(r"\.(TH|SH|TP|PP|B|BR)( |$)")

        lines = [line for file in manual.glob("*.1*") for line in file.read_text().splitlines()]
        assert [line for line in lines if line.startswith((".", "'")) and not known.match(line)] == []

    @pytest.mark.parametrize("shell", ["bash/snf", "_snf", "snf.fish"])
    def test_shells_ask_the_command(self, manual, shell):
        assert "_SNF_COMPLETE=" in (manual / shell).read_text()


class TestMaintainerScripts:
    """They are sh, and a purge takes away what the service and its operator wrote."""

    @pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
    @pytest.mark.parametrize("package", FOLDERS)
    def test_they_are_sh(self, package, name):
        done = run("sh", "-n", FOLDERS[package] / f"{package}.{name}")

        assert (done.returncode, done.stderr) == (0, "")

    def test_a_purge_takes_each_place_that_is_written_to(self):
        places = re.findall(r"^\| `([^|]+)` \|", (ROOT / "deploy/README.md").read_text(), re.MULTILINE)
        written = re.findall(r"/(?:etc|var/[a-z]+|run|sys/fs/bpf)/supernetflow(?![-\w])", " ".join(places))

        postrm = (DEBIAN / "supernetflow.postrm").read_text()
        purge = postrm[postrm.index('"$1" = purge') :]
        assert len(set(written)) == 5
        assert [place for place in written if not re.search(rf"rm -rf [^\n]*{place}(\s|$)", purge)] == []

    def test_a_removal_detaches_before_the_command_is_gone(self):
        prerm = (DEBIAN / "supernetflow.prerm").read_text()

        assert prerm.index("#DEBHELPER#") < prerm.index("snf detach") < prerm.index("py3clean")


class TestNames:
    """The collector's package makes names that the probe's has, where there is none, and takes no other's away."""

    @pytest.fixture
    def names(self, tmp_path):
        """Return the script with all its paths in a folder of the test, and that folder."""
        script = tmp_path / "names"
        script.write_text((COLLECTOR / "names").read_text().replace("/usr/", f"{tmp_path}/usr/"))
        for folder in ("bin", "bash-completion/completions", "fish/vendor_completions.d", "zsh/vendor-completions"):
            (tmp_path / "usr" / ("" if folder == "bin" else "share") / folder).mkdir(parents=True)
        own = tmp_path / "usr/lib/supernetflow-collector/bin/snf"
        own.parent.mkdir(parents=True)
        own.write_text("")
        return script, tmp_path / "usr/bin/snf", own

    def test_made_and_taken_away(self, names):
        script, name, own = names

        assert (run("sh", script, "link").returncode, name.resolve()) == (0, own)
        assert (run("sh", script, "link").returncode, name.resolve()) == (0, own)
        assert run("sh", script, "unlink").returncode == 0
        assert not name.is_symlink()

    def test_the_probe_s_stays(self, names):
        script, name, _ = names
        name.write_text("the probe's")

        for word in ("link", "unlink"):
            assert run("sh", script, word).returncode == 0
        assert name.read_text() == "the probe's"

    def test_each_is_watched_or_comes_with_what_is(self):
        """A trigger on the command is enough: no package brings the completion alone."""
        assert "interest-noawait /usr/bin/snf" in (COLLECTOR / "supernetflow-collector.triggers").read_text()

    def test_a_removal_takes_them_before_the_script_is_gone(self):
        prerm = (COLLECTOR / "supernetflow-collector.prerm").read_text()

        assert "= remove ]; then\n\t/usr/lib/supernetflow-collector/names unlink" in prerm


class TestControl:
    """The package takes from Debian all that is there."""

    def test_what_no_wheel_brings_is_depended_on(self):
        depends = re.split(
            r",\s*", (DEBIAN / "control").read_text().split("Depends:")[-1].split("Recommends:")[0].strip()
        )

        # libyang2 and the C library come by ${shlibs:Depends}, from what the modules are linked with.
        wanted = {"python3-bpfcc", "python3-seccomp", "iproute2", "${shlibs:Depends}", "${misc:Depends}"}
        assert wanted <= set(depends)

    @pytest.mark.parametrize("package", FOLDERS)
    def test_one_python_only_as_wheels_are_of_one(self, package):
        text = (FOLDERS[package] / "control").read_text()

        assert "python3 (>= 3.11), python3 (<< 3.12)" in text


class TestDocuments:
    """Each page of the documentation comes as a page; debhelper takes some names for a changelog."""

    def test_none_is_taken_for_a_changelog(self):
        line = re.search(r"^\tdh_installchangelogs (.*)$", (DEBIAN / "rules").read_text(), re.MULTILINE)
        assert line is not None
        left_out = {word.removeprefix("-X").lower() for word in line[1].split()}

        names = {page.name.lower() for page in [*(ROOT / "docs").glob("*.md"), ROOT / "CHANGELOG.md"]}
        # dh_installchangelogs(1): changelog, changes and history, also as .md
        assert {name for name in names if name.split(".")[0] in {"changelog", "changes", "history"}} <= left_out


class TestPrograms:
    """The package brings each build of the programs that the function asks for, so that no start compiles."""

    def test_each_flag_of_a_build_is_there(self):
        asked = re.findall(r'"(-D\w+)"', (ROOT / "nf/kernel/programs.py").read_text())

        assert asked
        assert set(asked) == set(re.findall(r'"(-D\w+)"', (DEB / "programs.py").read_text()))


class TestTrim:
    """It takes ASN.1 modules but the one that is read, tests, stubs, what pip noted, and nothing of the product."""

    def test_what_stays(self, tmp_path):
        kept = ("pycrate_asn1dir/__init__.py", "pycrate_asn1dir/NGAP.py", "nf/a.py", "numpy/linalg/b.py", "x.libs/c.so")
        gone = ("pycrate_asn1dir/RRC3G.py", "pycrate_mobile/d.py", "numpy/tests/e.py", "nf/f.pyi", "g.dist-info/RECORD")
        for name in (*kept, *gone):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("#!/usr/bin/env python\nvalue = 1\n")

        done = run(DEB / "trim", tmp_path)

        assert done.returncode == 0, done.stderr
        assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == set(kept)
        assert (tmp_path / "nf/a.py").read_text() == "value = 1\n"


class TestCopyright:
    """Each package in the environment has a licence that somebody looked at, or there is no package."""

    @staticmethod
    def installed(folder: Path, licence: str) -> Path:
        info = folder / "thing-1.dist-info"
        (info / "licenses").mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: thing\nVersion: 1\nLicense-Expression: {licence}\n"
        )
        (info / "licenses" / "LICENSE").write_text("Copyright (c) 2020 Somebody\n\nDo as you like.\n")
        names = ("METADATA", "licenses/LICENSE")
        (info / "RECORD").write_text(
            "".join(f"thing-1.dist-info/{name},,\n" for name in names) + "thing/__init__.py,,\n"
        )
        return folder

    def test_paths_holder_and_text(self, tmp_path):
        done = run(sys.executable, DEB / "copyright.py", self.installed(tmp_path, "MIT"), "supernetflow")

        assert done.returncode == 0, done.stderr
        said = "Files: thing/*\n thing-1.dist-info/*\nCopyright: 2020 Somebody\nLicense: MIT\n"
        text = " Copyright (c) 2020 Somebody\n .\n Do as you like.\n"
        assert said + text in done.stdout

    def test_an_unknown_licence_ends_the_build(self, tmp_path):
        done = run(sys.executable, DEB / "copyright.py", self.installed(tmp_path, "Proprietary"), "supernetflow")

        assert (done.returncode, "thing has a licence" in done.stderr) == (1, True)


class TestBuild:
    """Words that it does not understand are refused before anything is made."""

    @pytest.mark.parametrize(
        "words",
        [
            ("--package", "supernetflaw", "out"),
            (),
            ("--version", "0.1"),
            ("--wersion", "0.1", "out"),
            ("--version", "1 0", "out"),
            ("--help",),
        ],
    )
    def test_refused_in_a_sentence(self, words, tmp_path):
        done = run(DEB / "build", *(tmp_path / each if each == "out" else each for each in words))

        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert not (tmp_path / "out").exists()
