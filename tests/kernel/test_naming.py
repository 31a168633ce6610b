"""Names of flows from kernel and payloads together, as the live function joins them (economy)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.book import FlowBook
from nf.naming.explain import Ground, Question, explain, find
from nf.naming.readers import Here
from nf.naming.stage import Naming
from nf.naming.workers import Workers
from nf.settings import Application
from tests.kernel.hellos_and_answers import named_hello, over_tcp, quic, response, to_ue
from tests.kernel.packets import SERVER, UE, ether
from tests.kernel.rig import ROLES, Rig

OPAQUE = bytes(range(200, 256)) * 3  # no protocol that anybody knows
NETFLIX_ADDRESS = "45.57.1.2"  # of nf/apps/known/video.toml: this application alone is served there


def example(*domains: str, before: Signatures | None = None) -> Signatures:
    return Signatures.load([Application(name="Example Video", app_class="video", domains=domains)], before=before)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with contextlib.closing(Workers(2, example("example.org"), 0.0)) as two:
        yield two


@pytest.fixture(params=["in this process", "in two others"])
def naming(rig: Rig, request: pytest.FixtureRequest, workers: Workers) -> Iterator[Naming]:
    """Return the reader of a data plane in economy, for which www.example.org is a video service."""
    signatures = example("example.org")
    reading = Here(signatures, 0.0) if request.param == "in this process" else workers
    rig.plane.economy = True
    yield Naming(rig.plane, signatures, FlowBook(), reading)
    rig.plane.set_suffixes({})
    rig.plane.economy = False


def tcp(payload: bytes, seq: int = 1, dport: int = 8899) -> bytes:
    return ether(IP(src=UE, dst=SERVER) / TCP(sport=40001, dport=dport, flags="PA", seq=seq) / Raw(payload))


def send(rig: Rig, frame: bytes) -> None:
    """Run a frame and leave the rings to the reader."""
    rig.now_ns += 1000
    rig.plane.run(frame, rig.now_ns, ROLES["n6"])
    rig._moved()


def latest(naming: Naming) -> tuple[str, Basis, str]:
    """Return (application, ground, host name) of the flow that began last."""
    for ask in (naming.drain, naming.name_by_server):
        ask()
        while naming.reading.status()["waiting"]:
            naming.drain()
    row = naming.book.rows[-1]
    return (
        naming.signatures.name(int(row["app"])),
        Basis(int(row["basis"])),
        naming.book.host(int(row["number"])),
    )


class TestGrounds:
    """The best name of a flow stands, whichever of kernel and user space found it."""

    def test_a_dns_answer_with_the_flow_in_one_reading(self, rig: Rig, naming: Naming) -> None:
        send(rig, to_ue(response(("www.example.org.", "A", SERVER))))
        send(rig, quic())

        assert latest(naming) == ("Example Video", Basis.DNS_ANSWER, "www.example.org")

    def test_payloads_that_say_nothing_leave_it(self, rig: Rig, naming: Naming) -> None:
        send(rig, to_ue(response(("www.example.org.", "A", SERVER))))
        for n in range(4):
            send(rig, tcp(OPAQUE, 1 + n * len(OPAQUE)))
            told = latest(naming)

        assert told == ("Example Video", Basis.DNS_ANSWER, "www.example.org")
        apps = rig.plane.read_flows()[1]["app"].tolist()
        assert {naming.signatures.name(app) for app in apps} == {"Example Video"}

    def test_a_client_hello_beats_it(self, rig: Rig, naming: Naming) -> None:
        send(rig, to_ue(response(("www.example.org.", "A", SERVER))))
        send(rig, over_tcp(named_hello(b"www.netflix.com")))

        assert latest(naming) == ("Netflix", Basis.SNI, "www.netflix.com")

    def test_a_host_name_of_http_beats_it(self, rig: Rig, naming: Naming) -> None:
        send(rig, to_ue(response(("www.example.org.", "A", SERVER))))
        send(rig, tcp(b"GET / HTTP/1.1\r\nHost: www.netflix.com\r\n\r\n", dport=80))

        assert latest(naming) == ("Netflix", Basis.HTTP_HOST, "www.netflix.com")

    def test_the_owner_of_the_address_when_nobody_owns_the_name(self, rig: Rig, naming: Naming) -> None:
        send(rig, to_ue(response(("a.b.test.", "A", NETFLIX_ADDRESS), name="a.b.test.")))
        send(rig, quic(NETFLIX_ADDRESS))

        assert latest(naming) == ("Netflix", Basis.ADDRESS, "a.b.test")


class TestWhatNoSuffixSays:
    """Brands in other countries and labels in an owner's network are matched here; the kernel hears of them."""

    @pytest.mark.parametrize(
        ("name", "app"),
        [
            ("www.amazon.co.jp", "Amazon"),
            ("instagram.fmuc3-1.fna.fbcdn.net", "Instagram"),
            ("teams.events.data.microsoft.com", "Teams"),
            ("video.fmuc3-1.fna.fbcdn.net", "Facebook"),
        ],
    )
    def test_the_flow_has_it_with_its_next_packet(self, rig: Rig, naming: Naming, name: str, app: str) -> None:
        send(rig, tcp(named_hello(name.encode())))

        assert latest(naming) == (app, Basis.SNI, name)
        assert len(rig.plane.read_payloads()) == 0
        send(rig, tcp(OPAQUE, 1000))
        assert rig.plane.read_flows()[1]["app"].tolist() == [naming.signatures.number(app)]

    def test_a_flow_that_an_answer_names(self, rig: Rig, naming: Naming) -> None:
        send(rig, to_ue(response(("www.amazon.co.jp.", "A", SERVER), name="www.amazon.co.jp.")))
        send(rig, quic())

        assert latest(naming) == ("Amazon", Basis.DNS_ANSWER, "www.amazon.co.jp")


