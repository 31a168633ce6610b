"""The page of the history: its answers against sums over the same files, and who gets them."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import uvicorn

from feed.errors import SnfError
from history.web.app import STATIC, make
from history.web.guard import Attempts, Tokens, known_host
from history.web.mask import Mask
from history.web.serve import serve
from lab.wait import wait_until
from mgmt.cli.main import main
from tests.history import web_folder
from tests.history.web_folder import BAD_GNB, END_MS, HOSTILE_APP, HOSTILE_DNN, HOUR_MS, Shape, pseudonym

TOKEN = "correct-horse-battery-staple"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self):
        return json.loads(self.body)


@dataclass
class Page:
    port: int

    def get(self, path, method="GET", body=None, host="", **headers):
        client = HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {"Host": host or f"127.0.0.1:{self.port}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        client.request(method, path, body, named)
        answer = client.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        client.close()
        return found

    def ask(self, question, /, **words):
        answer = self.get(f"/api/{question}?{urlencode(words)}")
        assert answer.status == 200, answer.body
        return answer.said


@contextmanager
def page_over(folder: Path, names=(), tokens=None) -> Iterator[Page]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(make(folder, names, tokens), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started, "the page is served", 20)
            yield Page(bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return web_folder.make(tmp_path_factory.mktemp("history"), Shape(subscribers=66, hours=48))


@pytest.fixture(scope="module")
def page(folder) -> Iterator[Page]:
    with page_over(folder) as found:
        yield found


@cache
def all_facts(folder):
    """Return the facts of the files, by pyarrow alone: another engine than the page's."""
    return ds.dataset(folder / "facts", format="parquet").to_table().to_pylist()


def facts(folder, since_ms=END_MS - 24 * HOUR_MS):
    return [row for row in all_facts(folder) if since_ms <= row["t_ms"] < END_MS]


def mean_score(rows):
    return sum(r["mos_sum"] for r in rows) / sum(r["mos_n"] for r in rows)


class TestWorst:
    """The lowest mean score stands first, with what the files have of it."""

    @pytest.mark.parametrize("by", ["app", "gnb", "slice"])
    def test_the_ranking_is_that_of_sums_over_the_files(self, page, folder, by):
        rows = facts(folder)
        want = {value: mean_score([r for r in rows if r[by] == value]) for value in {r[by] for r in rows}}

        found = page.ask("worst", by=by)["rows"]

        assert [r["value"] for r in found] == sorted(want, key=want.__getitem__)
        assert {r["value"]: r["score"] for r in found} == pytest.approx(want, rel=1e-5)

    def test_the_planted_gnb_is_the_worst_and_its_suspect_is_the_access(self, page):
        first = page.ask("worst", by="gnb")["rows"][0]

        assert (first["value"], first["suspect"]) == (BAD_GNB, "access")

    def test_a_filter_and_a_range_narrow_it(self, page, folder):
        since, until = END_MS - 6 * HOUR_MS, END_MS - 2 * HOUR_MS
        rows = [r for r in facts(folder, since) if r["t_ms"] < until and r["app"] == HOSTILE_APP]

        found = page.ask("worst", by="gnb", since=since, until=until, app=HOSTILE_APP)["rows"]

        assert {r["value"]: r["bytes"] for r in found} == {
            gnb: sum(r["ul_bytes"] + r["dl_bytes"] for r in rows if r["gnb"] == gnb) for gnb in {r["gnb"] for r in rows}
        }

    def test_the_line_above_it_has_the_mean_of_all(self, page, folder):
        rows = facts(folder)

        line = page.ask("worst")["line"]

        assert len(line) == 24
        assert line[0]["score"] == pytest.approx(mean_score([r for r in rows if r["t_ms"] == line[0]["t"]]), rel=1e-5)

    def test_names_to_choose_from_are_those_of_the_range(self, page):
        names = page.ask("overview")["names"]

        assert names["dnn"] == sorted([HOSTILE_DNN, "internet"])
        assert names["nf"] == ["upf1", "upf2"]


