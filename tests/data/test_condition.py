"""Conditions: the syntax, its inverse, JSON, bounds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from data_strategies import conditions, finite, names
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.condition import (
    Bounds,
    Condition,
    Feedback,
    Targets,
    Weights,
    from_json,
    from_vector,
    one_hot,
    parse,
    to_json,
    vector,
)
from pluralign.data.objective import Objective
from pluralign.errors import ConditionError, ConfigError

ABC = [Objective(name, high=4.0) for name in "abc"]


@given(conditions)
def test_parse_inverts_str(condition: Condition) -> None:
    assert parse(str(condition)) == condition


@given(conditions)
def test_json_and_copies_round_trip(condition: Condition) -> None:
    assert from_json(to_json(condition)) == condition
    assert copy.deepcopy(condition) == condition
    assert hash(parse(str(condition))) == hash(condition)


@given(st.text())
def test_any_text_parses_or_is_a_condition_error(text: str) -> None:
    try:
        parsed = parse(text)
    except ConditionError:
        return
    assert parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("helpful=.7,brief=.3 @1.5", Weights({"helpful": 0.7, "brief": 0.3}, 1.5)),
        (" helpful = 0.7 , brief = 3e-1@2 ", Weights({"helpful": 0.7, "brief": 0.3}, 2.0)),
        ("helpful:4,brief:1", Targets({"helpful": 4, "brief": 1})),
        ("a=-1", Weights({"a": -1})),
        ('"kind, and in one sentence" @0', Feedback("kind, and in one sentence", 0.0)),
        ("short please @2", Feedback("short please", 2.0)),
        (r'"say \"no\" and \\"', Feedback('say "no" and \\')),
        ('"ratio: a=1"', Feedback("ratio: a=1")),
    ],
)
def test_syntax(text: str, meant: Condition) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty condition"),
        ("@2", "empty condition"),
        ("helpful=", "cannot read 'helpful='"),
        ("helpful=.7;brief=.3", "cannot read"),
        ("a=1,a=2", "occurs twice"),
        ("a=1,b:2", "mixes"),
        ("a=nan", "cannot read"),
        ("a=1e999", "finite"),
        ("a=1 @1e999", "finite"),
        ("be brief: now", "double quotes"),
        ('"open', "do not close"),
        ('"a" b', "do not close"),
    ],
)
def test_what_does_not_parse_says_why(text: str, says: str) -> None:
    with pytest.raises(ConditionError, match=says):
        parse(text)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400])
def test_weights_refuse_what_is_no_number(value: object) -> None:
    with pytest.raises(ConditionError):
        from_json({"weights": {"a": value}})
    if value is not None:
        with pytest.raises(ConditionError):
            from_json({"weights": {"a": 1}, "strength": value})


@pytest.mark.parametrize(
    "value",
    [
        3,
        {},
        {"weights": {}},
        {"weights": {"a b": 1}},
        {"weights": {"a": 1}, "targets": {"a": 1}},
        {"weights": {"a": 1}, "x": 1},
        {"feedback": " "},
        {"feedback": 3},
        {"targets": [1]},
        {1: 2},
    ],
)
def test_from_json_is_strict(value: object) -> None:
    with pytest.raises(ConditionError):
        from_json(value)


def test_weights_are_values() -> None:
    given_values = {"a": 0.5, "b": 0.5}
    weights = Weights(given_values)
    given_values["a"] = 9.0
    assert weights.values["a"] == 0.5
    assert len({weights, Weights({"b": 0.5, "a": 0.5}), Weights({"a": 1})}) == 2
    assert Weights({"a": np.float32(0.5)}) == Weights({"a": 0.5})
    with pytest.raises(TypeError):
        weights.values["a"] = 1.0  # type: ignore[index]


def test_vectors() -> None:
    assert vector(parse("c=.25,a=.75 @2"), ABC).tolist() == [1.5, 0.0, 0.5]
    assert from_vector([0.75, 0.0, 0.25], ABC) == parse("a=.75,c=.25")
    assert from_vector([0, 0, 0], ABC) == parse("a=0,b=0,c=0")
    assert vector(one_hot("b"), ABC).tolist() == [0, 1, 0]
    with pytest.raises(ConditionError, match="unknown objective 'd'; allowed are: a, b, c"):
        vector(one_hot("d"), ABC)
    with pytest.raises(ConditionError, match="2 weights for 3"):
        from_vector([1, 0], ABC)


@given(st.lists(finite, min_size=3, max_size=3))
def test_vector_inverts_from_vector(values: list[float]) -> None:
    assert vector(from_vector(values, ABC), ABC).tolist() == values


@pytest.mark.parametrize("text", ["a=.7,b=.3", "a=1", "a=.3333,b=.3333,c=.3333", "a:4,b:0", "be kind", "a=1 @0"])
def test_bounds_allow(text: str) -> None:
    Bounds().check(parse(text), ABC)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a=.7,b=.7", "sum to 1, these sum to 1.4"),
        ("a=2,b=-1", "allow-extrapolation"),
        ("a=1 @-1", "opposite"),
        ("be kind @-1", "opposite"),
        ("a:5", r"outside the objective's range \[0, 4\]"),
        ("d=1", "unknown objective"),
    ],
)
def test_bounds_refuse(text: str, says: str) -> None:
    with pytest.raises(ConditionError, match=says):
        Bounds().check(parse(text), ABC)


def test_bounds_can_be_lifted_on_purpose() -> None:
    Bounds(allow_extrapolation=True).check(parse("a=2,b=-3 @-1"), ABC)
    Bounds(ranges={"a": (-1, 2)}, simplex=False).check(parse("a=-1"), ABC)
    with pytest.raises(ConfigError):
        Bounds(ranges={"a": (1, 0)})


@given(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1), min_size=1))
def test_the_advice_is_legal_itself(values: dict[str, float]) -> None:
    try:
        Bounds().check(Weights(values), ABC)
    except ConditionError as error:
        if "did you mean " in str(error):
            advised = str(error).split("did you mean ")[1].split("? ")[0]
            Bounds().check(parse(advised), ABC)


@given(names, finite, finite, st.booleans())
def test_objectives_round_trip(name: str, one: float, other: float, safety: bool) -> None:
    if one != other:
        objective = Objective(name, "words", min(one, other), max(one, other), "lower", safety)
        assert Objective.from_json(objective.to_json()) == objective
