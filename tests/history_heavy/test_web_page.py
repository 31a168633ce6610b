"""The page in Chromium, in a network that has nothing but its loopback: its numbers, its keys, its pictures.

Pictures of each view, wide and narrow, light and dark, are kept in build/pictures.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import duckdb
import pytest

from lab.net import Net
from lab.wait import wait_until
from tests.history import web_folder
from tests.history.web_folder import BAD_GNB, END_MS, HOSTILE_APP, HOSTILE_DNN, HOUR_MS, Shape, pseudonym
from tests.history_heavy.window import Window
from tests.test_house import ROOT

PAGE = "http://127.0.0.1:8080/"
PICTURES = ROOT / "build" / "pictures"
VIEWS = ("worst", "change", "subscriber", "map", "health")
MOST_BYTES = 300_000  # of the first view, in all


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return web_folder.make(tmp_path_factory.mktemp("history"), Shape(subscribers=66, hours=48))


@pytest.fixture(scope="module")
def window(folder, tmp_path_factory):
    with Net() as net:
        net.add("page")
        words = [*net.prefix("page"), str(ROOT / ".venv/bin/snf"), "web", "--folder", str(folder)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == f"The page is at {PAGE}\n"
                with Window(net, "page", tmp_path_factory.mktemp("browser")) as found:
                    found.size(1280, 900)
                    yield found
            finally:
                server.terminate()


def asked(folder, sql):
    """Return rows of SQL over the facts of the last day."""
    since = END_MS - 24 * HOUR_MS
    files = f"read_parquet('{folder}/facts/*/*/*.parquet')"
    return duckdb.sql(f"select * from ({sql.format(facts=f'(from {files} where t_ms >= {since})')})").fetchall()


class TestNumbers:
    """The page says what SQL says of the files."""

    @pytest.mark.parametrize(("by", "title"), [("app", "Application"), ("gnb", "gNB"), ("slice", "Slice")])
    def test_of_the_worst(self, window, folder, by, title):
        want = asked(
            folder,
            f"select {by}, sum(mos_sum) / sum(mos_n) as s, sum(bad) / sum(mos_n) from {{facts}} group by 1 order by s",
        )

        window.view(f"{PAGE}#/worst?by={by}")

        rows = window.cells("worst")
        assert [(r[title], r["Score"].split()[0]) for r in rows] == [(name, f"{s:.2f}") for name, s, _ in want]
        assert [float(r["Bad"].split()[0]) for r in rows] == pytest.approx([100 * b for *_, b in want], abs=0.51)

    def test_of_a_subscriber(self, window, folder):
        who = pseudonym(0)
        ((mos, down),) = asked(
            folder, f"select sum(mos_sum) / sum(mos_n), sum(dl_bytes) from {{facts}} where subscriber = '{who}'"
        )

        window.view(f"{PAGE}#/subscriber?name={who}")

        facts = window.call(
            "Object.fromEntries([...document.querySelectorAll('.facts > div')]"
            ".map((d) => [d.firstChild.textContent, d.lastChild.innerText]))"
        )
        assert facts["Score"].split()[0] == f"{mos:.2f}"
        assert facts["Down"] == f"{down / 1e9:.2f} GB"
        assert window.cells("intervals")[0]["Evidence"].startswith("delay ")

    def test_of_the_map(self, window, folder):
        want = asked(
            folder,
            "select gnb, sum(mos_sum) / sum(mos_n), sum(rtt_access_ms_sum) / sum(rtt_access_ms_n),"
            " (sum(ul_bytes) + sum(dl_bytes)) * 8 / 86400 from {facts} group by 1",
        )

        window.view(f"{PAGE}#/map")

        rows = {r["From"]: r for r in window.cells("edges") if r["From"].startswith("10.")}
        assert {name: r["Score"].split()[0] for name, r in rows.items()} == {n: f"{s:.2f}" for n, s, *_ in want}
        assert {name: float(r["Round trip"].split()[0]) for name, r in rows.items()} == pytest.approx(
            {n: ms for n, _, ms, _ in want}, abs=0.06
        )
        assert {name: float(r["Load"].split()[0]) for name, r in rows.items()} == pytest.approx(
            {n: bps / 1e6 for n, *_, bps in want}, abs=0.006
        )
        notes = window.call("[...document.querySelectorAll('.map .note')].map((n) => n.textContent)")
        assert len(notes) == len(window.cells("edges"))

    def test_of_a_change(self, window):
        window.view(f"{PAGE}#/change")

        found = {r["Name"]: r["Finding"] for r in window.cells("change") if r["Of"] == "Application"}
        assert {name for name, finding in found.items() if "better" in finding} == {"youtube"}

    def test_of_health(self, window):
        window.view(f"{PAGE}#/health")

        rows = {r["Function"]: r for r in window.cells("health")}
        assert rows["upf2"]["Drops"] == "812"
        assert rows["upf1"]["Flow table"] == "39 %"
        assert rows["upf1"]["State"].split()[-3:-1] != []
        assert [r["Why"] for r in window.cells("gaps")] == ["lost"]


class TestHostileText:
    """A name that is markup is shown as it is, and does nothing."""

    def test_of_an_application_and_a_data_network(self, window):
        window.view(f"{PAGE}#/worst?by=app")
        assert HOSTILE_APP in [r["Application"] for r in window.cells("worst")]

        window.view(f"{PAGE}#/map")
        assert HOSTILE_DNN in [r["To"] for r in window.cells("edges")]
        window.view(f"{PAGE}#/change")
        assert "<b>YouTube</b>" in window.call("document.getElementById('mark').textContent")

        assert window.call("document.title") == "Change · SuperNetflow"
        assert window.call("document.querySelectorAll('main img, main script, main b b').length") == 0


class TestKeys:
    """The page is walked by keys alone."""

    def test_views_rows_and_back(self, window):
        window.view(f"{PAGE}#/worst?by=gnb")
        window.key("j")
        window.key("Enter")
        wait_until(lambda: f"gnb={BAD_GNB}" in window.call("location.hash"), "the row is opened", 10)
        wait_until(lambda: "•••" in self._first(window), "its subscribers are there, masked", 30)

        window.key("m")
        wait_until(lambda: len(self._first(window)) == 32, "names are shown", 30)
        window.key("m")
        wait_until(lambda: "•••" in self._first(window), "names are masked", 30)

        window.key("5")
        wait_until(lambda: window.cells("health"), "the view of health is there", 30)
        window.key("?")
        assert window.call("document.getElementById('keys').open") is True
        window.key("Escape")
        window.call("document.getElementById('keys').close()")

    @staticmethod
    def _first(window):
        """Return the subscriber of the first row, "" while the table of another view is there."""
        return (window.cells("worst") or [{}])[0].get("Subscriber", "")

    def test_find_narrows_the_table(self, window):
        window.view(f"{PAGE}#/worst?by=app")
        window.key("/")
        for letter in "tube":
            window.key(letter)

        wait_until(lambda: [r["Application"] for r in window.cells("worst")] == ["youtube"], "one row is left", 10)
        window.call("document.getElementById('find').value = ''")


class TestPictures:
    """Each view is legible on a wide and a narrow screen, light and dark; nothing sticks out at the side."""

    @pytest.mark.parametrize("view", VIEWS)
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize(("width", "height"), [(1280, 900), (360, 740)])
    def test_of_a_view(self, window, view, dark, width, height):
        window.size(width, height, dark=dark)
        window.view(f"{PAGE}#/{view}?by=subscriber" + (f"&name={pseudonym(0)}" if view == "subscriber" else ""))

        window.picture(PICTURES / f"{view}-{width}-{'dark' if dark else 'light'}.png")

        assert window.call("document.documentElement.scrollWidth") <= width
        paper = window.call("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 3 * 128) is dark


class TestRequests:
    """Nothing is asked of another host, and little of this one."""

    def test_the_first_view_is_light(self, window):
        window.size(1280, 900)
        window.open("about:blank")
        window.asked.clear()
        window.open(PAGE)
        window.settled()

        sizes = window.call(
            "Object.fromEntries(performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
            ".map((e) => [e.name, e.decodedBodySize]))"
        )
        assert len(sizes) >= 10
        assert sum(sizes.values()) < MOST_BYTES

    def test_no_other_host_is_asked_and_nothing_is_refused_or_fails(self, window):
        assert {url.partition(":")[0] for url in window.asked} <= {"http", "data"}  # the picker's icon is data
        assert [url for url in window.asked if url.startswith("http") and not url.startswith(PAGE)] == []
        assert window.refused == []
        assert [t for t in window.told if t.get("event") == "exception"] == []