class TestNames:
    """A pseudonym is on the page only when it is asked for."""

    def test_no_answer_has_one_before(self, page, folder):
        who = {r["subscriber"] for r in facts(folder)}
        handle = page.ask("worst")["rows"][0]["handle"]

        bodies = [page.get(f"/api/{n}?{urlencode({'name': handle})}").body.decode() for n in ANSWERS]

        assert len(who) == 66
        assert [name for name in who if any(name in body for body in bodies)] == []

    def test_asked_for_they_are_those_of_the_files(self, page, folder):
        found = page.ask("worst", names="shown")["rows"]

        assert {r["value"] for r in found} == {r["subscriber"] for r in facts(folder)}

    def test_a_handle_leads_to_the_subscriber_of_the_row(self, page, folder):
        row = page.ask("worst")["rows"][0]

        found = page.ask("subscriber", name=row["handle"])

        assert found["name"] == row["value"]
        assert found["total"]["score"] == row["score"]
        assert page.ask("subscriber", name=row["handle"], names="shown")["name"] in {pseudonym(n) for n in range(66)}

    def test_a_handle_of_another_process_is_refused_in_a_sentence(self, page):
        answer = page.get(f"/api/subscriber?name={Mask().handle(pseudonym(1))}")

        assert answer.status == 400
        assert answer.said["error"].startswith("This link was made before")

    def test_labels_have_nothing_of_the_name_and_differ_from_process_to_process(self):
        one, two = Mask(), Mask()

        assert one.label("0123456789abcdef" * 2) != two.label("0123456789abcdef" * 2)
        assert one.name(one.handle("line-7")) == "line-7"


class TestSubscriber:
    """One subscriber, from the score to what it is made from."""

    def test_lines_and_applications_are_sums_over_the_files(self, page, folder):
        mine = [r for r in facts(folder) if r["subscriber"] == pseudonym(0)]

        found = page.ask("subscriber", name=pseudonym(0))

        assert found["total"]["score"] == pytest.approx(mean_score(mine), rel=1e-5)
        assert found["total"]["dl_bytes"] == sum(r["dl_bytes"] for r in mine)
        assert [r["stalled_s"] for r in found["series"]] == pytest.approx(
            [sum(r["stalled_s"] for r in mine if r["t_ms"] == t) for t in sorted({r["t_ms"] for r in mine})]
        )
        assert {a["app"] for a in found["apps"]} == {r["app"] for r in mine}

    def test_the_worst_intervals_have_their_evidence(self, page):
        found = page.ask("subscriber", name=pseudonym(0))["intervals"]

        assert found[0]["mos"] == pytest.approx(1.7, abs=0.01)
        assert (found[0]["suspect"], found[0]["suspect_by"]) == ("access", "delay")
        assert [r["mos"] for r in found] == sorted(r["mos"] for r in found)

    def test_nobody_is_told_in_a_sentence(self, page):
        assert page.get("/api/subscriber?name=nobody").said == {
            "error": "Nothing is known of this subscriber in this range. Choose a longer one, or fewer filters."
        }


@pytest.fixture(scope="module")
def effects(page):
    found = page.ask("change")
    assert found["at_ms"] == END_MS - 24 * HOUR_MS
    return {e["value"]: e for e in found["effects"] if e["dimension"] == "app"}


class TestChange:
    """The planted change is found at its mark, and applications that it did not touch are not."""

    def test_the_application_that_got_better_is_found(self, effects):
        assert effects["youtube"]["found"]
        assert effects["youtube"]["low"] < 0.6 < effects["youtube"]["high"]

    def test_the_others_are_not(self, effects):
        assert [name for name, e in effects.items() if e["found"]] == ["youtube"]

    def test_without_a_mark_there_is_a_list_to_choose_from(self, page):
        found = page.ask("change", at=END_MS - 12 * HOUR_MS)

        assert found["at_ms"] == END_MS - 12 * HOUR_MS
        assert [m["text"] for m in found["marks"]] == ["New cache for <b>YouTube</b>"]


class TestPlaces:
    """Edges of the map have load, delay, loss and score as the files have them."""

    def test_the_way_from_the_bad_gnb(self, page, folder):
        mine = [r for r in facts(folder) if r["gnb"] == BAD_GNB]

        (edge,) = [e for e in page.ask("places")["access"] if e["from"] == BAD_GNB]

        assert edge["to"] == "upf1"
        assert edge["bytes"] == sum(r["ul_bytes"] + r["dl_bytes"] for r in mine)
        for column, name in (("score", "mos"), ("rtt_access_ms", "rtt_access_ms"), ("loss_dl", "loss_dl")):
            want = sum(r[f"{name}_sum"] for r in mine) / sum(r[f"{name}_n"] for r in mine)
            assert edge[column] == pytest.approx(want, rel=1e-5), column

    def test_data_networks_are_behind_functions(self, page):
        assert {e["to"] for e in page.ask("places")["core"]} == {"internet", HOSTILE_DNN}


class TestHealth:
    """Functions stand with their last heartbeat, and gaps are told."""

    def test_of_each_function(self, page):
        found = {f["nf"]: f for f in page.ask("health")["functions"]}

        assert found["upf1"]["t_ms"] == END_MS - 1000
        assert (found["upf2"]["dropped_frames"], found["upf2"]["gaps"], found["upf2"]["missing"]) == (812, 1, 3)
        assert (found["upf1"]["flows"], found["upf1"]["flow_room"], found["upf1"]["gaps"]) == (410_000, 1_048_576, 0)

    def test_gaps(self, page):
        (gap,) = page.ask("health")["gaps"]

        assert (gap["nf"], gap["why"], gap["messages"]) == ("upf2", "lost", 3)