class TestWhatAGroundRestsOn:
    """A ground is told with what it rests on, or not at all."""

    @pytest.mark.parametrize("payload", [OPAQUE * 8, b"\xc0" + OPAQUE * 8, bytes(1200), b"\xc3\0\0\0\1" + OPAQUE * 8])
    def test_bytes_that_are_no_quic(self, rig: Rig, naming: Naming, payload: bytes) -> None:
        send(rig, ether(IP(src=UE, dst=SERVER) / UDP(sport=50001, dport=443) / Raw(payload)))

        assert latest(naming) == ("", Basis.NONE, "")
        number = int(naming.book.rows["number"][-1])
        grounds = explain(naming.book, naming.inference, naming.signatures, number, 0.0)
        assert {Basis.SNI.text, Basis.HTTP_HOST.text} & {g.ground for g in grounds} == set()
        assert not any(g.decides for g in grounds)

    @pytest.mark.parametrize("basis", [Basis.SNI, Basis.HTTP_HOST, Basis.DNS_ANSWER])
    def test_a_name_that_is_empty_is_no_ground(self, rig: Rig, naming: Naming, basis: Basis) -> None:
        send(rig, tcp(OPAQUE))
        latest(naming)
        number = naming.book.rows["number"][-1:]
        naming.book.name(number, np.array([0], np.uint16), np.array([int(basis)], np.uint8), [""])

        assert naming.book.apps(number)[1].tolist() == [Basis.NONE]


