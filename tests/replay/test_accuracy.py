"""Facts that real captures prove of their flows are found, in bare captures and in their subscribers' tunnels."""

from __future__ import annotations

import pytest

from bench.accuracy import FACTS, Found, baseline, flow_of, found, strays
from nf.kernel.dataplane import DataPlane

ROWS = baseline()
FILES = list(dict.fromkeys(row["file"] for row in ROWS))
NAMED = [row for row in ROWS if row["sni_truth"]]
OTHERWISE = (
    "malformed",
    "core4g",
    "core5g",
    "gtpu",
)  # a damaged packet cannot be wrapped; the others have tunnels already
PROVED = [row for row in ROWS if row["truth_basis"] in FACTS]


@pytest.fixture(scope="module")
def plain(plane: DataPlane) -> Found:
    return found(FILES, tunnels=False, plane=plane)


@pytest.fixture(scope="module")
def tunnelled(plane: DataPlane) -> Found:
    return found(FILES, tunnels=True, plane=plane)


@pytest.fixture(params=["plain", "tunnelled"])
def seen(request: pytest.FixtureRequest) -> Found:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


class TestHostNames:
    """Server names that tshark read (peer_baseline.csv)."""

    def test_all_are_found(self, seen: Found) -> None:
        missed = [(r["file"], r["sni_truth"]) for r in NAMED if seen.best(r)["name"].lower() != r["sni_truth"].lower()]

        assert len(NAMED) > 400
        assert missed == []


class TestApplications:
    """Applications that a name in the packets, or a DNS answer of the same capture, proves."""

    def test_none_is_wrong(self, seen: Found) -> None:
        said = [(r, seen.best(r)["app"]) for r in PROVED]

        assert [
            app for r, app in said if not r["truth_app"].startswith("not-") and app not in ("", r["truth_app"])
        ] == []
        assert [app for r, app in said if r["truth_app"] == f"not-{app}"] == []

    @pytest.mark.parametrize("basis", ["sni", "http_host", "dns_query"])
    def test_what_the_flow_itself_says_is_found(self, seen: Found, basis: str) -> None:
        rows = [r for r in PROVED if r["truth_basis"] == basis]

        assert rows
        assert [flow_of(r) for r in rows if seen.best(r)["app"] != r["truth_app"]] == []


class TestTunnels:
    """A capture in GTP-U says what it says without, and each flow is of the subscriber whose tunnel it came in."""

    def test_names_are_the_same(self, plain: Found, tunnelled: Found) -> None:
        differ = [
            (r["file"], flow_of(r), plain.best(r)["app"], tunnelled.best(r)["app"])
            for r in ROWS
            if r["category"] not in OTHERWISE
            and (plain.best(r)["name"], plain.best(r)["app"]) != (tunnelled.best(r)["name"], tunnelled.best(r)["app"])
        ]

        assert differ == []

    def test_each_flow_is_of_its_subscriber(self, tunnelled: Found) -> None:
        wrong, total = strays(tunnelled, ROWS)

        assert total > 1300
        assert wrong == []
