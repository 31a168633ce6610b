"""The signature file, and the operator's additions to it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feed.records import APP_CLASSES
from nf.apps.basis import CONFIDENCE, Basis
from nf.apps.entries import files, read
from nf.apps.signatures import TCP, UDP, Signatures
from nf.errors import BadSettings, BadSignatures
from nf.settings import Application
from tests.naming.capture_payloads import expected_flows

GOOD = """
[Wide]
class = "web"
domains = ["example.com"]
[Narrow]
class = "video"
domains = ["tv.example.com", "example.net"]
prefixes = ["192.0.2.0/24", "2001:db8::/32"]
ports = ["udp/5000-5002", "tcp/25"]
behaviour = ["rtsp"]
[Inside]
class = "gaming"
prefixes = ["192.0.2.128/25"]
"""


@pytest.fixture
def small(tmp_path: Path) -> Signatures:
    return load(tmp_path, GOOD)


def load(folder: Path, text: str, *extra: Application, before: Signatures | None = None) -> Signatures:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return Signatures.load(extra, path, before=before)


class TestShipped:
    """The file that comes with the function."""

    SHIPPED = Signatures.load()

    def test_it_has_more_than_250_applications_in_12_classes_and_each_class_has_many(self) -> None:
        classes = [self.SHIPPED.app_class(self.SHIPPED.number(n)) for n in self.SHIPPED.names if self.SHIPPED.number(n)]

        assert len(classes) > 250
        assert len(APP_CLASSES[:-1]) == 12
        for app_class in APP_CLASSES[:-1]:
            assert classes.count(app_class) >= 20, app_class

    def test_a_domain_below_one_of_the_same_application_is_not_listed_again(self) -> None:
        domains = self.SHIPPED.suffixes
        below = [d for d in domains if self.SHIPPED.match(d.partition(".")[2]) == domains[d]]

        assert below == []

    def test_each_file_holds_its_class(self) -> None:
        assert {entry.app_class == file.stem for file in files() for entry in read(file).values()} == {True}

    def test_no_prefix_holds_addresses_that_are_nobodys(self) -> None:
        """Private, documentation, multicast and the like (IANA special-purpose address registries)."""
        networks = [p for path in files() for entry in read(path).values() for p in entry.prefixes]

        assert len(networks) > 100
        assert [p for p in networks if not p.is_global or p.is_multicast] == []

    def test_ports_that_carry_everything_are_nobodys(self) -> None:
        everything = [80, 443, 8080, 8443, 8000, 53]

        assert [p for p in everything for proto in (TCP, UDP) if self.SHIPPED.match_port(proto, p)] == []

    def test_names_of_facts_in_the_captures_are_known(self) -> None:
        facts = {r["truth_app"] for r in expected_flows() if r["truth_basis"] in ("sni", "http_host", "dns_answer")}

        assert facts
        assert {name for name in facts if not self.SHIPPED.number(name)} == set()

    def test_class_of_is_indexed_by_application(self) -> None:
        youtube = self.SHIPPED.match("rr1---sn-abc.googlevideo.com")

        assert self.SHIPPED.name(youtube) == "YouTube"
        assert APP_CLASSES[self.SHIPPED.class_of[youtube]] == "video"
        assert self.SHIPPED.class_of.dtype == np.uint8
        assert len(self.SHIPPED.class_of) == len(self.SHIPPED.names)

    def test_application_0_is_none(self) -> None:
        assert self.SHIPPED.name(0) == ""
        assert self.SHIPPED.app_class(0) == "unknown"


class TestMatch:
    """The longest suffix on a label boundary wins; so does the longest prefix."""

    @pytest.mark.parametrize(
        ("name", "app"),
        [
            ("example.com", "Wide"),
            ("www.example.com", "Wide"),
            ("WWW.EXAMPLE.COM.", "Wide"),
            ("a.tv.example.com", "Narrow"),
            ("example.net:8080", "Narrow"),
            ("www.example.com.fritz.box", "Wide"),
            ("notexample.com", ""),
            ("com", ""),
            ("", ""),
            (".", ""),
            ("example.com.evil.org", ""),
            ("[2001:db8::1]:80", ""),
            ("a" * 300 + ".example.com", "Wide"),
        ],
    )
    def test_names(self, small: Signatures, name: str, app: str) -> None:
        assert small.name(small.match(name)) == app

    @pytest.mark.parametrize(
        ("address", "app"),
        [
            ("192.0.2.1", "Narrow"),
            ("192.0.2.200", "Inside"),
            ("192.0.3.1", ""),
            ("2001:db8:1::1", "Narrow"),
            ("2001:db9::1", ""),
            ("not an address", ""),
        ],
    )
    def test_addresses(self, small: Signatures, address: str, app: str) -> None:
        assert small.name(small.match_address(address)) == app

    @pytest.mark.parametrize(
        ("proto", "port", "app"), [(UDP, 5002, "Narrow"), (TCP, 5002, ""), (TCP, 25, "Narrow"), (UDP, 5003, "")]
    )
    def test_ports(self, small: Signatures, proto: int, port: int, app: str) -> None:
        assert small.name(small.match_port(proto, port)) == app

    def test_behaviour(self, small: Signatures) -> None:
        assert small.name(small.match_behaviour("rtsp")) == "Narrow"
        assert small.match_behaviour("sip") == 0


class TestOperator:
    """The operator's configuration is on top of the file, and numbers stay."""

    def test_an_addition_is_found_and_known_by_name(self, tmp_path: Path) -> None:
        s = load(tmp_path, GOOD, Application("Intranet", "web", ("intra.example.org",)))

        assert s.match("x.intra.example.org") == s.number("Intranet") != 0
        assert s.app_class(s.number("Intranet")) == "web"

    def test_a_domain_is_taken_from_the_application_of_the_file(self, tmp_path: Path) -> None:
        s = load(tmp_path, GOOD, Application("Mine", "voice", ("tv.example.com",)))

        assert s.name(s.match("tv.example.com")) == "Mine"
        assert s.name(s.match("example.net")) == "Narrow"

    def test_an_override_changes_class_and_domains_and_keeps_the_addresses(self, tmp_path: Path) -> None:
        s = load(tmp_path, GOOD, Application("Narrow", "download", ("new.example",)))

        assert s.app_class(s.match("new.example")) == "download"
        assert s.name(s.match("example.net")) == ""
        assert s.name(s.match_address("192.0.2.1")) == "Narrow"

    def test_addresses_and_ports_of_its_own(self, tmp_path: Path) -> None:
        mine = Application("Mine", "voice", prefixes=("192.0.2.0/24", "198.51.100.0/24"), ports=("udp/5001", "tcp/9"))
        s = load(tmp_path, GOOD, mine)

        assert s.name(s.match_address("192.0.2.1")) == s.name(s.match_address("198.51.100.9")) == "Mine"
        assert s.name(s.match_address("192.0.2.200")) == "Inside"
        assert s.name(s.match_port(UDP, 5001)) == s.name(s.match_port(TCP, 9)) == "Mine"
        assert s.name(s.match_port(UDP, 5000)) == "Narrow"

    def test_an_override_with_addresses_has_those_alone(self, tmp_path: Path) -> None:
        s = load(tmp_path, GOOD, Application("Narrow", "video", prefixes=("198.51.100.0/24",)))

        assert s.name(s.match_address("192.0.2.1")) == ""
        assert s.name(s.match_address("198.51.100.1")) == "Narrow"
        assert s.name(s.match_port(UDP, 5000)) == "Narrow"

    def test_prefixes_and_ports_are_taken_from_the_application_of_the_file(self, tmp_path: Path) -> None:
        s = load(tmp_path, GOOD, Application("Mine", "voice", (), ("192.0.2.128/25",), ("tcp/25",)))

        assert s.name(s.match_address("192.0.2.200")) == "Mine"
        assert s.name(s.match_address("192.0.2.1")) == "Narrow"
        assert s.name(s.match_port(TCP, 25)) == "Mine"
        assert s.name(s.match_port(UDP, 5000)) == "Narrow"

    def test_a_ground_is_worth_no_more_than_the_operator_says(self, tmp_path: Path) -> None:
        s = load(tmp_path, GOOD, Application("Mine", "web", ("m.example",), confidence=85))
        apps = np.array([s.number("Mine"), s.number("Mine"), s.number("Wide")], np.uint16)
        bases = np.array([Basis.SNI, Basis.ADDRESS, Basis.SNI], np.uint8)

        assert s.trust(apps, bases).tolist() == [85, min(85, CONFIDENCE[Basis.ADDRESS]), CONFIDENCE[Basis.SNI]]

    def test_numbers_do_not_change_when_applications_come_and_go(self, tmp_path: Path) -> None:
        first, other = Application("Comes", "web", ("comes.example",)), Application("Other", "web", ("o.example",))
        before = load(tmp_path, GOOD, first)
        without = load(tmp_path, GOOD, before=before)
        after = load(tmp_path, GOOD, other, replace(first, domains=("c.example",)), before=without)

        assert without.number("Comes") == 0
        assert after.match("c.example") == before.match("comes.example")
        assert without.name(before.number("Comes")) == "Comes"  # flows may still carry it
        assert after.number("Other") > before.number("Comes")

    def test_numbers_are_of_the_value_and_of_no_process(self, tmp_path: Path) -> None:
        load(tmp_path, GOOD, Application("First", "web", ("first.example",)))
        signatures = load(tmp_path, GOOD, Application("Second", "web", ("second.example",)))
        code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).number('Second'))"

        done = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps(signatures), capture_output=True, check=False
        )

        assert done.stderr == b""
        assert int(done.stdout) == signatures.number("Second") > 0
        assert "First" not in signatures.names

    @pytest.mark.parametrize(
        "extra",
        [
            Application("Bad", "no-such-class", ("a.example",)),
            Application("Bad", "web", ("not a domain",)),
            Application("Bad", "web", ("com",)),
            Application("", "web", ("a.example",)),
            Application("Bad", "web", ("cloudfront.net",)),
            Application("Bad", "web", (), ("192.0.2.1/24",)),
            Application("Bad", "web", (), (), ("udp/70000",)),
            Application("Bad", "web", confidence=101),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, tmp_path: Path, extra: Application) -> None:
        with pytest.raises(BadSettings, match="configuration: ") as caught:
            load(tmp_path, GOOD, extra)

        assert caught.value.path == f"/snf-applications:applications/application[name='{extra.name}']"

    def test_two_that_claim_one_domain_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadSettings, match=r"a\.example belongs to A and B"):
            load(tmp_path, GOOD, Application("A", "web", ("a.example",)), Application("B", "web", ("a.example",)))

    def test_too_many_are_refused_and_leave_nothing_behind(self, tmp_path: Path) -> None:
        many = [Application(f"Many{i}", "web", (f"m{i}.example",)) for i in range(5000)]

        with pytest.raises(BadSignatures, match="4095 is the most"):
            load(tmp_path, GOOD, *many)

        assert load(tmp_path, GOOD).number("Wide")


