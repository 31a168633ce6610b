"""Constants under which a model judges: an operator may change them, and the name of the model tells it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nf.qoe import download
from nf.qoe.models import MODELS, adjusted
from nf.qoe.profiles import changed, constants
from nf.settings import QoeProfile

VOICE = MODELS["voice"].profile


class TestConstants:
    """The constants of a profile have paths."""

    def test_those_of_a_part_and_of_the_places_of_a_tuple_have_names(self):
        found = constants(VOICE)

        assert (found["silence.least_uplink_s"], found["silence.least_downlink_s"]) == VOICE.silence.least_s
        assert (found["silence.alone_s"], found["buffer_most_ms"]) == (VOICE.silence.alone_s, VOICE.buffer_most_ms)

    @pytest.mark.parametrize("app_class", MODELS)
    def test_a_profile_with_the_same_constants_is_the_same(self, app_class):
        profile = MODELS[app_class].profile

        assert changed(profile, constants(profile)) == profile

    def test_one_is_changed_and_the_others_stay(self):
        other = changed(VOICE, {"silence.least_downlink_s": 3.0})

        assert other.silence.least_s == (VOICE.silence.least_s[0], 3.0)
        assert dataclasses.replace(other, silence=VOICE.silence) == VOICE

    def test_a_path_that_is_none_is_refused(self):
        with pytest.raises(KeyError, match=r"no constant of VoiceProfile: silence.often"):
            changed(VOICE, {"silence.often": 1.0})


class TestModels:
    """A model under other constants has a name of its own."""

    def test_a_speed_is_judged_by_the_plan(self):
        # On a logarithmic scale from 0.1 Mbit/s, 1 Mbit/s is halfway to a plan of 10 Mbit/s: 1 + 4 / 2.
        estimates = download.Estimates(*np.array([[1e6], [0], [np.nan], [0.9]]), np.zeros(1, np.uint8))
        model = adjusted([QoeProfile("download", (("plan_bps", 10e6),))])["download"]

        assert model.score(estimates) == pytest.approx([3.0])
        assert (MODELS["download"].name, model.name) == ("snf-speed v1", "snf-speed v1*")

    def test_other_classes_and_those_without_a_change_are_as_published(self):
        models = adjusted([QoeProfile("download", (("plan_bps", 20e6),))])

        assert models == MODELS

    @pytest.mark.parametrize("app_class", MODELS)
    def test_each_class_has_one(self, app_class):
        path, value = next((p, v) for p, v in constants(MODELS[app_class].profile).items() if not isinstance(v, bool))

        model = adjusted([QoeProfile(app_class, ((path, value + 1),))])[app_class]

        assert model.name == MODELS[app_class].name + "*"
        assert not model.due(np.zeros(3, model.state), 1.0).any()
