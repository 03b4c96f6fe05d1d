"""Fronts and hypervolume: golden values of methods.md H and the identities of E4."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pluralign.errors import ConfigError
from pluralign.evaluation import front, hypervolume

GOLDEN = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 0.5]])
unit = st.floats(0, 1, allow_nan=False, width=32).map(lambda value: round(value, 4))


def clouds(axes: int, most: int = 6) -> st.SearchStrategy[np.ndarray]:
    return st.integers(1, most).flatmap(lambda num: arrays(np.float64, (num, axes), elements=unit))


def by_inclusion_and_exclusion(points: np.ndarray) -> float:
    """The volume of a union of boxes, from the volumes of all their intersections."""
    subsets = [
        subset for size in range(1, len(points) + 1) for subset in itertools.combinations(range(len(points)), size)
    ]
    return sum((-1) ** (len(subset) + 1) * points[list(subset)].min(axis=0).prod() for subset in subsets)


def test_golden_hypervolume() -> None:
    assert hypervolume.hypervolume(GOLDEN, np.zeros(2)) == pytest.approx(5.5)
    assert hypervolume.hypervolume(GOLDEN[:, :1], np.zeros(1)) == 3.0
    assert hypervolume.hypervolume(np.array([[2.0, 3.0, 4.0]]), np.ones(3)) == pytest.approx(6.0)


def test_points_below_the_reference_count_nothing() -> None:
    assert hypervolume.hypervolume(GOLDEN, np.full(2, 3.0)) == 0.0
    assert hypervolume.hypervolume_sampled(GOLDEN, np.full(2, 3.0)) == (0.0, 0.0)


@pytest.mark.parametrize("axes", [1, 2, 3, 4, 6])
def test_slicing_agrees_with_inclusion_and_exclusion(axes: int) -> None:
    @settings(max_examples=40, deadline=None)
    @given(clouds(axes))
    def agrees(points: np.ndarray) -> None:
        found = hypervolume.hypervolume(points, np.zeros(axes))
        assert found == pytest.approx(by_inclusion_and_exclusion(points), abs=1e-9)

    agrees()


@settings(max_examples=60, deadline=None)
@given(clouds(4), arrays(np.float64, (1, 4), elements=unit), st.randoms())
def test_hypervolume_grows_with_points_and_ignores_dominated_ones_and_order(points, extra, random) -> None:
    value = hypervolume.hypervolume(points, np.zeros(4))
    order = list(range(len(points)))
    random.shuffle(order)
    assert hypervolume.hypervolume(np.concatenate([points, extra]), np.zeros(4)) >= value - 1e-12
    assert hypervolume.hypervolume(np.concatenate([points, points[:1] * 0.5]), np.zeros(4)) == pytest.approx(value)
    assert hypervolume.hypervolume(points[order], np.zeros(4)) == pytest.approx(value)
    assert hypervolume.hypervolume(points[:, ::-1], np.zeros(4)) == pytest.approx(value)


def test_sampled_hypervolume_is_within_its_error_and_seeded() -> None:
    points = np.random.default_rng(3).random((20, 6))
    exact = hypervolume.hypervolume(points, np.zeros(6))
    value, error = hypervolume.hypervolume_sampled(points, np.zeros(6), seed=1)
    assert abs(value - exact) < 4 * error < 0.05 * exact
    assert (value, error) == hypervolume.hypervolume_sampled(points, np.zeros(6), seed=1)
    with pytest.raises(ConfigError, match="at least 2"):
        hypervolume.hypervolume_sampled(points, np.zeros(6), num_samples=1)


def test_the_share_scales_each_objective_to_its_own_range() -> None:
    low, high = np.zeros(2), np.array([4.0, 4.0])
    assert hypervolume.hypervolume_share(GOLDEN, low, high) == (pytest.approx(1000 * 5.5 / 16), 0.0)
    stretched = GOLDEN * [1.0, 25.0] + [0.0, -7.0]
    assert hypervolume.hypervolume_share(stretched, np.array([0.0, -7.0]), np.array([4.0, 93.0]))[0] == pytest.approx(
        1000 * 5.5 / 16
    )
    assert hypervolume.hypervolume_share(np.full((1, 2), 9.0), low, high)[0] == pytest.approx(1000.0)


def test_the_share_is_sampled_where_exact_is_too_long() -> None:
    points = np.random.default_rng(0).random((5, 7))
    value, error = hypervolume.hypervolume_share(points, np.zeros(7), np.ones(7))
    assert error > 0
    assert value == pytest.approx(1000 * hypervolume.hypervolume(points, np.zeros(7)), abs=5 * error)


def test_non_dominated_by_hand() -> None:
    points = np.array([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0], [2.0, 2.0], [0.0, 3.0]])
    assert front.non_dominated(points).tolist() == [True, True, False, True, False]


@given(clouds(3))
def test_the_kept_points_do_not_dominate_each_other_and_cover_the_rest(points: np.ndarray) -> None:
    kept = points[front.non_dominated(points)]
    assert len(kept)
    assert front.non_dominated(kept).all()
    assert front.coverage(kept, points) == 1.0


def test_distances_by_hand() -> None:
    target, obtained = np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([[1.0, 0.0]])
    assert front.igd(obtained, target) == pytest.approx((1 + 5**0.5) / 2)
    assert front.igd_plus(obtained, target) == pytest.approx((1 + 2) / 2)
    assert front.igd_plus(np.array([[3.0, 3.0]]), target) == 0.0


@given(clouds(3))
def test_a_front_is_at_no_distance_from_itself(points: np.ndarray) -> None:
    assert front.igd(points, points) == front.igd_plus(points, points) == 0.0
    assert front.igd_plus(points, points + 0.1) <= front.igd(points, points + 0.1) + 1e-12


def test_r2_spacing_and_coverage_by_hand() -> None:
    weights, ideal = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([3.0, 3.0])
    # w=(1,0): min(3-1, 3-2, 3-3) = 0; w=(.5,.5): max gaps (2, 1, 2.5)/2, the least is .5: mean .25
    assert front.r2(GOLDEN, weights, ideal) == pytest.approx(0.25)
    # L1 gaps to the nearest: 2, 2, 2.5: population deviation .235702
    assert front.spacing(GOLDEN) == pytest.approx(0.2357023)
    assert np.isnan(front.spacing(GOLDEN[:1]))
    assert front.coverage(GOLDEN, np.array([[1.0, 1.0], [3.0, 3.0]])) == 0.5


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[np.nan, 1.0]], [[np.inf]]])
def test_points_that_are_no_front_are_refused(bad: list) -> None:
    with pytest.raises(ConfigError, match="finite array"):
        front.non_dominated(np.array(bad))
