"""Grids and draws on the simplex."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from pluralign.data.simplex import REPORT_DRAWS_6, dirichlet, draw, lattice, report_grid
from pluralign.errors import ConfigError


def test_the_report_grid_of_six() -> None:
    grid = report_grid(6)
    assert grid.shape == (32, 6) and grid.dtype == np.float64
    assert (grid[:6] == np.eye(6)).all() and (grid[6] == 1 / 6).all()
    assert ((grid[7:22] == 0.5).sum(1) == 2).all() and len(np.unique(grid[7:22], axis=0)) == 15
    assert (grid[22:] == np.array(REPORT_DRAWS_6)).all()
    assert np.abs(grid.sum(1) - 1).max() < 1e-12 and (grid >= 0).all()


@pytest.mark.parametrize(("k", "num"), [(1, 1), (2, 13), (3, 17), (4, 21), (9, 56)])
def test_report_grids_of_other_sizes(k: int, num: int) -> None:
    grid = report_grid(k)
    assert grid.shape == (num, k) and np.allclose(grid.sum(1), 1)
    assert (report_grid(k) == grid).all()
    assert k == 1 or not np.array_equal(report_grid(k, seed=1), grid)


def test_lattice() -> None:
    assert lattice(2, 2).tolist() == [[1, 0], [0.5, 0.5], [0, 1]]
    assert lattice(3, 2).tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    for k, steps in [(1, 3), (4, 5), (6, 4)]:
        grid = lattice(k, steps)
        assert len(grid) == comb(steps + k - 1, k - 1) == len(np.unique(grid, axis=0))
        assert np.allclose(grid.sum(1), 1) and np.allclose(grid * steps, np.round(grid * steps))


def test_draws_have_the_stated_mixture_and_stay_active() -> None:
    active = np.array([True, False, True, True, False, True])
    rows = draw(np.random.default_rng(0), 40_000, 6, active)
    assert (rows[:, ~active] == 0).all() and np.allclose(rows.sum(1), 1) and (rows >= 0).all()
    assert np.allclose(rows.mean(0)[active], 0.25, atol=0.01)
    one_hot = (rows.max(1) == 1).mean()
    assert abs(one_hot - (0.25 + 0.3 * 4 / 15)) < 0.01  # singles are 4 of the 15 subsets
    uniform_pairs = ((rows == 0.5).sum(1) == 2).mean()
    assert abs(uniform_pairs - 0.3 * 6 / 15) < 0.01


def test_draws_repeat_with_the_seed_and_differ_without() -> None:
    first, again, other = (draw(np.random.default_rng(seed), 8, 3) for seed in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()


def test_dirichlet_concentrates_with_alpha() -> None:
    rng = np.random.default_rng(0)
    assert dirichlet(rng, 1000, 3, 100.0).std(0).max() < 0.05 < dirichlet(rng, 1000, 3, 0.1).std(0).min()
    assert (dirichlet(rng, 5, 3, active=np.array([False, True, False])) == [0, 1, 0]).all()


@pytest.mark.parametrize("active", [np.zeros(3, bool), np.ones(2, bool), np.ones(3)])
def test_draws_refuse_a_wrong_mask(active: np.ndarray) -> None:
    with pytest.raises(ConfigError):
        draw(np.random.default_rng(0), 1, 3, active)


def test_sizes_below_one_are_refused() -> None:
    for call in (lambda: report_grid(0), lambda: lattice(2, 0), lambda: dirichlet(np.random.default_rng(0), 1, 2, 0)):
        with pytest.raises(ConfigError):
            call()
