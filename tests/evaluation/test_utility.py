"""Utility, efficiency and regret against a world whose optimum is known in closed form (methods.md F and H)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pluralign.evaluation import utility

WEIGHTS = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])


def test_utility_by_hand() -> None:
    scores = np.array([[2.0, 9.0], [4.0, 2.0], [7.0, 1.0]])
    assert utility.utility(WEIGHTS, scores).tolist() == [2.0, 3.0, 1.0]
    # gains over the base (1, 1): 1, 2, 0
    assert utility.utility_gain(WEIGHTS, scores, np.ones(2)) == pytest.approx(1.0)


def test_golden_regret_of_the_reference(four_replies) -> None:
    optimum = four_replies.optimum(WEIGHTS, 0.5)
    np.testing.assert_allclose(optimum.value, [0.728677, 0.531427, 0.635707], atol=1e-6)
    np.testing.assert_allclose(optimum.kl, [0.230211, 0.014559, 0.283545], atol=1e-6)
    middle = WEIGHTS[1:2]
    reference = utility.regret(middle, four_replies.base[None], np.zeros(1), optimum.value[1:2], 0.5)
    assert reference == pytest.approx(0.006427, abs=1e-6)


def test_the_optimum_has_no_regret_and_full_efficiency(four_replies) -> None:
    optimum = four_replies.optimum(WEIGHTS, 0.25)
    assert utility.regret(WEIGHTS, optimum.scores, optimum.kl, optimum.value, 0.25) == pytest.approx(0.0, abs=1e-9)
    curve = utility.GainCurve.of(four_replies, WEIGHTS)
    gain = utility.utility_gain(WEIGHTS, optimum.scores, four_replies.base)
    assert utility.efficiency(gain, optimum.kl.mean(), curve) == pytest.approx(1.0, abs=2e-3)
    assert utility.efficiency(gain / 2, optimum.kl.mean(), curve) == pytest.approx(0.5, abs=1e-3)


@given(arrays(np.float64, 4, elements=st.floats(0.01, 1)), st.floats(0.1, 2))
def test_no_policy_beats_the_optimum(four_replies, shares: np.ndarray, beta_r: float) -> None:
    policy = shares / shares.sum()
    kl = np.full(3, (policy * np.log(policy / four_replies.reference)).sum())
    scores = np.tile(policy @ four_replies.rewards, (3, 1))
    optimum = four_replies.optimum(WEIGHTS, beta_r)
    assert utility.regret(WEIGHTS, scores, kl, optimum.value, beta_r) >= -1e-9


def test_efficiency_is_undefined_at_the_base_and_saturates_beyond_the_curve(four_replies) -> None:
    curve = utility.GainCurve.of(four_replies, WEIGHTS)
    found = utility.efficiency(np.array([0.1, 0.1, 0.1, 0.1]), np.array([0.0, -0.1, 0.01, np.nan]), curve)
    assert np.isnan(found).all()
    # The best single replies earn 1, .75 and 1; the base (.58, .47) earns .58, .525 and .47.
    best = np.mean([1 - 0.58, 0.75 - 0.525, 1 - 0.47])
    assert utility.efficiency(np.array(0.1), np.array(99.0), curve) == pytest.approx(0.1 / best, abs=2e-3)
    assert curve.at(np.array(0.0)) == 0.0
    assert curve.at(np.array(-1.0)) == 0.0
    assert (np.diff(curve.kl) >= 0).all()
    assert (np.diff(curve.gain) >= -1e-9).all()
