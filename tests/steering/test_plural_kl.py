"""Plural layers with a copy for α: coefficients by hand, what strength means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from pluralign.data.condition import Targets, Weights, one_hot
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError
from pluralign.policy import Policy
from pluralign.steering.plural_kl import PluralKL

EVEN = {"kind": 0.5, "brief": 0.5}
TEXTS = ["good", "very long joke"]


def test_coefficients_by_hand() -> None:
    """α_1 = .2; strength 2: α = .2 / (.2 + 2 · .8) = 1/9."""
    steering = PluralKL(alpha=0.2, lowest=0.05, highest=1.0)
    rows = steering.coefficients(
        [Weights(EVEN), Weights(EVEN, 2.0), Weights({"funny": 1.0}, 0.0), None], tiny.OBJECTIVES
    )
    expected = [[0.4, 0.4, 0, 0.2, 1, 1], [4 / 9, 4 / 9, 0, 1 / 9, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]]
    torch.testing.assert_close(rows, torch.tensor(expected), atol=1e-6, rtol=0)


def test_one_objective_is_the_two_copies_of_the_paper() -> None:
    steering = PluralKL(alpha=0.25, lowest=0.1, highest=0.5)
    rows = steering.coefficients(
        [Weights({"kind": 1.0}, steering.strength(level)) for level in (0.1, 0.5)], tiny.OBJECTIVES[:1]
    )
    torch.testing.assert_close(rows[:, :2], torch.tensor([[0.9, 0.1], [0.5, 0.5]]))


@given(st.floats(0.001, 0.999), st.floats(0.001, 1.0))
def test_strength_divides_beta(alpha: float, level: float) -> None:
    steering = PluralKL(alpha=alpha, lowest=0.0005, highest=1.0)
    assert steering.level(1.0) == pytest.approx(alpha)
    assert steering.level(0.0) == 1.0
    strength = steering.strength(level)
    assert steering.level(strength) == pytest.approx(level)
    beta, first = level / (1 - level) if level < 1 else float("inf"), alpha / (1 - alpha)
    assert strength * beta == pytest.approx(first) if level < 1 else strength == 0


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny.policy(PluralKL(where="attention", rank=2, alpha=0.1, lowest=0.02, highest=0.6), shaken=0.2)


def test_untrained_every_level_is_the_base() -> None:
    fresh = tiny.policy(PluralKL(where="all", rank=2))
    asked = [None, one_hot("kind"), Weights(EVEN, 0.5), Weights(EVEN, 2.0)]
    said = fresh.logprobs([user("a")] * 4, ["good"] * 4, asked)
    torch.testing.assert_close(said, said[:1].expand(4), atol=1e-5, rtol=0)


def test_strengths_act_and_survive_saving_and_merging(tmp_path: Path, policy: Policy) -> None:
    asked = [Weights(EVEN, strength) for strength in (0.5, 4.0)]
    said = policy.logprobs([user("a joke")] * 2, TEXTS[:1] * 2, asked)
    assert abs(float(said[0] - said[1])) > 1e-3
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    assert torch.equal(again.logprobs([user("a joke")] * 2, TEXTS[:1] * 2, asked), said)
    prompt, reply = policy.encoder.pair(user("a joke"), TEXTS[0])  # type: ignore[misc]
    ids = torch.tensor([[*prompt, *reply]])
    for condition, expected in zip(asked, said, strict=True):
        with torch.no_grad():
            logits = policy.merge(condition)(input_ids=ids).logits[0].log_softmax(-1)
        found = logits[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None]).sum()
        assert float(found) == pytest.approx(float(expected), abs=1e-4)


def test_only_trained_levels_may_be_asked(policy: Policy) -> None:
    least, most = policy.steering.strength(0.6), policy.steering.strength(0.02)  # type: ignore[attr-defined]
    for strength in (least, 1.0, most):
        policy.coefficients([Weights(EVEN, strength)])
    for strength in (0.9 * least, 1.1 * most, -1.0):
        with pytest.raises(ConditionError, match=r"from 0\.0741 to 5\.44"):
            policy.coefficients([Weights(EVEN, strength)])
    with pytest.raises(ConditionError, match="steered by weights"):
        policy.coefficients([Targets({"kind": 1.0})])


@pytest.mark.parametrize("levels", [(0.5, 0.1, 0.4), (0.0, 0.0, 1.0), (1.0, 0.1, 1.0), (0.1, 0.05, 1.5)])
def test_levels_are_in_order(levels: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="lowest <= alpha <= highest"):
        PluralKL(alpha=levels[0], lowest=levels[1], highest=levels[2])
