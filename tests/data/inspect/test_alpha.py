"""Krippendorff's alpha: his own example, numbers by hand, and laws."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.inspect import alpha as module
from pluralign.data.inspect.alpha import LEVELS, Coincidences


def of(units: list[list[float]], shift: float = 0.0) -> Coincidences:
    found = Coincidences(shift)
    for values in units:
        found.add(values)
    return found


# Four observers, twelve units, from Krippendorff's "Computing Krippendorff's alpha-reliability" (2011), missing ones left out.
EXAMPLE = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_published_example(level: module.Level, published: float) -> None:
    found = of([[float(value) for value in unit] for unit in EXAMPLE])
    assert found.alpha(level) == pytest.approx(published, abs=5e-4)
    assert (found.units, found.values) == (11, 40)


def test_two_units_by_hand() -> None:
    """Units (0, 1) and (1, 1): o_01 = o_10 = 1, o_11 = 2, n_0 = 1, n_1 = 3, n = 4.

    D_o = (1 + 1) / 4; D_e = (1·3 + 3·1) / (4·3) = 1/2; alpha = 1 - (1/2) / (1/2) = 0. Of two pairs one is equal.
    """
    found = of([[0, 1], [1, 1]])
    assert [found.alpha(level) for level in LEVELS] == pytest.approx([0, 0, 0])
    assert found.agreement() == 0.5
    assert found.level() == "nominal"


def test_three_raters_by_hand() -> None:
    """Units (1, 2, 3) and (1, 1): each pair of the first counts 1/2.

    Interval: Σ o δ² = 2·(1 + 1 + 4)/2 = 6; n_1 = 3, n_2 = n_3 = 1, n = 5; Σ n n δ² = 2·(3·1 + 3·4 + 1) = 32;
    alpha = 1 - (5 - 1)·6/32 = 1/4. Nominal: 1 - 4·3/(2·(3 + 3 + 1)) = 1/7.
    """
    found = of([[1, 2, 3], [1, 1]], shift=2.0)
    assert found.alpha("interval") == pytest.approx(0.25)
    assert found.alpha("nominal") == pytest.approx(1 / 7)
    assert found.agreement() == 0.25


def test_ordinal_counts_the_values_between() -> None:
    """Ranks are all that matters: stretching the scale changes interval alpha, and not ordinal."""
    units = [[1, 2], [2, 2], [3, 3], [1, 3]]
    stretched = [[10.0**value for value in unit] for unit in units]
    assert of(units).alpha("ordinal") == pytest.approx(of(stretched).alpha("ordinal"))
    assert of(units).alpha("interval") != pytest.approx(of(stretched).alpha("interval"))


def test_nothing_to_compare_is_unknown_and_not_zero() -> None:
    for found in (of([]), of([[1], [2]]), of([[3, 3], [3, 3, 3]])):
        assert all(math.isnan(found.alpha(level)) for level in LEVELS)
    assert math.isnan(of([[1]]).agreement())


values = st.lists(st.integers(1, 4).map(float), min_size=1, max_size=5)


@given(st.lists(values, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_order_says_nothing(units: list[list[float]], rng: random.Random) -> None:
    mixed = [rng.sample(unit, len(unit)) for unit in rng.sample(units, len(units))]
    for level in LEVELS:
        assert of(mixed).alpha(level) == pytest.approx(of(units).alpha(level), nan_ok=True)


@given(st.lists(values, min_size=1, max_size=12), st.integers(2, 5))
def test_so_many_alike_are_so_many(units: list[list[float]], times: int) -> None:
    one_by_one, at_once = of(units * times), Coincidences()
    for unit in units:
        at_once.add(unit, times)
    for level in LEVELS:
        assert at_once.alpha(level) == pytest.approx(one_by_one.alpha(level), nan_ok=True)
    assert (at_once.units, at_once.values) == (one_by_one.units, one_by_one.values)


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=20).filter(lambda found: len(set(found)) > 1), st.integers(2, 5)
)
def test_perfect_agreement_is_one(truth: list[int], num: int) -> None:
    found = of([[float(value)] * num for value in truth])
    assert [found.alpha(level) for level in LEVELS] == pytest.approx([1, 1, 1])
    assert found.agreement() == 1


def test_chance_is_about_zero() -> None:
    rng = random.Random(0)
    found = of([[rng.randint(1, 5), rng.randint(1, 5), rng.randint(1, 5)] for _ in range(3000)])
    assert [found.alpha(level) for level in LEVELS] == pytest.approx([0, 0, 0], abs=0.03)


def test_many_values_keep_the_interval_alpha() -> None:
    """Beyond 200 values sums do what the table of coincidences did."""
    rng = random.Random(1)
    units = [[truth + rng.gauss(0, 0.3), truth + rng.gauss(0, 0.3)] for truth in (rng.gauss(0, 1) for _ in range(120))]
    moments = of(units)
    assert moments.pairs is None
    assert moments.alpha("interval") == pytest.approx(_by_definition(units))
    assert math.isnan(moments.alpha("ordinal"))
    assert moments.level() == "interval"


def _by_definition(units: list[list[float]]) -> float:
    """1 - D_o / D_e with every pair written out."""
    told = [value for unit in units for value in unit]
    observed = sum(
        (one - two) ** 2 / (len(unit) - 1)
        for unit in units
        for i, one in enumerate(unit)
        for j, two in enumerate(unit)
        if i != j
    )
    expected = sum((one - two) ** 2 for one in told for two in told) / (len(told) - 1)
    return 1 - observed / expected