ANSWERS = ("overview", "worst", "subscriber", "change", "places", "health")


class TestFolder:
    """A folder without files is no error; a parameter that means nothing is one sentence."""

    def test_an_empty_one_has_nothing_newest(self, tmp_path):
        with page_over(tmp_path) as page:
            assert page.ask("overview")["newest_ms"] is None
            assert page.ask("worst")["rows"] == []
            assert page.ask("health")["functions"] == []

    def test_what_is_not_closed_is_not_read(self, tmp_path):
        place = tmp_path / "minutes" / "date=2026-11-29" / "hour=07"
        place.mkdir(parents=True)
        (place / ".hour-0.parquet.tmp").write_bytes(b"PAR1 half a file")

        with page_over(tmp_path) as page:
            assert page.ask("worst", by="app")["rows"] == []

    def test_columns_that_older_files_have_not_are_read_of_newer_ones(self, tmp_path):
        """A collector that was updated writes more columns than the one before, into the same folder."""
        folder = web_folder.make(tmp_path, Shape(subscribers=66, hours=3))
        for table in ("facts", "minutes"):
            oldest = min((folder / table).rglob("*.parquet"))
            pq.write_table(pq.read_table(oldest).drop_columns(["slice"]), oldest)

        with page_over(folder) as page:
            assert {row["value"] for row in page.ask("worst", by="slice")["rows"]} == {"1", "1-00000a"}

    @pytest.mark.parametrize(
        "words",
        [{"by": "imsi"}, {"since": "yesterday"}, {"since": 2, "until": 1}, {"limit": 0}, {"limit": 10**6},
         {"since": "9" * 40}, {"app_class": "films"}, {"gnb": "x" * 256}],
        ids=str,
    )  # fmt: skip
    def test_what_means_nothing_is_refused(self, page, words):
        answer = page.get(f"/api/worst?{urlencode(words)}")

        assert answer.status == 400
        assert re.fullmatch(r"[A-Z][^\n]+\.", answer.said["error"])

    def test_text_of_a_filter_is_never_sql(self, page):
        assert page.ask("worst", by="app", gnb="' or 1=1 --")["rows"] == []


