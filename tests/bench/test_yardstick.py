"""The yardstick: its work is always the same, and goals that are times or rates follow it."""

from __future__ import annotations

import json

import pytest

from bench import cc, results, yardstick
from bench.figure import Figure
from bench.yardstick import Scale, Yardstick
from nf.errors import SnfError

HERE, THERE = Yardstick(c_ms=120.0, python_ms=150.0), Yardstick(c_ms=60.0, python_ms=50.0)
SPLITMIX64 = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]  # seed 0


class TestWork:
    """Both pieces do what they say, again and again."""

    def test_the_c_piece_finds_each_key_where_it_lies(self):
        # 4 keys in 8 places: the upper three bits choose, a taken place gives the next one
        keys, places = [key | 1 for key in SPLITMIX64], dict[int, int]()
        for key in keys:
            at = key >> 61
            while at in places:
                at = (at + 1) % 8
            places[at] = key
        piece = yardstick.in_c(bits=3)

        assert [piece(), piece()] == [(sum(places) + sum(keys)) % 2**64] * 2

    def test_the_python_piece_counts_each_name_and_each_packet_both_ways(self):
        piece = yardstick.in_python(names=100, rows=1000)

        assert [piece(), piece()] == [100 + 3 * 1000] * 2

    def test_without_a_compiler_one_sentence_says_what_to_do(self, tmp_path, monkeypatch):
        (tmp_path / "one.c").write_text("int one(void) { return 1; }")
        monkeypatch.setattr(cc, "_BUILD", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(SnfError, match="gcc is not there"):
            cc.library(tmp_path / "one.c")

    def test_what_does_not_compile_is_told_with_the_compilers_words(self, tmp_path, monkeypatch):
        (tmp_path / "one.c").write_text("int one(void) { return two; }")
        monkeypatch.setattr(cc, "_BUILD", tmp_path)

        with pytest.raises(SnfError, match=r"one\.c cannot be built"):
            cc.library(tmp_path / "one.c")

        assert not list(tmp_path.glob("*.so"))


class TestScale:
    """A machine that takes twice and three times as long has goals that are sqrt(6) times as far."""

    SIX = 6**0.5

    @pytest.mark.parametrize("unit", ["s", "ms", "us"])
    def test_more_time_is_allowed(self, unit):
        figure = Scale(HERE, THERE).apply(Figure("sweep", 0.2, unit, 0.1))

        assert (figure.goal, figure.stated) == (pytest.approx(0.1 * self.SIX), 0.1)
        assert figure.met

    @pytest.mark.parametrize("unit", ["1/s", "Gbit/s"])
    def test_a_lower_rate_is_enough(self, unit):
        figure = Scale(HERE, THERE).apply(Figure("new flows", 40, unit, 80, more=True))

        assert (figure.goal, figure.stated) == (pytest.approx(80 / self.SIX), 80)
        assert figure.met

    @pytest.mark.parametrize("unit", ["ratio", "%", "MB", "insn", "% CPU"])
    def test_what_is_no_time_and_no_rate_stays(self, unit):
        figure = Figure("hot / floor", 1.7, unit, 1.8)

        assert Scale(HERE, THERE).apply(figure) is figure

    @pytest.mark.parametrize("scale", [Scale(), Scale(HERE), Scale(None, THERE)])
    def test_while_one_of_both_is_unknown_goals_are_as_stated(self, scale):
        figure = Figure("sweep", 0.2, "s", 0.1)

        assert scale.factor == 1.0
        assert scale.apply(figure) is figure

    @pytest.mark.parametrize(("c_ms", "scaled"), [(62.4, False), (57.6, False), (72.0, True)])
    def test_what_two_runs_on_one_machine_differ_by_changes_nothing(self, c_ms, scaled):
        figure = Figure("sweep", 0.2, "s", 0.1)

        assert (Scale(Yardstick(c_ms, THERE.python_ms), THERE).apply(figure) is not figure) == scaled

    def test_it_says_what_it_does(self):
        assert str(Scale(HERE, THERE)).endswith("goals in seconds x 2.45, a second and in Gbit/s / 2.45")
        assert str(Scale(HERE)).endswith("as stated (x 1.0)")


class TestDocuments:
    """The yardstick of the documents' machine is that of the first row of its file."""

    def test_it_is_unknown_while_no_row_of_that_machine_has_one(self):
        other = {"machine": "second", "yardstick": {"c_ms": 1.0, "python_ms": 2.0}}

        assert yardstick.documented([]) is None
        assert yardstick.documented([{"machine": "first"}, {"machine": "first", "yardstick": None}, other]) is None

    def test_it_is_the_first_that_was_measured_there(self):
        rows = [{"machine": "first"}, {"machine": "first", "yardstick": {"c_ms": 60.0, "python_ms": 50.0}}]

        assert yardstick.documented(rows) == THERE

    def test_a_table_shows_the_goal_and_what_it_was_scaled_from(self, tmp_path, monkeypatch):
        monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
        monkeypatch.setattr(results, "QUOTED", tmp_path / "results.json")

        results.write("scale", [Scale(HERE, THERE).apply(Figure("sweep", 0.2, "s", 0.1))], HERE)

        text = results.render("<!-- bench: figures scale -->\n<!-- end -->\n<!-- bench: machine -->\n<!-- end -->")
        assert "| sweep | 0.2 s | ≤ 0.245 s, scaled from 0.1 s | met |" in text
        assert "; yardstick: C 120 ms, Python and numpy 150 ms" in text
        assert json.loads((tmp_path / "results.json").read_text())[0]["stated"] == 0.1