class TestLearnedServers:
    """A flow without a name goes by what the named flows of others said of its server."""

    ELSEWHERE = "198.51.100.7"

    def named(self, rig: Rig, ue: str, name: bytes = b"www.netflix.com", server: str = ELSEWHERE) -> None:
        layers = IP(src=ue, dst=server) / TCP(sport=40001, dport=443, flags="PA", seq=1) / Raw(named_hello(name))
        send(rig, ether(layers))

    def unnamed(self, rig: Rig, server: str = ELSEWHERE) -> None:
        send(rig, ether(IP(src=UE, dst=server) / TCP(sport=40009, dport=443, flags="PA", seq=1) / Raw(OPAQUE)))

    def test_of_two_other_subscribers(self, rig: Rig, naming: Naming) -> None:
        for ue in ("10.45.0.3", "10.45.0.4"):
            self.named(rig, ue)
        self.unnamed(rig)

        assert latest(naming) == ("Netflix", Basis.LEARNED, "")
        assert naming.book.rows["confidence"][-1] == 75

    def test_that_come_after_it(self, rig: Rig, naming: Naming) -> None:
        self.unnamed(rig)
        assert latest(naming) == ("", Basis.NONE, "")
        for ue in ("10.45.0.3", "10.45.0.4"):
            self.named(rig, ue)
        latest(naming)
        row = naming.book.rows[naming.book.rows["port"].max(axis=1) == 40009][0]
        assert (naming.signatures.name(int(row["app"])), int(row["basis"])) == ("Netflix", Basis.LEARNED)

    def test_until_the_server_proves_to_be_shared(self, rig: Rig, naming: Naming) -> None:
        for ue in ("10.45.0.3", "10.45.0.4"):
            self.named(rig, ue)
        self.unnamed(rig)
        assert latest(naming)[0] == "Netflix"
        self.named(rig, "10.45.0.5", b"www.example.org")
        latest(naming)

        row = naming.book.rows[naming.book.rows["port"].max(axis=1) == 40009][0]
        assert (int(row["app"]), int(row["basis"]), int(row["confidence"])) == (0, Basis.NONE, 0)

    def test_the_own_dns_answer_goes_before_it(self, rig: Rig, naming: Naming) -> None:
        for ue in ("10.45.0.3", "10.45.0.4"):
            self.named(rig, ue)
        send(rig, to_ue(response(("www.example.org.", "A", self.ELSEWHERE))))
        self.unnamed(rig)

        assert latest(naming) == ("Example Video", Basis.DNS_ANSWER, "www.example.org")

    @pytest.mark.parametrize(
        ("seconds", "expected"), [(1, ("Example Video", Basis.DNS_ANSWER)), (60, ("", Basis.NONE))]
    )
    def test_an_old_answer_for_a_shared_server_where_the_subscriber_said_something_else(
        self, rig: Rig, naming: Naming, seconds: int, expected: tuple[str, Basis]
    ) -> None:
        self.named(rig, "10.45.0.3")
        self.named(rig, UE)
        self.named(rig, "10.45.0.4", b"www.example.org")
        send(rig, to_ue(response(("www.example.org.", "A", self.ELSEWHERE))))
        latest(naming)
        rig.now_ns += seconds * 10**9
        send(rig, quic(self.ELSEWHERE))

        assert latest(naming)[:2] == expected

    def test_it_goes_before_the_owner_of_the_address_which_comes_back(self, rig: Rig, naming: Naming) -> None:
        for n in range(3, 7):  # so many that it is no lie
            self.named(rig, f"10.45.0.{n}", b"www.example.org", NETFLIX_ADDRESS)
            latest(naming)
        self.unnamed(rig, NETFLIX_ADDRESS)
        assert latest(naming) == ("Example Video", Basis.LEARNED, "")
        for n in range(7, 10):
            self.named(rig, f"10.45.0.{n}", b"www.instagram.com", NETFLIX_ADDRESS)
            latest(naming)

        row = naming.book.rows[naming.book.rows["port"].max(axis=1) == 40009][0]
        assert (naming.signatures.name(int(row["app"])), int(row["basis"])) == ("Netflix", Basis.ADDRESS)


