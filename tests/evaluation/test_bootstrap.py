"""Resampling of prompts: seeded, paired, and as wide as theory says."""

from __future__ import annotations

import numpy as np
import pytest

from pluralign.errors import ConfigError
from pluralign.evaluation import bootstrap


def test_draws_keep_the_number_of_prompts_and_the_seed() -> None:
    drawn = bootstrap.draws(7, 50, seed=3)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert np.array_equal(drawn, bootstrap.draws(7, 50, seed=3))
    assert not np.array_equal(drawn, bootstrap.draws(7, 50, seed=4))
    with pytest.raises(ConfigError, match="at least one prompt"):
        bootstrap.draws(0, 5)


def test_means_are_over_replies_and_skip_missing_values() -> None:
    values = [np.array([[1.0], [3.0], [8.0]]), np.array([[np.nan], [5.0]])]
    tally = bootstrap.Tally.of([np.array([0, 0, 1]), np.array([0, 1])], values, 2)
    assert tally.means()[0, :, 0].tolist() == [4.0, 5.0]
    # prompt 0 twice: (1+3+1+3)/4 = 2, and nothing known in cell 1
    drawn = tally.means(np.array([[2.0, 0.0]]))[0, :, 0]
    assert drawn[0] == 2.0
    assert np.isnan(drawn[1])


def test_replicates_equal_averaging_the_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    prompts, values = rng.integers(0, 5, 40), rng.normal(size=(40, 2))
    drawn = bootstrap.draws(5, 6, seed=1)
    found = bootstrap.Tally.of([prompts], [values], 5).means(drawn)
    for replicate, counts in enumerate(drawn):
        repeated = np.repeat(values, counts[prompts].astype(int), axis=0)
        np.testing.assert_allclose(found[replicate, 0], repeated.mean(axis=0))


def test_pairing_cancels_what_policy_and_base_share() -> None:
    rng = np.random.default_rng(0)
    prompts = np.arange(60)
    easy = rng.normal(size=(60, 1)) * 10
    tally = bootstrap.Tally.of([prompts, prompts], [easy + 1, easy], 60)
    means = tally.means(bootstrap.draws(60, 200))[..., 0]
    np.testing.assert_allclose(means[:, 0] - means[:, 1], 1.0)
    assert np.ptp(bootstrap.interval(means[:, 0])) > 2


def test_intervals_are_about_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(5).normal(size=400)
    low, high = bootstrap.mean_interval(values, [f"p{i}" for i in range(400)], num_replicates=2000)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert low < values.mean() < high


def test_replies_to_one_prompt_are_not_counted_as_independent() -> None:
    values = np.repeat(np.random.default_rng(5).normal(size=20), 50)
    prompts = [f"p{i}" for i in range(20) for _ in range(50)]
    low, high = bootstrap.mean_interval(values, prompts, num_replicates=1000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20**0.5, rel=0.2)


def test_undefined_intervals_are_nan_not_an_error() -> None:
    assert np.isnan(bootstrap.mean_interval(np.ones(3), ["a", "a", "a"])).all()
    replicates = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, 1.0]])
    found = bootstrap.interval(replicates)
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1]).all()
