"""The compiled passes say what their references in numpy say, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from nf.fast import build
from nf.fast import group as compiled
from nf.fast.differences import takes
from nf.fast.library import Library, load
from nf.fast.memory import Memory
from nf.flows.search import at, distinct
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits
from nf.subscribers import sums
from tests.fast.columns import Both, States, a_history, any_flows, any_keys, numbers_differ, places_differ, rows_differ


@pytest.fixture(scope="module")
def library() -> Library:
    """Return the build of `make setup`."""
    return load(build.SHARED_OBJECT)


class TestNumbers:
    """Distinct keys are numbered in their order."""

    @pytest.mark.parametrize("seed", range(8))
    def test_of_random_keys(self, library, seed):
        rng = np.random.default_rng(seed)
        n = [1, 2, 100, 30_000][seed % 4]

        assert not numbers_differ(library, any_keys(rng, n))
        assert not numbers_differ(library, rng.integers(-(2**63), 2**63 - 1, n))

    def test_of_none(self, library):
        assert not numbers_differ(library, np.zeros(0, np.int64))

    @pytest.mark.parametrize("kind", ["", "numpy"])
    def test_both_kinds_have_one_face(self, monkeypatch, kind):
        monkeypatch.setenv("SNF_FAST", kind)

        values, place = distinct(np.array([7, 0, 7, 9], np.uint32))

        assert (values.tolist(), place.tolist(), place.dtype) == ([0, 7, 9], [1, 0, 1, 2], np.intp)


class TestPlaces:
    """Keys are found in a sorted column, whether they rise as well or not."""

    @pytest.mark.parametrize("kind", [np.int64, np.uint64])
    @pytest.mark.parametrize("seed", range(12))
    def test_of_random_keys(self, library, seed, kind):
        rng = np.random.default_rng(seed)
        n, most = [1, 2, 3, 200, 5000, 20_000][seed % 6], np.iinfo(kind).max
        keys = np.sort(rng.integers(0, 3 * n, n).astype(kind))  # some are equal
        risen = np.sort(rng.integers(0, 4 * n, 3000).astype(kind))

        assert not places_differ(library, keys, risen)
        assert not places_differ(library, keys, rng.permutation(risen))
        assert not places_differ(library, np.append(keys, most), np.array([most, 0, most - 1], kind))

    @pytest.mark.parametrize("kind", ["", "numpy"])
    def test_both_kinds_have_one_face(self, monkeypatch, kind):
        monkeypatch.setenv("SNF_FAST", kind)
        wanted = np.arange(100)

        place, there = at(np.array([10, 20, 20, 90]), wanted)

        assert [place[k] for k in (0, 10, 11, 20, 21, 99)] == [0, 0, 1, 1, 3, 3]
        assert (np.flatnonzero(there).tolist(), place.dtype) == ([10, 20, 90], np.intp)

    @pytest.mark.parametrize("kind", [np.uint32, np.float64])
    def test_keys_of_other_types_are_found_as_well(self, kind):
        place, there = at(np.array([1, 5], kind), np.arange(80, dtype=kind))

        assert (place[5], there[5], there[6]) == (1, True, False)


@pytest.fixture(scope="module")
def types() -> Iterator[Mapping[str, np.dtype[np.void]]]:
    """Return the types of states as bcc reads them out of the programs."""
    plane = DataPlane(Limits(flows=1024, sessions=64), replay=True, tails_later=True)
    yield plane.record_types
    plane.close()


class TestDifferences:
    """Two states of a flow are what it did between them."""

    @pytest.mark.parametrize("seed", range(8))
    def test_of_random_states(self, library, types, seed):
        states = States(np.random.default_rng(seed), types, [1, 5, 300, 20_000][seed % 4])

        for _ in range(4):
            assert states.differ(library) == []

    def test_a_build_takes_the_states_of_the_programs(self, library, types):
        assert takes(library, types["flow"])


class TestRows:
    """Flows become the rows that the reference makes of them."""

    @pytest.mark.parametrize("seed", range(24))
    def test_of_random_columns(self, library, seed):
        rng = np.random.default_rng(seed)
        n = [1, 2, 3, 9, 40, 300, 5000, 20_000][seed % 8]
        length_s = float(rng.choice([0.001, 0.5, 1.0, 10.0]))
        flows = any_flows(rng, n, length_s)

        assert rows_differ(library, flows, any_keys(rng, n), length_s) == []

    def test_of_keys_at_the_ends_of_their_range(self, library):
        flows = any_flows(np.random.default_rng(1), 6, 1.0)
        key = np.array([-(2**63), 2**63 - 1, 0, -1, 2**63 - 1, 0], np.int64)

        assert rows_differ(library, flows, key, 1.0) == []

    def test_columns_in_another_order_of_memory_are_read_as_well(self, library):
        flows = any_flows(np.random.default_rng(2), 50, 1.0).select(np.arange(50) % 2 == 0)
        turned = [c.copy(order="F") for c in (flows.octets, flows.packets)]
        object.__setattr__(flows, "octets", turned[0])

        assert rows_differ(library, flows, any_keys(np.random.default_rng(3), 25), 1.0) == []

    def test_a_column_that_is_too_short_is_refused(self, library):
        flows = any_flows(np.random.default_rng(4), 5, 1.0)
        rules = sums.rules(1.0)

        with pytest.raises(ValueError, match="column app has 5 values, not 6 x 1"):
            compiled.group(library, flows, np.zeros(6, np.int64), rules, np.zeros(9, np.uint8))


class TestMemory:
    """A key is remembered by what the reference remembers of it."""

    @pytest.mark.parametrize("seed", range(12))
    def test_of_random_histories(self, library, seed):
        assert a_history(library, np.random.default_rng(seed), 60, [1, 5, 40, 700][seed % 4]) > 0

    def test_it_grows_with_its_keys_and_forgets_them(self, library):
        memory = Both(library, np.array([1.0]), 1.0, 100_000)
        for second in range(40):
            keys = np.arange(second * 1000, second * 1000 + 5000)
            memory.add(keys, float(second), np.ones((5000, 1)), np.ones(5000), np.ones(5000))

        assert len(memory) == 5000 + 6 * 1000  # a key that was left alone for six seconds, six times tau, has faded

    def test_sums_of_another_shape_are_refused(self, library):
        memory = Memory(library, np.array([1.0, 2.0]), 1.0, 6.0, 10)

        with pytest.raises(ValueError, match=r"2 keys want sums of shape \(2, 2\)"):
            memory.add(np.arange(2), 0.0, np.ones((2, 1)), np.ones(2), np.ones(2))
