"""The condition of a request: the field, the suffix, presets, and what is allowed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from pluralign.data.condition import Bounds, Condition, Feedback, Targets, Weights, parse, to_json
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.serving.app import _fingerprint, check_servable
from pluralign.serving.problems import Wrong
from pluralign.serving.steering_field import Steered, allowed, check, read_steering, split_model
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.words import PromptWords
from pluralign.steering.search import SearchSteering

PRESETS: dict[str, Condition] = {"calm": Weights({"kind": 1.0})}


@pytest.fixture(scope="module")
def plural() -> Policy:
    """Steered by weights of kind, brief and funny."""
    return _plural()


@pytest.fixture(scope="module")
def words() -> Policy:
    """Steered by words."""
    return tiny.policy(PromptWords())


def test_a_name_is_cut_at_its_first_at() -> None:
    names = ("desk", "desk2")
    assert split_model("desk", names) == ("desk", None)
    assert split_model("desk2@calm", names) == ("desk2", "calm")
    assert split_model('desk@"write to me@home" @2', names) == ("desk", '"write to me@home" @2')
    for wrong in ("Desk", "desk3", "@calm", ""):
        with pytest.raises(Wrong, match="there are: desk, desk2") as refused:
            split_model(wrong, names)
        assert refused.value.status == 404


SHARES = st.integers(0, 100).map(lambda percent: percent / 100)


@given(SHARES, st.floats(0, 10))
def test_the_suffix_and_the_field_say_the_same(share: float, strength: float) -> None:
    policy = _plural()
    wanted = Weights({"kind": share, "brief": 1 - share}, strength)
    by_field = read_steering(policy, {}, None, to_json(wanted))
    by_suffix = read_steering(policy, {}, str(wanted), None)
    assert by_field == by_suffix == Steered(wanted)
    assert by_field.echo() == to_json(wanted)


@cache
def _plural() -> Policy:
    return tiny.policy(PluralSteering())


def test_presets_and_what_is_repeated_of_them(plural: Policy) -> None:
    found = read_steering(plural, PRESETS, "calm", None)
    assert found == read_steering(plural, PRESETS, None, {"preset": "calm"})
    assert found.echo() == {"weights": {"kind": 1.0}, "preset": "calm"}
    assert read_steering(plural, PRESETS, None, None) == Steered(None)
    assert Steered(None).echo() is None


@pytest.mark.parametrize(
    ("suffix", "field", "param"),
    [
        ("loud", None, "model"),  # without a sign it can only be a preset
        ("kind=2", None, "model"),
        ("kind=.5", None, "model"),
        ("kind=1,kind=0", None, "model"),
        ("kind=1 @-1", None, "model"),
        (None, {"weights": {"kind": 1}, "strength": 10.5}, "steering"),
        (None, {"weights": {"kind": float("inf")}}, "steering"),
        (None, {}, "steering"),
        (None, 3, "steering"),
        (None, {"preset": ["calm"]}, "steering"),
        ("calm", {"preset": "calm"}, "steering"),
    ],
)
def test_what_is_refused_says_what_is_allowed(plural: Policy, suffix: str | None, field: Any, param: str) -> None:
    with pytest.raises(Wrong) as refused:
        read_steering(plural, PRESETS, suffix, field)
    assert refused.value.param == param and refused.value.status == 422
    if not (suffix and field):
        assert "Allowed: weights of kind [0, 1], brief [0, 1], funny [0, 1], which sum to 1; the presets calm" in str(
            refused.value
        )


def test_bounds_are_the_policys_and_are_named() -> None:
    bounded = tiny.policy(PluralSteering())
    bounded.bounds = Bounds({"kind": (0.2, 0.6)}, simplex=False)
    assert "kind [0.2, 0.6], brief [0, 1], funny [0, 1]" in allowed(bounded, {})
    with pytest.raises(Wrong, match=r"kind=0\.7 is outside its bound \[0\.2, 0\.6\]"):
        read_steering(bounded, {}, "kind=.7,brief=1", None)
    read_steering(bounded, {}, "kind=.6,brief=1", None)


def test_the_operator_may_lift_the_bounds_and_numbers_stay_finite() -> None:
    free = tiny.policy(PluralSteering())
    free.bounds = replace(free.bounds, allow_extrapolation=True)
    assert read_steering(free, {}, "kind=-3,brief=5 @-2", None).condition == Weights({"kind": -3, "brief": 5}, -2)
    assert "[0, 1]" not in allowed(free, {})
    for far in ("kind=101", "kind=11 @10", "kind=1e308", "kind=1 @-11"):
        with pytest.raises(Wrong, match=r"bound 10|can be computed"):
            read_steering(free, {}, far, None)


def test_words(words: Policy) -> None:
    assert read_steering(words, {}, '"kind and brief"', None).condition == Feedback("kind and brief")
    assert read_steering(words, {}, None, {"feedback": "kind"}).condition == parse('"kind"')
    with pytest.raises(ConditionError, match="at most 2000 letters, this has 2001"):
        check(words, Feedback("k" * 2001))
    with pytest.raises(Wrong, match="feedback in words"):
        read_steering(words, {}, None, {"feedback": ""})


def test_a_policy_that_takes_no_condition() -> None:
    plain = tiny.policy(NoSteering(shared_where=None))
    assert read_steering(plain, {}, None, None) == Steered(None)
    with pytest.raises(Wrong, match="This model cannot be steered; leave the condition out"):
        read_steering(plain, {}, "kind=1", None)


def test_targets_are_not_everybodys(plural: Policy) -> None:
    with pytest.raises(ConditionError, match="steered by weights"):
        check(plural, Targets({"kind": 1.0}))


def test_a_search_is_not_served(plural: Policy) -> None:
    with pytest.raises(ModelError, match=r"16 candidates .* neither stream nor share a batch; use `pluralign sample`"):
        check_servable("best", tiny.policy(SearchSteering()))
    with pytest.raises(ConfigError, match="'@'"):
        check_servable("a@b", plural)


def test_a_fingerprint_is_of_the_weights_in_use() -> None:
    """Not of what they were before training: a fully trained model is another one too."""
    one, again, other = (tiny.policy(PluralSteering(), 0.1) for _ in range(3))
    assert _fingerprint(one) == _fingerprint(again)
    with torch.no_grad():
        other.model.get_input_embeddings().weight[-1] += 1e-3
    assert _fingerprint(other) != _fingerprint(one)
    tiny.shake(again, 1e-4)
    assert _fingerprint(again) != _fingerprint(one)
    assert _fingerprint(tiny.policy(PluralSteering(base_share="sum"), 0.1)) != _fingerprint(one)
