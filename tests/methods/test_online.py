"""Rewards, returns and baselines of methods that sample at every step: numbers by hand, laws, and exact gradients."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import made_up
from pluralign.data.condition import one_hot
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.losses.outputs import Judgements, Outputs
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.methods.steps.online import (
    Advantages,
    Sampling,
    Scale,
    leave_one_out,
    normalised,
    rewards,
    weighed,
    weighted_groups,
)

NAN = float("nan")
NUMBERS = arrays(np.float64, st.integers(2, 6), elements=st.floats(-100, 100))


def test_advantages_of_rloo_by_hand() -> None:
    """methods.md H: returns 1, 2, 4 -> −2, −.5, 2.5."""
    assert leave_one_out(np.array([1.0, 2.0, 4.0])).tolist() == pytest.approx([-2.0, -0.5, 2.5])


@given(NUMBERS, st.floats(-10, 10))
def test_laws_of_rloo(returns: np.ndarray, shift: float) -> None:
    found = leave_one_out(returns)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(leave_one_out(returns + shift), found, atol=1e-9)
    for place, value in enumerate(found):
        assert value == pytest.approx(returns[place] - np.delete(returns, place).mean(), abs=1e-9)


def test_constant_returns_teach_nothing() -> None:
    assert leave_one_out(np.full(4, 3.5)).tolist() == [0, 0, 0, 0]


def test_a_reply_without_a_return_counts_in_no_baseline() -> None:
    found = leave_one_out(np.array([1.0, NAN, 4.0]))
    np.testing.assert_equal(found, [-3.0, NAN, 3.0])
    assert np.isnan(leave_one_out(np.array([1.0, NAN]))).all()  # nothing to compare it with
    assert np.isnan(leave_one_out(np.array([NAN, NAN]))).all()


def test_the_mean_of_the_step_and_of_all_earlier_steps(tmp_path: Path) -> None:
    steps = [[np.array([1.0, 3.0]), np.array([5.0])], [np.array([NAN, 7.0])], [np.array([4.0])]]
    batch = Advantages("batch", tmp_path)
    assert [each.tolist() for each in batch(steps[0], 0)] == [[-2.0, 0.0], [2.0]]
    running = Advantages("running", tmp_path)
    assert [each.tolist() for each in running(steps[0], 0)] == [[-2.0, 0.0], [2.0]]  # the first step: its own mean, 3
    np.testing.assert_equal(running(steps[1], 1)[0], [NAN, 4.0])  # 7 − 3
    again = Advantages("running", tmp_path)  # another process goes on
    assert again(steps[2], 2)[0].tolist() == [0.0]  # 4 − (1 + 3 + 5 + 7) / 4
    np.testing.assert_equal(again(steps[1], 1)[0], [NAN, 4.0])  # and repeats a step


def test_rewards_more_is_better_and_what_is_unknown_stays_unknown() -> None:
    objectives = (Objective("kind", high=4), Objective("errors", high=9, direction="lower"))
    record = Record(user("a"), (Response("x", {"kind": 3.0, "errors": 2.0}), Response("y", {"kind": None})))
    (values,) = rewards([record], objectives)
    np.testing.assert_equal(values, [[3.0, -2.0], [NAN, NAN]])
    np.testing.assert_equal(weighed([1.0, 0.0], np.array([[3.0, NAN], [NAN, 1.0]])), [3.0, NAN])
    np.testing.assert_allclose(weighed([0.25, 0.75], values)[0], 0.25 * 3 - 0.75 * 2)


def test_a_scale_by_hand() -> None:
    scale = Scale.of([np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[NAN, 5.0]])], made_up.OBJECTIVES)
    assert (scale.mean, scale.spread) == ((2.0, 5.0), (1.0, 1.0))  # constants keep their unit
    np.testing.assert_equal(scale(np.array([[4.0, 6.0]])), [[2.0, 1.0]])
    with pytest.raises(DataError, match="'brief'"):
        Scale.of([np.array([[1.0, NAN]])], made_up.OBJECTIVES)


@given(arrays(np.float64, st.tuples(st.integers(2, 8), st.just(2)), elements=st.floats(-50, 50)))
def test_rewards_of_any_unit_are_standardised(values: np.ndarray) -> None:
    scaled = Scale.of([values], made_up.OBJECTIVES)(values)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
    other = Scale.of([7 * values + 3], made_up.OBJECTIVES)(7 * values + 3)
    wide = values.std(0) > 1e-6  # narrower ones keep their unit
    np.testing.assert_allclose(other[:, wide], scaled[:, wide], atol=1e-5)


def test_normalised_over_the_whole_step() -> None:
    found = normalised([np.array([1.0, 3.0]), np.array([NAN, 5.0])])
    np.testing.assert_allclose(np.concatenate(found), np.array([-2, 0, NAN, 2]) / math.sqrt(8 / 3))
    assert normalised([np.array([2.0, 2.0])])[0].tolist() == [0, 0]
    assert normalised([]) == []


def test_groups_carry_the_condition_and_an_advantage_for_each_reply() -> None:
    replies = tuple(Response(text, condition=one_hot("kind"), finished=text != "y") for text in "xyz")
    (group,) = weighted_groups(
        [Record(user("a"), replies, id="7"), Record(user("b"), replies[:1])],
        [np.array([1.0, -1.0, NAN]), np.array([NAN])],
    )
    assert (group.id, group.responses, group.values) == ("7", ("x", "y"), ((1.0,), (-1.0,)))
    assert (group.conditions, group.unfinished) == ((one_hot("kind"),), (1,))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"prompts_per_step": 0}, "at least 1"), ({"replies_per_prompt": 1}, "rloo compares"), ({"num_reference": 0}, "at least 1")],
)  # fmt: skip
def test_settings_act_or_raise(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Sampling(**options)
    assert Sampling(replies_per_prompt=1, baseline="batch").replies_per_prompt == 1


# -- exact gradients on a finite set of replies (methods.md C2, F) --------------------------------------------------------

REFERENCE = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
REWARDS = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.8, 0.7]])


def objective(logits: torch.Tensor, weights: np.ndarray, alpha: float) -> torch.Tensor:
    """V = (1 − α) w·R − α KL, exactly."""
    logprobs = logits.log_softmax(-1)
    reward = torch.tensor((1 - alpha) * weighed(weights, REWARDS))
    return (logprobs.exp() * (reward - alpha * (logprobs - REFERENCE))).sum()


def expected_gradient(logits: torch.Tensor, weights: np.ndarray, alpha: float, k: int = 2) -> torch.Tensor:
    """Of the loss of k replies, averaged over all tuples of replies with their probabilities: −∂V, if it is unbiased."""
    logits = logits.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    logprobs = logits.log_softmax(-1)
    ratio = (logprobs.detach() - REFERENCE).numpy()
    for drawn in itertools.product(range(4), repeat=k):
        places = list(drawn)
        returns = (1 - alpha) * weighed(weights, REWARDS[places]) - alpha * ratio[places]
        judged = Judgements(
            torch.arange(k),
            torch.full((k,), -1),
            torch.zeros(k, dtype=torch.long),
            torch.tensor(leave_one_out(returns)),
        )
        outputs = Outputs(logprobs[places][:, None], REFERENCE[places], torch.ones(k))
        loss, _ = PolicyGradient()(outputs, judged)
        total = total + float(logprobs.detach()[places].sum().exp()) * loss.double().mean()
    return torch.autograd.grad(total, logits)[0]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("k", [2, 3])
def test_the_expected_gradient_is_the_exact_one(alpha: float, k: int) -> None:
    """∂V/∂logit_y = π(y) (G(y) − E G), with the KL inside the return and no gradient term of its own."""
    logits = torch.tensor([0.3, -1.0, 0.5, 0.2], dtype=torch.float64, requires_grad=True)
    weights = np.array([0.7, 0.3])
    (exact,) = torch.autograd.grad(objective(logits, weights, alpha), logits)
    torch.testing.assert_close(-expected_gradient(logits.detach(), weights, alpha, k), exact, atol=1e-6, rtol=0)
    probabilities = logits.detach().softmax(-1)
    returns = torch.tensor((1 - alpha) * weighed(weights, REWARDS)) - alpha * (probabilities.log() - REFERENCE)
    by_hand = probabilities * (returns - (probabilities * returns).sum())
    torch.testing.assert_close(exact, by_hand, atol=1e-12, rtol=0)


def ascend(weights: np.ndarray, alpha: float, steps: int = 120, rate: float = 8.0) -> torch.Tensor:
    logits = torch.tensor([1.0, -1.0, 0.5, -0.5], dtype=torch.float64)
    for _ in range(steps):
        logits = logits - rate * expected_gradient(logits, weights, alpha)
    return logits.softmax(-1)


def test_climbing_it_leads_to_the_exact_optimum() -> None:
    """β = α / (1 − α) = .5, w = (1, 0): π* of methods.md F and H."""
    found = ascend(np.array([1.0, 0.0]), 1 / 3)
    np.testing.assert_allclose(found, [0.688221, 0.069855, 0.126591, 0.115332], atol=1e-4)


def test_at_alpha_one_the_optimum_is_the_reference_whatever_the_weights() -> None:
    for weights in ([1.0, 0.0], [0.2, 0.8]):
        np.testing.assert_allclose(ascend(np.array(weights), 1.0, 80, 4.0), REFERENCE.exp(), atol=1e-4)
