"""Captures beside a real UPF: the volumes of its UEs to the byte, whatever the captures are said to hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from feed.records import RecordBatch
from mgmt.cli.replay import applications
from nf.privacy import Pseudonymiser
from nf.settings import Role
from tests.capture.files import SHARED
from tests.replay.conftest import KEY, Replayed

FOLDER = SHARED / "realupf"
TOLD = {"n3": Role.N3, "n6": Role.N6, "n4": Role.N4}
ARRANGEMENTS = {
    "roles are told": (("n3", "n6", "n4"), TOLD.get),
    "nothing is told": (("n3", "n6", "n4"), lambda name: None),
    "without N6": (("n3", "n4"), TOLD.get),
}
VOLUMES = {"ul": "ul_bytes", "dl": "dl_bytes", "ulp": "ul_packets", "dlp": "dl_packets"}


def truth(kind: str) -> dict[str, dict[str, int]]:
    """Return what each UE's own device counted, by IMSI."""
    told: dict[str, Any] = json.loads((FOLDER / f"{kind}-truth.json").read_text())
    return {
        told["sessions"][ue]["imsi"]: {name: device[name] for name in VOLUMES} for ue, device in told["device"].items()
    }


def volumes(batches: list[RecordBatch]) -> dict[str, Counter[str]]:
    """Return the sums of the records by subscriber."""
    sums: dict[str, Counter[str]] = {}
    for batch in batches:
        for row, who in enumerate(batch.columns["subscriber"]):
            sums.setdefault(who, Counter()).update({n: int(batch.columns[c][row]) for n, c in VOLUMES.items()})
    return sums


@pytest.fixture(params=["dev", "nat"], scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """UE addresses are routed on N6 (dev), or translated there (nat)."""
    return str(request.param)


@pytest.fixture(params=ARRANGEMENTS, scope="module")
def replayed(request: pytest.FixtureRequest, kind: str, replay: Callable[..., Replayed]) -> Replayed:
    names, role_of = ARRANGEMENTS[request.param]
    files = [FOLDER / f"{kind}-{name}.pcapng.gz" for name in names]
    return replay(*files, roles=[role_of(name) for name in names])


class TestVolumes:
    """One result: that of the UEs' own devices."""

    def test_each_ue_has_what_its_device_counted_and_nobody_else_has_anything(self, kind, replayed):
        pseudonyms = Pseudonymiser(KEY, 1)
        expected = {pseudonyms.name(imsi): counted for imsi, counted in truth(kind).items()}

        assert volumes(replayed.batches) == expected


class TestSummary:
    """The summary for a person counts each packet once, however many captures hold it."""

    @pytest.mark.parametrize("names", [("n3", "n6", "n4"), ("n3", "n4")], ids=" ".join)
    def test_it_has_the_bytes_of_the_devices_and_what_is_nobodys(self, names, replay):
        done = replay(*[FOLDER / f"dev-{name}.pcapng.gz" for name in names], roles=[TOLD[name] for name in names])
        shown = sum(octets for _, octets in applications(done.result).values())
        nobodys = sum(n for name, n in done.result.outside.items() if name.endswith("_octets"))

        assert shown - nobodys == sum(ue["ul"] + ue["dl"] for ue in truth("dev").values())


class TestTranslation:
    """An N6 that carries the same under another address is recognised, and what it carries is told by name."""

    def test_it_is_said_where_it_is_and_not_where_it_is_not(self, kind, replay):
        files = [FOLDER / f"{kind}-{name}.pcapng.gz" for name in TOLD]
        counted = replay(*files, roles=list(TOLD.values())).result.outside

        assert (counted["n6_translated_octets"] > 1_000_000) == (kind == "nat")
