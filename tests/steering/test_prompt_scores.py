"""Rewards in the prompt: the map from weights, what is written, what is learnt from the data and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from pluralign.data.condition import Bounds, Feedback, Targets, Weights, one_hot
from pluralign.data.objective import Objective
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError, DataError, ModelError
from pluralign.policy import Policy
from pluralign.steering.prompt.scores import PromptScores, wanted_rewards

LOW, HIGH = np.array([-2.0, -1.0]), np.array([2.0, 3.0])
OBJECTIVES = (Objective("kind", low=0, high=4), Objective("brief", low=0, high=8, direction="lower"))
SCORES = np.array([[0.0, 8.0], [2.0, 4.0], [4.0, 0.0], [2.0, 4.0]])  # mean 2 and -4; deviation √2 and 2√2


def policy(**options: Any) -> Policy:
    made = tiny.policy(PromptScores(**options), objectives=OBJECTIVES)
    made.steering.fit(SCORES, OBJECTIVES)  # type: ignore[attr-defined]
    return made


def asked(made: Policy, condition: Any) -> str:
    return made.steering.write(user("joke"), condition)[0].content


def test_the_golden_value_of_the_map() -> None:
    """methods.md H: w = (.7, .3) on [-2, 2] and [-1, 3] asks for (2, 1.4) under the paper's rule."""
    assert wanted_rewards(np.array([0.7, 0.3]), LOW, HIGH).tolist() == pytest.approx([2.0, 1.4])
    assert wanted_rewards(np.array([0.7, 0.3]), LOW, HIGH, "linear").tolist() == pytest.approx([0.8, 0.2])
    norm = 0.58**0.5
    expected = [-2 + 4 * 0.7 / norm, -1 + 4 * 0.3 / norm]
    assert wanted_rewards(np.array([0.7, 0.3]), LOW, HIGH, "l2").tolist() == pytest.approx(expected)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6))
def test_laws_of_the_map(raw: list[float]) -> None:
    """Uniform asks for all; one-hot for one; nothing leaves the ranges; the largest weight is served in full."""
    size = len(raw)
    low, high = -np.arange(1.0, size + 1), np.arange(1.0, size + 1)
    assert wanted_rewards(np.full(size, 1 / size), low, high).tolist() == pytest.approx(high.tolist())
    for place in range(size):
        alone = wanted_rewards(np.eye(size)[place], low, high)
        assert alone.tolist() == [high[i] if i == place else low[i] for i in range(size)]
    weights = np.array(raw) + 1e-6
    weights /= weights.sum()
    for mapping in ("linf", "linear", "l2"):
        wanted = wanted_rewards(weights, low, high, mapping)  # type: ignore[arg-type]
        assert (wanted >= low - 1e-9).all() and (wanted <= high + 1e-9).all()
    assert wanted_rewards(weights, low, high)[int(np.argmax(weights))] == high[int(np.argmax(weights))]


def test_a_tie_goes_to_the_first() -> None:
    """Weights may be negative, or small: then nothing but the first of the largest is served in full (J 5)."""
    low, high = np.zeros(3), np.ones(3)
    assert wanted_rewards(np.array([0.1, 0.1, 0.0]), low, high).tolist() == pytest.approx([1.0, 0.3, 0.0])


def test_rewards_are_standardised_and_signed() -> None:
    made = policy()
    steering = made.steering
    assert isinstance(steering, PromptScores)
    assert steering.mean == (2.0, -4.0)
    assert steering.std == pytest.approx((2**0.5, 8**0.5))
    assert steering.high == pytest.approx((2**0.5, 2**0.5)) and steering.low == pytest.approx((-(2**0.5), -(2**0.5)))
    assert asked(made, Targets({"kind": 4, "brief": 2})) == "kind 1.4, brief 0.7"  # less of brief is better
    assert asked(made, Targets({"kind": 0})) == "kind -1.4, brief 0.0"  # what is not named stands at its mean
    assert asked(made, one_hot("brief")) == "kind -1.4, brief 1.4"
    assert asked(made, Weights({"kind": 0.5, "brief": 0.5})) == "kind 1.4, brief 1.4"
    assert made.check(one_hot("brief")) == Targets({"kind": 0.0, "brief": 0.0})  # in the objectives' own units
    assert asked(policy(form="tagged"), one_hot("kind")) == "<rm1_score> 1.4 <rm2_score> -1.4"
    assert asked(policy(decimals=0), one_hot("kind")) == "kind 1, brief -1"
    assert asked(policy(padded=True), Targets({"kind": 0})) == "kind -1.4, brief +0.0"
    assert asked(policy(quantiles=(0.5, 1.0)), one_hot("kind")) == "kind 1.4, brief 0.0"


def test_nothing_is_called_minus_zero() -> None:
    assert asked(policy(), Targets({"kind": 1.99, "brief": 4.01})) == "kind 0.0, brief 0.0"


def test_wanted_rewards_stay_inside_the_objectives_range() -> None:
    """A wish must be askable: bounds check targets."""
    made = policy()
    wish = made.steering.targets(np.array([9.0, -9.0]))  # type: ignore[attr-defined]
    assert wish == Targets({"kind": 4.0, "brief": 8.0})
    assert made.check(wish) == wish


def test_what_cannot_be_read_is_refused_with_an_example() -> None:
    made = policy()
    with pytest.raises(ConditionError, match=r"'kind:4', or weights, e.g. 'kind=1', not \"nice\""):
        made.check(Feedback("nice"))
    with pytest.raises(ConditionError, match="outside the objective's range"):
        made.check(Targets({"kind": 5}))
    with pytest.raises(ConditionError, match="train it"):
        tiny.policy(PromptScores()).check(one_hot("kind"))
    made.bounds = Bounds(allow_extrapolation=True)
    with pytest.raises(ConditionError, match="no direction"):
        wanted_rewards(np.zeros(2), LOW, HIGH, "l2")
    with pytest.raises(DataError, match="the same score on brief"):
        made.steering.fit(np.array([[0.0, 1.0], [1.0, 1.0]]), OBJECTIVES)  # type: ignore[attr-defined]
    for wrong in ({"mapping": "l3"}, {"form": "loud"}, {"decimals": -1}, {"quantiles": (0.5, 0.5)}):
        with pytest.raises(ConfigError):
            PromptScores(**wrong)  # type: ignore[arg-type]


def test_guidance_needs_two_rows_and_has_no_merged_weights() -> None:
    made = policy()
    guided = made.check(Weights({"kind": 1.0}, 2.0))
    plain = made.check(one_hot("kind"))
    assert made.steering.members(guided) == [(plain, 2.0), (None, -1.0)]
    values = [made.logprobs([user("joke")], ["nice"], [each]) for each in (guided, plain)]
    assert not torch.allclose(*values)
    with pytest.raises(ModelError, match="guidance"):
        made.merge(Weights({"kind": 1.0}, 2.0))


def test_what_was_learnt_is_saved(tmp_path: Path) -> None:
    made = policy(mapping="l2", form="tagged", quantiles=(0.01, 0.99), shared_where=None)
    tiny.shake(made)
    again = Policy.load(made.save(tmp_path / "policy"))
    assert again.steering == made.steering
    for condition in (one_hot("brief"), Targets({"kind": 3, "brief": 1})):
        values = [each.logprobs([user("joke")], ["nice"], [condition]) for each in (made, again)]
        assert torch.equal(*values)