class TestDoor:
    """Only pages of this host are answered, and every answer says what a browser may do with it."""

    @pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/overview", "/nothing", "/api/worst?by=x"])
    def test_each_answer_has_a_policy_that_asks_no_other_host(self, page, path):
        policy = page.get(path).headers["content-security-policy"]

        assert "default-src 'none'" in policy
        assert set(re.findall(r"\S+-src ([^;]+)", policy)) == {"'none'", "'self'"}
        assert "require-trusted-types-for 'script'" in policy

    def test_a_name_that_was_bound_to_this_address_is_refused(self, page):
        assert page.get("/api/overview", host="rebound.example").status == 421

    @pytest.mark.parametrize(
        ("host", "known"),
        [("127.0.0.1:8080", True), ("localhost", True), ("LOCALHOST.:80", True), ("[::1]:8080", True),
         ("192.0.2.7", True), ("probe.example:443", True), ("evil.example", False), ("127.0.0.1.evil.example", False),
         ("", False), ("[evil]", False)],
    )  # fmt: skip
    def test_hosts(self, host, known):
        assert known_host(host, ["probe.example"]) is known

    def test_another_site_may_link_here_and_not_ask(self, page):
        assert page.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
        assert page.get("/api/worst", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_nothing_can_be_changed(self, page, method):
        assert page.get("/api/worst", method=method).status == 405

    def test_files_beside_the_page_are_not_served(self, page):
        assert page.get("/static/../app.py").status == 404
        assert page.get("/static/%2e%2e/app.py").status == 404


class TestToken:
    """With a token nobody reads without it; a browser shows it once."""

    @pytest.fixture
    def locked(self, folder) -> Iterator[Page]:
        with page_over(folder, tokens=Tokens(TOKEN, "snf_web", Attempts())) as found:
            yield found

    def test_without_it_there_is_a_form_and_no_answer(self, locked):
        assert locked.get("/").headers["location"] == "/login"
        assert b'name="token"' in locked.get("/login").body
        assert [locked.get(f"/api/{name}").status for name in ANSWERS] == [401] * len(ANSWERS)

    def test_the_header(self, locked):
        assert locked.get("/api/overview", Authorization=f"Bearer {TOKEN}").status == 200

    def test_a_wrong_one_is_counted_and_slows_the_next(self, locked):
        first = locked.get("/api/overview", Authorization="Bearer wrong-wrong-wrong-wrong")
        second = locked.get("/api/overview", Authorization=f"Bearer {TOKEN}")

        assert (first.status, second.status) == (401, 429)
        assert int(second.headers["retry-after"]) >= 1

    def test_the_form_gives_a_cookie_that_no_script_and_no_other_site_has(self, locked):
        answer = locked.get("/login", "POST", urlencode({"token": TOKEN}))
        cookie = answer.headers["set-cookie"]

        assert (answer.status, answer.headers["location"]) == (303, "/")
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie

        name = cookie.partition(";")[0]
        assert locked.get("/api/overview", Cookie=name).said["login"] is True
        assert locked.get("/logout", "POST", Cookie=name).status == 303
        assert locked.get("/api/overview", Cookie=name).status == 401

    def test_a_wrong_one_in_the_form_gives_none(self, locked):
        answer = locked.get("/login", "POST", urlencode({"token": "guess"}))

        assert "set-cookie" not in answer.headers
        assert b"This token is wrong." in locked.get(answer.headers["location"]).body

    def test_each_wrong_one_doubles_the_wait_of_its_address_alone(self):
        now = [100.0]
        attempts = Attempts(lambda: now[0])
        waits = []
        for _ in range(9):
            attempts.failed("192.0.2.1")
            waits.append(attempts.wait_s("192.0.2.1"))

        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert attempts.wait_s("192.0.2.2") == 0
        assert attempts.wrong == 9
        attempts.failed("2001:db8::1")
        assert attempts.wait_s("2001:db8::2") > 0  # of the same /64
        now[0] += 1000
        attempts.failed("192.0.2.1")
        assert attempts.wait_s("192.0.2.1") == 1

    def test_addresses_that_are_remembered_are_bounded(self):
        attempts = Attempts(lambda: 1.0)
        for n in range(5000):
            attempts.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")

        assert attempts.wait_s("10.0.0.0") == 0
        assert attempts.wait_s("10.0.19.135") > 0


class TestStart:
    """A start that cannot be is one sentence, and the status 2."""

    def refused(self, *words, **more):
        with pytest.raises(SnfError) as told:
            serve(*words, ready=lambda _: None, **more)
        return str(told.value)

    def test_no_folder(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["web", "--folder", str(tmp_path / "none")])

        assert ended.value.code == 2
        assert (
            capsys.readouterr().err
            == f"snf: {tmp_path / 'none'} is no folder. Give that of snf collect: --folder FOLDER.\n"
        )

    def test_an_address_of_others_needs_a_token(self, tmp_path):
        assert "--token-file" in self.refused(tmp_path, "0.0.0.0", 0, None, ())

    def test_a_token_that_others_can_read(self, tmp_path):
        file = tmp_path / "token"
        file.write_text(TOKEN)
        file.chmod(0o644)

        assert self.refused(tmp_path, "127.0.0.1", 0, file, ()).startswith(f"Others can read {file}.")

    @pytest.mark.parametrize("text", ["", "short", "two words and a space in it", "schlüssel-schlüssel"])
    def test_a_file_without_a_token(self, tmp_path, text):
        file = tmp_path / "token"
        file.write_text(text)
        file.chmod(0o600)

        assert self.refused(tmp_path, "127.0.0.1", 0, file, ()).startswith(f"{file} has no token.")

    def test_a_port_that_is_taken(self, tmp_path):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()

            said = self.refused(tmp_path, "127.0.0.1", other.getsockname()[1], None, ())

        assert said.startswith("The page cannot listen on 127.0.0.1 port")

    def test_a_name_is_no_address(self, tmp_path):
        assert self.refused(tmp_path, "probe.example", 80, None, ()).startswith("probe.example is no address.")


class TestStatic:
    """The page's own files put text in as text, and are small."""

    def test_none_makes_markup_of_text(self):
        mine = list(STATIC.glob("*.js"))
        markup = re.compile(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\"on"
        )

        assert len(mine) >= 8
        assert [p.name for p in mine if markup.search(p.read_text())] == []

    def test_the_library_is_the_published_one_with_its_licence(self):
        folder = STATIC / "uplot"

        assert "https://github.com/leeoniya/uPlot (v1.6.32)" in (folder / "uPlot.iife.min.js").read_text()[:300]
        assert "MIT License" in (folder / "LICENSE").read_text()

    def test_all_of_them_leave_room_for_the_rows(self):
        assert sum(p.stat().st_size for p in STATIC.rglob("*") if p.is_file()) < 150_000
