"""The exact yardstick: golden values (methods.md F and H), laws, and the numbers of the lab."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from pluralign.errors import ConfigError
from pluralign.lab.optimum import (
    Reference,
    at_kl,
    efficiency,
    grammar_reference,
    optimum,
    regret,
    sample_reference,
    utility_gain,
)  # fmt: skip
from pluralign.lab.scoring import reply_scores

FOUR = Reference(np.array([[1, 0], [0, 1], [0.5, 0.5], [0.8, 0.7]]), np.array([0.4, 0.3, 0.2, 0.1]))
GRID = np.vstack([np.eye(6), np.full((1, 6), 1 / 6)])


@pytest.mark.parametrize(
    ("weight", "policy", "value", "scores", "kl"),
    [
        ((1, 0), (0.688221, 0.069855, 0.126591, 0.115332), 0.728677, (0.843783, 0.213884), 0.230211),
        ((0.5, 0.5), (0.375632, 0.281724, 0.187816, 0.154828), 0.531427, (0.593402, 0.484012), 0.014559),
        ((0, 1), (0.112174, 0.621644, 0.152460, 0.113722), 0.635707, (0.279381, 0.777480), 0.283545),
    ],
)
def test_golden_values(weight, policy, value, scores, kl) -> None:
    found = optimum(FOUR, [weight], beta=0.5)
    assert np.allclose(found.probabilities[0], policy, atol=1e-6)
    assert np.allclose(found.scores[0], scores, atol=1e-6)
    assert np.allclose([found.value[0], found.kl[0]], [value, kl], atol=1e-6)
    assert np.isclose(found.utility[0], np.dot(weight, scores), atol=1e-5)


def test_golden_regret_and_max_min() -> None:
    base = FOUR.base @ [0.5, 0.5]
    assert np.isclose(regret(FOUR, [[0.5, 0.5]], [base], [0.0], beta=0.5)[0], 0.006427, atol=1e-6)
    worst = minimize_scalar(lambda w: optimum(FOUR, [[w, 1 - w]], 0.5).value[0], bounds=(0, 1), method="bounded")
    assert np.isclose(worst.fun, 0.526840, atol=1e-6) and np.isclose(worst.x, 0.416379, atol=1e-4)


def test_golden_coordinate_that_falls_as_its_weight_rises() -> None:
    two = Reference(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([0.5, 0.5]))
    found = optimum(two, [[0, 1], [0.5, 0.5], [1, 0]], beta=1.0)
    assert np.allclose(found.scores[:, 0], [0.880797, 0.817574, 0.731059], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 5.0))
def test_laws_of_the_optimum(seed: int, beta: float) -> None:
    rng = np.random.default_rng(seed)
    reference = Reference(rng.normal(size=(9, 3)), rng.dirichlet(np.ones(9)) * 0.9 + 0.1 / 9)
    weight, policy = rng.normal(size=(1, 3)), rng.dirichlet(np.ones(9))
    best = optimum(reference, weight, beta)
    rewards = reference.scores @ weight[0]
    kl = float((policy * np.log(policy / reference.probabilities)).sum())
    to_best = float((policy * np.log(policy / best.probabilities[0])).sum())
    lost = regret(reference, weight, [policy @ rewards], [kl], beta)[0]
    assert np.isclose(lost, beta * to_best) and lost >= -1e-9  # regret = β KL(π || π*)
    assert np.isclose(best.value[0], best.utility[0] - beta * best.kl[0])
    step = 1e-5
    shifted = optimum(reference, weight + step * np.eye(3), beta).value
    assert np.allclose((shifted - best.value) / step, best.scores[0], atol=1e-3)  # gradient of V* = E[s]


def test_grammar_reference_is_the_grammar(drawn) -> None:
    reference = grammar_reference()
    assert reference.scores.shape == (1362, 6)
    assert np.allclose(reference.base, [1.82323, 1.42488, 1.03131, 0.79665, 1.71847, 0.97915], atol=1e-5)
    known = {tuple(vector) for vector in reference.scores.astype(int).tolist()}
    points = [reply_scores(reply) for _, reply, _ in drawn]
    assert set(points) <= known
    common = np.argsort(reference.probabilities)[-20:]
    counted = [points.count(tuple(reference.scores[index].astype(int))) / len(points) for index in common]
    assert np.allclose(counted, reference.probabilities[common], atol=0.01)


def test_sample_reference_agrees_with_the_exact_one() -> None:
    exact = grammar_reference()
    rng = np.random.default_rng(0)
    samples = exact.scores[rng.choice(len(exact.scores), size=6000, p=exact.probabilities)]
    counted = sample_reference(samples)
    assert counted.num_samples == 6000 and np.allclose(counted.base, samples.mean(axis=0))
    ours, truth = optimum(counted, GRID, 0.5), optimum(exact, GRID, 0.5)
    assert np.allclose(ours.utility, truth.utility, atol=0.1)
    assert (ours.ess > 100).all() and (ours.ess <= 6000).all() and np.isnan(truth.ess).all()


def test_fluency_of_the_optimum_rises_with_its_reward() -> None:
    leaky = sample_reference(np.array([[0.0] * 6] * 7 + [[1.0, 4, 0, 0, 4, 0]] * 93))
    base, strong = leaky.optimum(GRID, 1e4), leaky.optimum(GRID, 0.25)
    assert np.allclose(base.fluency, 0.93, atol=1e-3) and (strong.fluency[[0, 1, 4]] > 0.99).all()
    assert np.isclose(strong.fluency[2], 0.93)  # warmth earns nothing here
    assert np.allclose(grammar_reference().optimum(GRID).fluency, 1.0)


def test_at_kl_meets_its_kl_and_efficiency_of_the_optimum_is_one() -> None:
    reference = grammar_reference()
    gains = []
    for kl in (0.0, 0.1, 1.0, 2.0, 3.0):
        found = at_kl(reference, GRID, kl)
        assert np.isclose(found.kl.mean(), kl, atol=1e-6)
        gains.append(utility_gain(reference, GRID, found))
    assert np.all(np.diff(gains) > 0) and abs(gains[0]) < 1e-3
    share = efficiency(reference, GRID, gains[2], 1.0)
    assert share is not None and np.isclose(share, 1.0, atol=1e-6)
    assert efficiency(reference, GRID, 0.0, 0.0) is None
    assert efficiency(reference, GRID, 0.0, -0.01) is None  # an estimated KL may fall below 0
    assert at_kl(reference, GRID, 1e6).kl.mean() < 20  # no more than can be reached


def test_refusals_say_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match="beta"):
        optimum(FOUR, [[1, 0]], 0.0)
    with pytest.raises(ConfigError, match="3 objectives"):
        optimum(FOUR, [[1, 0, 0]])
    with pytest.raises(ConfigError, match="kl"):
        at_kl(FOUR, [[1, 0]], -1.0)
    with pytest.raises(ConfigError, match=r"\[N, K\]"):
        sample_reference(np.zeros((0, 6)))
    with pytest.raises(ConfigError, match="sum to 1"):
        Reference(np.zeros((2, 2)), np.array([0.5, 0.6]))
    with pytest.raises(ConfigError, match=r"\[M, K\]"):
        Reference(np.zeros((2, 2)), np.array([1.0]))
