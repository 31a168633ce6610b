"""Names and applications over the development captures, with what the kernel hands over of each flow."""

from __future__ import annotations

from collections import Counter, defaultdict
from urllib.parse import urlsplit

import pytest

from nf.apps.signatures import Signatures
from nf.naming.payloads import Verdict
from tests.naming.capture_payloads import Flow, expected_flows, flow_of, payloads, verdicts

FACTS = ("sni", "http_host", "dns_answer", "dns_query")  # truth_basis values that the packets themselves prove


class Seen:
    """All captures with a name or a claim, fed once."""

    def __init__(self) -> None:
        self.signatures = Signatures.load()
        self.rows = [r for r in expected_flows() if r["sni"] or r["http_host"] or r["dns"] or r["truth_basis"]]
        self.counters: Counter[str] = Counter()
        self.found: dict[str, dict[Flow, Verdict]] = defaultdict(dict)
        for file in dict.fromkeys(r["file"] for r in self.rows):
            self.found[file], namer = verdicts(file, self.signatures)
            self.counters += namer.counters
            for flow, p in payloads(file):  # the rest of the table, as the pipeline asks for it at the end
                if flow not in self.found[file] or not self.found[file][flow].app:
                    late = namer.by_server(p.flow_id, p.session, p.src, p.dst, p.at_s)
                    if late and late.app:
                        self.found[file][flow] = late

    def name(self, row: dict[str, str]) -> str:
        verdict = self.found[row["file"]].get(flow_of(row))
        return verdict.name if verdict else ""

    def app(self, row: dict[str, str]) -> str:
        verdict = self.found[row["file"]].get(flow_of(row))
        return self.signatures.name(verdict.app) if verdict else ""


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


class TestNames:
    """We read the names that tshark read of a flow."""

    def test_every_server_name(self, seen: Seen) -> None:
        rows = [r for r in seen.rows if r["sni"]]
        wrong = [(r["file"], r["sni"], seen.name(r)) for r in rows if seen.name(r) != r["sni"].lower()]
        print(f"server names: {len(rows) - len(wrong)} of {len(rows)}; {dict(seen.counters)}")

        assert len(rows) > 400
        assert wrong == []

    def test_every_http_host(self, seen: Seen) -> None:
        rows = [r for r in seen.rows if r["http_host"] and not r["sni"]]
        due = {r["http_host"]: urlsplit(f"//{r['http_host']}").hostname for r in rows}  # the host without the port
        wrong = [(r["file"], r["http_host"], seen.name(r)) for r in rows if seen.name(r) != due[r["http_host"]]]

        assert len(rows) > 50
        assert wrong == []

    def test_names_that_dns_flows_ask_for(self, seen: Seen) -> None:
        rows = [r for r in seen.rows if r["dns"] and r["category"] != "malformed" and "<" not in r["dns"]]
        right = [r for r in rows if seen.name(r) in r["dns"].lower().split("|")]
        print(f"DNS flows: {len(right)} of {len(rows)}")

        assert len(right) >= 0.95 * len(rows)


class TestApplications:
    """An application that the packets prove is found, and no other ever is."""

    @pytest.mark.parametrize("basis", FACTS)
    def test_none_is_wrong(self, seen: Seen, basis: str) -> None:
        rows = [r for r in seen.rows if r["truth_basis"] == basis and not r["truth_app"].startswith("not-")]

        assert rows
        assert [(r["truth_app"], seen.app(r)) for r in rows if seen.app(r) not in ("", r["truth_app"])] == []

    def test_what_must_never_be_claimed_is_not(self, seen: Seen) -> None:
        never = [r for r in seen.rows if r["truth_app"].startswith("not-")]

        assert [r for r in never if seen.app(r) == r["truth_app"].removeprefix("not-")] == []

    def test_nearly_all_are_found(self, seen: Seen) -> None:
        rows = [r for r in seen.rows if r["truth_basis"] in FACTS]
        found = [r for r in rows if seen.app(r) == r["truth_app"]]
        print(f"applications by fact: {len(found)} of {len(rows)}")

        # flows whose packets carry no payload at all are not among those fed here
        fed = [r for r in rows if any(flow == flow_of(r) for flow, _ in payloads(r["file"]))]
        assert [r for r in fed if r not in found] == []
        assert len(fed) >= 0.9 * len(rows)

    def test_calls_are_real_time_classes(self, seen: Seen) -> None:
        calls = ("WhatsAppCall", "GoogleCall", "Skype_TeamsCall", "FacebookVoip", "Zoom", "SIP", "Discord")
        rows = [
            r for r in seen.rows if r["truth_app"] in calls and r["truth_basis"] not in FACTS and r["proto"] == "17"
        ]
        classes = Counter(
            seen.signatures.app_class(seen.signatures.number(seen.app(r))) if seen.app(r) else "none" for r in rows
        )
        print(f"calls by peer's label, as classes: {dict(classes)}")

        assert classes["conferencing"] + classes["voice"] + classes["messaging"] >= 0.6 * len(rows)