class TestLies:
    """A name that its server contradicts is no application, until several clients say the same."""

    def says(self, rig: Rig, ue: str, name: bytes, server: str) -> None:
        layers = IP(src=ue, dst=server) / TCP(sport=40001, dport=443, flags="PA", seq=1) / Raw(named_hello(name))
        send(rig, ether(layers))

    def test_a_popular_host_at_the_address_of_another(self, rig: Rig, naming: Naming) -> None:
        self.says(rig, UE, b"web.whatsapp.com", NETFLIX_ADDRESS)

        assert latest(naming) == ("", Basis.CONTRADICTED, "web.whatsapp.com")
        assert naming.inference.counters["doubted_prefix"] == 1

    def test_the_owner_itself_is_believed(self, rig: Rig, naming: Naming) -> None:
        self.says(rig, UE, b"www.netflix.com", NETFLIX_ADDRESS)

        assert latest(naming)[:2] == ("Netflix", Basis.SNI)

    def test_a_name_of_nobody_claims_nothing(self, rig: Rig, naming: Naming) -> None:
        self.says(rig, UE, b"host.invalid", NETFLIX_ADDRESS)

        assert latest(naming) == ("", Basis.SNI, "host.invalid")

    def test_three_clients_are_believed_and_the_first_two_again(self, rig: Rig, naming: Naming) -> None:
        for n in (3, 4, 5):
            self.says(rig, f"10.45.0.{n}", b"web.whatsapp.com", NETFLIX_ADDRESS)
            latest(naming)

        bases = naming.book.rows["basis"].tolist()
        assert bases == [Basis.SNI] * 3
        assert {naming.signatures.name(a) for a in naming.book.rows["app"].tolist()} == {"WhatsApp"}

    def test_where_many_clients_of_another_application_went(self, rig: Rig, naming: Naming) -> None:
        for n in range(16):  # both are well known, each at its own server
            self.says(rig, f"10.45.1.{n}", b"www.example.org", "198.51.100.7")
            self.says(rig, f"10.45.1.{n}", b"web.whatsapp.com", "203.0.113.9")
        latest(naming)
        self.says(rig, UE, b"web.whatsapp.com", "198.51.100.7")

        assert latest(naming) == ("", Basis.CONTRADICTED, "web.whatsapp.com")


class TestWhy:
    """Each flow's ground can be shown, with what the others say."""

    def why(self, naming: Naming) -> dict[str, Ground]:
        number = int(naming.book.rows["number"][-1])
        grounds = explain(naming.book, naming.inference, naming.signatures, number, naming.plane.now_ns() / 1e9)
        return {g.ground: g for g in grounds}

    def hello(self, rig: Rig, ue: str, name: bytes, server: str) -> None:
        layers = IP(src=ue, dst=server) / TCP(sport=40001, dport=443, flags="PA", seq=1) / Raw(named_hello(name))
        send(rig, ether(layers))

    def test_a_name_with_the_suffix_that_matched(self, rig: Rig, naming: Naming) -> None:
        self.hello(rig, UE, b"www.netflix.com", NETFLIX_ADDRESS)
        latest(naming)
        why = self.why(naming)

        assert why["sni"] == Ground("sni", "it says www.netflix.com, of Netflix by netflix.com", "Netflix", 99, True)
        assert why["address"].finding == f"{NETFLIX_ADDRESS} is in 45.57.0.0/17"
        assert [g.ground for g in why.values() if g.decides] == ["sni"]

    def test_a_learned_server_with_its_evidence(self, rig: Rig, naming: Naming) -> None:
        for n in (3, 4):
            self.hello(rig, f"10.45.0.{n}", b"www.netflix.com", "198.51.100.7")
        send(rig, ether(IP(src=UE, dst="198.51.100.7") / TCP(sport=40009, dport=443, flags="PA", seq=1) / Raw(OPAQUE)))
        latest(naming)
        text = "198.51.100.7 port 443 tcp served Netflix alone: 2 pieces of evidence, the last www.netflix.com"

        assert self.why(naming)["learned"] == Ground("learned", text, "Netflix", 75, True)

    def test_a_lie_with_whose_the_server_is(self, rig: Rig, naming: Naming) -> None:
        self.hello(rig, UE, b"web.whatsapp.com", NETFLIX_ADDRESS)
        latest(naming)
        why = self.why(naming)

        assert why["contradicted"].finding == "it says web.whatsapp.com, but its address belongs to Netflix"
        assert why["contradicted"].decides
        assert why["sni"].application == "WhatsApp"

    def test_by_its_ends_in_any_order(self, rig: Rig, naming: Naming) -> None:
        self.hello(rig, UE, b"www.netflix.com", NETFLIX_ADDRESS)
        latest(naming)
        number = naming.book.rows["number"].tolist()

        assert find(naming.book, Question(6, UE, 40001, NETFLIX_ADDRESS, 443)) == number
        assert find(naming.book, Question(6, NETFLIX_ADDRESS, 443, UE, 40001)) == number
        assert find(naming.book, Question(17, UE, 40001, NETFLIX_ADDRESS, 443)) == []
        assert find(naming.book, Question(6, UE, 443, NETFLIX_ADDRESS, 40001)) == []


