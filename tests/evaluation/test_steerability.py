"""Hand-derived numbers and laws of the steerability measures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pluralign.errors import ConfigError
from pluralign.evaluation import steerability

WEIGHTS = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
SCORES = np.array([[1.0, 4.0], [3.0, 0.5], [2.0, 2.0]])
finite = st.floats(-100, 100, allow_nan=False, width=32)


def test_gain_is_the_one_hots_score_over_the_base() -> None:
    found = steerability.gains(WEIGHTS, SCORES, np.array([1.0, 2.0]))
    assert found.tolist() == [2.0, 2.0]


def test_gain_of_a_batch_is_the_gain_of_each() -> None:
    batch = np.stack([SCORES, SCORES * 2, SCORES - 1])
    base = np.array([[1.0, 2.0], [0.0, 1.0], [0.5, 0.5]])
    apart = [steerability.gains(WEIGHTS, scores, row) for scores, row in zip(batch, base, strict=True)]
    assert np.array_equal(steerability.gains(WEIGHTS, batch, base), np.stack(apart))


def test_a_grid_without_a_one_hot_is_refused_by_number() -> None:
    with pytest.raises(ConfigError, match=r"no one-hot for objective number \[1\]"):
        steerability.one_hot_rows(np.array([[1.0, 0.0], [0.5, 0.5]]))


def test_spearman_by_hand() -> None:
    # ranks of λ_0: (1, 3, 2); of s_0: (1, 3, 2): 1. ranks of λ_1: (3, 1, 2); of s_1: (3, 1, 2): 1.
    assert steerability.spearman(WEIGHTS, SCORES) == pytest.approx([1.0, 1.0])
    # λ = 0, 0, 1 with ranks 1.5, 1.5, 3 against s = 5, 1, 9 with ranks 2, 1, 3: 3 / sqrt(3 * 12 / ...) = .866025
    weights = np.array([[0.0], [0.0], [1.0]])
    assert steerability.spearman(weights, np.array([[5.0], [1.0], [9.0]]))[0] == pytest.approx(0.75**0.5)


def test_spearman_of_a_constant_score_is_undefined() -> None:
    scores = SCORES.copy()
    scores[:, 1] = 0.1 + 0.2
    scores[0, 1] = 0.3  # equal but for rounding
    found = steerability.spearman(WEIGHTS, scores)
    assert found[0] == pytest.approx(1.0)
    assert np.isnan(found[1])


@given(arrays(np.float64, (5, 3), elements=st.integers(-50, 50).map(float)))
def test_spearman_ignores_increasing_changes_of_scale_and_order_of_weights(scores: np.ndarray) -> None:
    weights = np.concatenate([np.eye(3), np.full((1, 3), 1 / 3), [[0.5, 0.3, 0.2]]])
    found = steerability.spearman(weights, scores)
    order = np.array([4, 2, 0, 3, 1])
    np.testing.assert_allclose(steerability.spearman(weights, np.cbrt(scores) * 7 + 1), found, atol=1e-9)
    np.testing.assert_allclose(steerability.spearman(weights[order], scores[order]), found, atol=1e-9)
    np.testing.assert_allclose(steerability.spearman(weights, -scores), -found, atol=1e-9)
    assert (np.abs(found[np.isfinite(found)]) <= 1 + 1e-9).all()


def test_cross_matrix_reads_rows_as_asked_and_columns_as_scored() -> None:
    matrix = steerability.cross_matrix(WEIGHTS, SCORES)
    assert matrix.tolist() == [[3.0, 0.5], [1.0, 4.0]]
    assert steerability.diagonal_right(matrix).tolist() == [True, True]
    assert steerability.diagonal_right(matrix[::-1]).tolist() == [False, False]


def test_a_tied_diagonal_is_not_right() -> None:
    assert steerability.diagonal_right(np.ones((3, 3))).tolist() == [False] * 3


def test_selectivity_by_hand() -> None:
    # column 0: 3, 1: (3 - 1) / 1 = 2; column 1: .5, 4: (4 - .5) / 1.75 = 2.
    assert steerability.selectivity(np.array([[3.0, 0.5], [1.0, 4.0]])) == pytest.approx(2.0)
    # columns of the identity of size 3: (1 - 0) / sqrt(2/9) = 2.121320
    assert steerability.selectivity(np.eye(3)) == pytest.approx(2.1213203)
    assert np.isnan(steerability.selectivity(np.ones((2, 2))))


@given(arrays(np.float64, (4, 4), elements=finite), st.permutations(range(4)))
def test_permuting_objectives_permutes_the_matrix_and_keeps_selectivity(matrix: np.ndarray, order: list[int]) -> None:
    permuted = matrix[np.ix_(order, order)]
    assert np.array_equal(steerability.diagonal_right(permuted), steerability.diagonal_right(matrix)[order])
    np.testing.assert_allclose(steerability.selectivity(permuted), steerability.selectivity(matrix), atol=1e-6)


def test_sweeps_by_hand() -> None:
    path = np.array([[0.0, 1.0, 0.9, 2.0], [0.0, 0.0, 0.0, 0.0], [3.0, 2.0, 2.5, 1.0]])
    assert steerability.inversions(path) == pytest.approx([1 / 3, 0.0, 2 / 3])
    assert steerability.largest_drop(path) == pytest.approx([0.1, 0.0, 2.0])
    assert steerability.sweep_range(path) == pytest.approx([2.0, 0.0, 2.0])
    assert np.isnan(steerability.inversions(np.array([1.0])))


@given(arrays(np.float64, 6, elements=finite))
def test_a_sorted_sweep_has_no_inversion_and_never_drops(path: np.ndarray) -> None:
    assert steerability.inversions(np.sort(path)) == 0.0
    assert steerability.largest_drop(np.sort(path)) == 0.0
    assert steerability.largest_drop(path) <= steerability.sweep_range(path)
