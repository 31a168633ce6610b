"""The programs' distance from the verifier's limits on the kernel at hand, and the report on a kernel."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.kernels import inside
from tests.kernels.archive import Archive
from tests.kernels.report import MOST, Report


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the verifier says by (build, program)."""
    heard: list[dict[str, Any]] = []
    inside.verifier(lambda **what: heard.append(what), {})
    return {(what["build"], what["verified"]): what for what in heard}


class TestLimits:
    """Half of what the verifier bears is free; the other half is for kernels that count otherwise."""

    def test_every_program_is_processed_in_half_of_the_instructions(self, told):
        programs = {name: what for (build, name), what in told.items() if build == "programs"}

        assert {"snf_n3", "snf_n6", "snf_n3 (replay)", "snf_any (replay)", "snf_tls", "snf_dns"} <= programs.keys()
        assert all(0 < what["instructions"] <= 500_000 for what in programs.values()), programs

    def test_every_program_loads_with_its_loops_twice_as_long(self, told):
        names = {name for build, name in told if build == "programs"}
        doubled = {name: what for (build, name), what in told.items() if build == "doubled"}

        assert doubled.keys() == names
        assert not [what for what in doubled.values() if "refused" in what]

    def test_the_loops_of_that_build_are_longer_indeed(self, told):
        for name in ("snf_tls", "snf_dns", "snf_name", "snf_suffix", "snf_handoff"):
            assert told["doubled", name]["instructions"] > 1.5 * told["programs", name]["instructions"], name


class TestReport:
    """A kernel is well when all was done on it and nothing of it went wrong."""

    @staticmethod
    def after(*heard: dict[str, Any]) -> Report:
        report = Report("6.1")
        for what in heard:
            report.hear(what)
        return report

    VERIFIED: ClassVar[dict[str, Any]] = {
        "verified": "snf_n3",
        "build": "programs",
        "instructions": MOST,
        "seconds": 0.1,
    }
    CHECK: ClassVar[dict[str, Any]] = {"check": "frames", "ok": True, "text": "2,000 of 2,000"}

    def test_all_done(self):
        assert self.after(self.VERIFIED, self.CHECK, {"done": True}).ok

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param({"verified": "snf_n3", "build": "programs", "refused": "too complex"}, id="refused"),
            pytest.param({"verified": "snf_n3", "build": "doubled", "refused": "too complex"}, id="doubled, refused"),
            pytest.param(VERIFIED | {"instructions": MOST + 1}, id="more than half"),
            pytest.param(CHECK | {"ok": False}, id="a check"),
        ],
    )
    def test_something_wrong(self, wrong):
        assert not self.after(wrong, {"done": True}).ok

    def test_an_end_before_its_time(self):
        assert not self.after(self.VERIFIED, self.CHECK).ok

    def test_the_table_has_both_figures_of_a_program(self, capsys):
        doubled = self.VERIFIED | {"build": "doubled", "instructions": 800_000}
        self.after(self.VERIFIED, doubled, {"done": True}).show()

        (line,) = [line for line in capsys.readouterr().out.splitlines() if "snf_n3" in line]
        assert line.split() == ["snf_n3", "500,000", "50.0%", "0.100", "800,000"]


class TestArchive:
    """The archive is the one of Documentation/driver-api/early-userspace/buffer-format.rst."""

    def test_a_file_in_a_folder(self):
        archive = Archive()
        archive.data("/a/b", b"12345", 0o755, 7.9)
        packed = archive.pack()

        heads = [packed[at : at + 110] for at in range(0, len(packed), 4) if packed[at : at + 6] == b"070701"]
        fields = [[int(head[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)] for head in heads]
        assert [f"{field[1]:o}" for field in fields] == ["40755", "100755", "0"]  # mode: folder, file, the end
        assert (fields[1][5], fields[1][6], fields[1][11]) == (7, 5, len("a/b") + 1)  # time, size, length of the name
        assert len(packed) % 4 == 0
        assert b"a/b\0" in packed
        assert b"12345\0\0\0" in packed