class TestOtherSignatures:
    """Signatures that change hold for what comes after, without a restart."""

    def test_an_answer_from_before_names_no_more(self, rig: Rig, naming: Naming) -> None:
        send(rig, to_ue(response(("www.example.org.", "A", SERVER))))
        naming.drain()
        naming.use(example("example.net", before=naming.signatures))
        send(rig, quic())

        assert latest(naming) == ("", Basis.NONE, "")

    def test_a_new_domain_names_at_once(self, rig: Rig, naming: Naming) -> None:
        naming.use(example("example.net", before=naming.signatures))
        send(rig, over_tcp(named_hello(b"www.example.net")))

        assert latest(naming) == ("Example Video", Basis.SNI, "www.example.net")


class TestRunningFlows:
    """An operator's change is in force with the next packet of flows that run."""

    def apps_in_the_kernel(self, rig: Rig, naming: Naming, frame: bytes) -> list[str]:
        send(rig, frame)
        return [naming.signatures.name(app) for app in rig.plane.read_flows()[1]["app"].tolist()]

    def test_a_flow_whose_name_gets_an_application(self, rig: Rig, naming: Naming) -> None:
        send(rig, over_tcp(named_hello(b"www.example.net")))
        assert latest(naming)[0] == ""

        naming.use(example("example.net", before=naming.signatures))

        assert latest(naming) == ("Example Video", Basis.SNI, "www.example.net")
        assert self.apps_in_the_kernel(rig, naming, over_tcp(OPAQUE)) == ["Example Video"]

    def test_a_flow_whose_application_was_the_last_word(self, rig: Rig, naming: Naming) -> None:
        send(rig, tcp(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", dport=80))
        assert latest(naming)[0] == "Example Video"
        send(rig, tcp(b"x", seq=42, dport=80))

        another = Application("Another", "web", ("www.example.org",))
        naming.use(Signatures.load([another], before=naming.signatures))

        assert latest(naming) == ("Another", Basis.HTTP_HOST, "www.example.org")
        assert self.apps_in_the_kernel(rig, naming, tcp(b"x", seq=43, dport=80)) == ["Another"]

    def test_a_flow_whose_application_the_kernel_found_is_taken_away(self, rig: Rig, naming: Naming) -> None:
        send(rig, over_tcp(named_hello(b"www.example.org")))
        assert latest(naming)[0] == "Example Video"

        naming.use(Signatures.load(before=naming.signatures))

        assert latest(naming) == ("", Basis.SNI, "www.example.org")
        assert self.apps_in_the_kernel(rig, naming, over_tcp(OPAQUE)) == [""]

    def test_a_flow_whose_address_gets_an_owner(self, rig: Rig, naming: Naming) -> None:
        for n in range(3):
            send(rig, tcp(OPAQUE, 1 + n * len(OPAQUE)))
        assert latest(naming) == ("", Basis.NONE, "")

        mine = Application("Mine", "vpn", prefixes=(f"{SERVER}/32",), confidence=60)
        naming.use(Signatures.load([mine], before=naming.signatures))

        assert latest(naming) == ("Mine", Basis.ADDRESS, "")
        assert naming.book.rows["confidence"][-1] == 60
        assert self.apps_in_the_kernel(rig, naming, tcp(b"x", seq=4242)) == ["Mine"]
