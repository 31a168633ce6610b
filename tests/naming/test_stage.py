"""The stage that joins names: those of the kernel, of payloads and of DNS, with a kernel of plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pytest

from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.book import FlowBook
from nf.naming.readers import Found, Here
from nf.naming.stage import Naming
from nf.settings import Application
from tests.flows.records import EVENT, KEY, event, events, key

NAMED = np.dtype([("number", "u8"), ("hash", "u8"), ("app", "u2"), ("basis", "u1"), ("length", "u1"), ("key", KEY),
                  ("name", "u1", 64)])  # fmt: skip
NETFLIX_SERVER = "45.57.1.2"  # a prefix of nf/apps/known/video.toml
HASH = 0xABCDEF


def example(name: str, domain: str, before: Signatures | None = None) -> Signatures:
    return Signatures.load([Application(name=name, app_class="video", domains=(domain,))], before=before)


SIGNATURES = example("Example Video", "video.example")
VIDEO, OTHER = SIGNATURES.number("Example Video"), SIGNATURES.number("Netflix")


def named(number: int, name: str, basis: Basis = Basis.SNI, app: int = 0, hashed: int = 0) -> np.ndarray:
    """Return a record of a name that the kernel found; *app* is 0 where it knows no suffix of it."""
    out = np.zeros(1, NAMED)
    out["number"], out["basis"], out["app"], out["hash"], out["key"] = number, basis, app, hashed, key()
    out["length"] = len(name)
    out["name"][0, : len(name)] = np.frombuffer(name.encode(), np.uint8)
    return out


class PlainKernel:
    """A kernel of plain values: the contents of its rings as lists, and the verdicts that it was told."""

    def __init__(self) -> None:
        self.events: list[np.ndarray] = []
        self.names: list[np.ndarray] = []
        self.flows = np.zeros(0, KEY), np.zeros(0, [("number", "u8")])
        self.verdicts: list[tuple[int, int, bool]] = []  # (flow number, application, final)
        self.suffixes: dict[str, int] = {}
        self.generation = 0

    def read_events(self) -> np.ndarray:
        return self._taken(self.events, EVENT)

    def read_names(self) -> np.ndarray:
        return self._taken(self.names, NAMED)

    def read_payloads(self) -> np.ndarray:
        return np.zeros(0, KEY)

    def read_flows(self) -> tuple[np.ndarray, np.ndarray]:
        return self.flows

    def now_ns(self) -> int:
        return 10**12

    def set_suffixes(self, apps: Mapping[str, int], ask: Iterable[str] = (), networks: Iterable[int] = ()) -> None:
        self.suffixes = dict(apps)

    def put_verdicts(self, keys: np.ndarray, numbers: np.ndarray, apps: np.ndarray, final: np.ndarray) -> None:
        self.verdicts += zip(numbers.tolist(), apps.tolist(), final.tolist(), strict=True)

    def new_generation(self) -> None:
        self.generation += 1

    @staticmethod
    def _taken(ring: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
        out = np.concatenate([np.zeros(0, dtype), *ring])
        ring.clear()
        return out


class Said(Here):
    """Payloads that were read already: what is found in them is handed in."""

    def __init__(self) -> None:
        super().__init__(SIGNATURES, 0.0)
        self.answers: list[Found] = []

    def found(self) -> Iterator[Found]:
        answers, self.answers = self.answers, []
        yield from answers
        yield from super().found()

    def say(self, number: int, app: int, basis: Basis, name: str = "", final: bool = True) -> None:
        one = np.array([number], np.uint64), np.array([app], np.uint16), np.array([basis], np.uint8)
        self.answers.append(Found(key(), *one, np.array([final]), [name]))


class Stage:
    """The stage with its two neighbours."""

    def __init__(self) -> None:
        self.kernel, self.reading = PlainKernel(), Said()
        self.naming = Naming(self.kernel, SIGNATURES, FlowBook(), self.reading)

    def drain(self, *records: np.ndarray) -> None:
        for record in records:
            (self.kernel.events if record.dtype == EVENT else self.kernel.names).append(record)
        self.naming.drain()

    def says(self, number: int) -> tuple[str, Basis, str]:
        """Return (application, ground, host name) of a flow."""
        app, basis, _ = (int(column[0]) for column in self.naming.book.apps(np.array([number], np.uint64)))
        return self.naming.signatures.name(app), Basis(basis), self.naming.book.host(number)


@pytest.fixture
def stage() -> Stage:
    return Stage()


class TestWhatTheKernelFound:
    """A name from the kernel comes with the application of its suffix, or is matched here."""

    def test_with_an_application_it_is_taken_as_it_is(self, stage: Stage) -> None:
        stage.drain(event(1), named(1, "www.video.example", app=VIDEO))

        assert stage.says(1) == ("Example Video", Basis.SNI, "www.video.example")
        assert stage.kernel.verdicts == []

    def test_without_one_the_signatures_are_asked_and_the_kernel_is_told_for_good(self, stage: Stage) -> None:
        stage.drain(event(1), named(1, "www.video.example"))

        assert stage.says(1) == ("Example Video", Basis.SNI, "www.video.example")
        assert stage.kernel.verdicts == [(1, VIDEO, True)]

    def test_a_name_of_nobody_is_kept_and_the_kernel_hears_nothing(self, stage: Stage) -> None:
        stage.drain(event(1), named(1, "www.nobody.example"))

        assert stage.says(1) == ("", Basis.SNI, "www.nobody.example")
        assert stage.kernel.verdicts == []

    def test_events_are_seen_by_who_asks(self, stage: Stage) -> None:
        seen: list[np.ndarray] = []
        stage.kernel.events.append(events(event(1), event(2, port_a=2)))
        stage.naming.drain(seen.append)
        stage.naming.drain(seen.append)

        assert [batch["number"].tolist() for batch in seen] == [[1, 2]]


class TestAnswers:
    """A flow that DNS named at birth brings the hash of the name alone."""

    def test_the_name_is_that_of_the_response(self, stage: Stage) -> None:
        stage.drain(event(9, port_b=53), named(9, "www.video.example", Basis.DNS_ANSWER, VIDEO, HASH))
        stage.drain(event(1, name=HASH, app=VIDEO))

        assert stage.says(1) == ("Example Video", Basis.DNS_ANSWER, "www.video.example")

    def test_response_and_flow_in_one_reading(self, stage: Stage) -> None:
        stage.drain(event(1, name=HASH, app=VIDEO), named(9, "www.video.example", Basis.DNS_ANSWER, VIDEO, HASH))

        assert stage.says(1) == ("Example Video", Basis.DNS_ANSWER, "www.video.example")

    def test_a_hello_that_was_heard_before_stays(self, stage: Stage) -> None:
        stage.drain(named(1, "www.video.example", app=VIDEO))
        stage.drain(event(1, name=HASH))

        assert stage.says(1) == ("Example Video", Basis.SNI, "www.video.example")

    def test_a_name_without_application_gets_that_of_the_address(self, stage: Stage) -> None:
        stage.drain(event(1, b=NETFLIX_SERVER, name=HASH),
                    named(9, "cdn.nobody.example", Basis.DNS_ANSWER, hashed=HASH))  # fmt: skip
        assert stage.says(1) == ("", Basis.DNS_ANSWER, "cdn.nobody.example")

        stage.naming.name_by_server()

        assert stage.says(1) == ("Netflix", Basis.ADDRESS, "cdn.nobody.example")

    def test_a_flow_nobody_named_gets_that_of_the_address(self, stage: Stage) -> None:
        stage.drain(event(1, b=NETFLIX_SERVER))
        stage.naming.name_by_server()

        assert stage.says(1) == ("Netflix", Basis.ADDRESS, "")


class TestPayloads:
    """A name from payloads beats weaker grounds and gives way to a ClientHello that the kernel heard."""

    def test_it_is_recorded_and_told(self, stage: Stage) -> None:
        stage.drain(event(1))
        stage.reading.say(1, VIDEO, Basis.HTTP_HOST, "www.video.example", final=False)
        stage.drain()

        assert stage.says(1) == ("Example Video", Basis.HTTP_HOST, "www.video.example")
        assert stage.kernel.verdicts == [(1, VIDEO, False)]

    @pytest.mark.parametrize("basis", [Basis.HTTP_HOST, Basis.BEHAVIOUR])
    def test_a_hello_of_the_kernel_stays_and_so_does_the_kernels_answer(self, stage: Stage, basis: Basis) -> None:
        stage.drain(event(1), named(1, "www.video.example", app=VIDEO))
        stage.reading.say(1, OTHER, basis, "other.example")
        stage.drain()

        assert stage.says(1) == ("Example Video", Basis.SNI, "www.video.example")
        assert stage.kernel.verdicts == [(1, VIDEO, True)]

    def test_an_answer_with_an_application_stays_before_what_bytes_look_like(self, stage: Stage) -> None:
        stage.drain(event(1, name=HASH, app=VIDEO), named(9, "www.video.example", Basis.DNS_ANSWER, VIDEO, HASH))
        stage.reading.say(1, OTHER, Basis.BEHAVIOUR)
        stage.drain()

        assert stage.says(1)[:2] == ("Example Video", Basis.DNS_ANSWER)

    def test_but_not_before_a_name_in_them(self, stage: Stage) -> None:
        stage.drain(event(1, name=HASH, app=OTHER), named(9, "old.example", Basis.DNS_ANSWER, OTHER, HASH))
        stage.reading.say(1, VIDEO, Basis.SNI, "www.video.example")
        stage.drain()

        assert stage.says(1) == ("Example Video", Basis.SNI, "www.video.example")


class TestOtherSignatures:
    """Running flows get the application that the signatures in force say, here and in the kernel."""

    def test_flows_of_names_are_named_anew(self, stage: Stage) -> None:
        stage.drain(event(1), event(2, port_a=2), named(1, "www.video.example", app=VIDEO))
        stage.kernel.flows = np.concatenate([key(), key(port_a=2)]), np.array([(1,), (2,)], [("number", "u8")])
        other = example("Another Video", "www.video.example", SIGNATURES)
        stage.naming.use(other)

        assert stage.says(1) == ("Another Video", Basis.SNI, "www.video.example")
        assert stage.kernel.verdicts == [(1, other.number("Another Video"), False)]
        assert stage.kernel.suffixes["www.video.example"] == other.number("Another Video")
        assert stage.kernel.generation == 1

    def test_the_same_again_tells_the_kernel_nothing_of_flows(self, stage: Stage) -> None:
        stage.drain(event(1), named(1, "www.video.example", app=VIDEO))
        stage.naming.use(SIGNATURES)

        assert (stage.kernel.verdicts, stage.kernel.generation) == ([], 0)

    def test_other_grounds_stay(self, stage: Stage) -> None:
        stage.drain(event(1))
        stage.reading.say(1, VIDEO, Basis.BEHAVIOUR)
        stage.drain()
        stage.naming.use(example("Another Video", "www.video.example", SIGNATURES))

        assert stage.says(1)[1] is Basis.BEHAVIOUR