class TestWrongFiles:
    """A wrong file names itself, the entry, and what to do."""

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("[A", "mine.toml is not TOML"),
            ("[A]\n", "A has the class None"),
            ('[A]\nclass = "unknown"\n', "A has the class 'unknown'"),
            ('[A]\nclass = "web"\ndomain = ["a.example"]\n', "A is no table with the keys"),
            ('A = "web"\n', "A is no table with the keys"),
            ('[A]\nclass = "web"\ndomains = "a.example"\n', "A has domains that are not a list"),
            ('[A]\nclass = "web"\ndomains = ["*.example.com"]\n', r"A has the domain '\*\.example\.com'"),
            ('[A]\nclass = "web"\nprefixes = ["192.0.2.1/24"]\n', "A has a prefix that is none"),
            ('[A]\nclass = "web"\nports = ["udp/0"]\n', "A has the port 'udp/0'"),
            ('[A]\nclass = "web"\nports = ["udp/1-65535"]\n', "A has the port"),
            ('[A]\nclass = "web"\nports = ["sctp/5"]\n', "A has the port"),
            ('[A]\nclass = "web"\nbehaviour = ["weird"]\n', "A has the behaviour 'weird'"),
            ('[A]\nclass = "web"\nconfidence = 0\n', "A has the confidence 0"),
            ('[A]\nclass = "web"\ndomains = ["co.uk"]\n', r"A has the domain co\.uk, under which many"),
            ('[A]\nclass = "web"\nprefixes = ["0.0.0.0/0"]\n', "A has the prefix 0.0.0.0/0, too wide"),
            ('[A]\nclass = "web"\n[B]\nclass = "no"\n', r"mine\.toml:3: B has the class 'no'"),
            (
                '[A]\nclass = "web"\ndomains = ["a.b"]\n\n[B]\nclass = "web"\nports = ["udp/1"]\ndomains = ["a.b"]\n',
                r"mine\.toml:8: a\.b belongs to A and B",
            ),
            (
                '[A]\nclass = "web"\ndomains = ["a.b"]\n[B]\nclass = "web"\ndomains = ["a.b"]\n',
                "a.b belongs to A and B",
            ),
            ('[A]\nclass = "web"\nports = ["udp/5"]\n[B]\nclass = "web"\nports = ["udp/4-6"]\n', "belongs to A and B"),
        ],
    )
    def test_it_says_where(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(BadSignatures, match=says) as caught:
            load(tmp_path, text)

        assert str(caught.value).startswith("mine.toml")
        assert caught.value.remedy

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadSignatures, match=r"none\.toml cannot be read"):
            Signatures.load((), tmp_path / "none.toml")

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")

        with pytest.raises(BadSignatures, match="not TOML"):
            Signatures.load((), tmp_path / "mine.toml")
