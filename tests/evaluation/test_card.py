"""The report card: hand-made cells, an optimal policy, missing values, and the lab's own yardstick."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pluralign.data.objective import Objective
from pluralign.data.simplex import report_grid
from pluralign.errors import ConfigError, DataError
from pluralign.evaluation.card import Card, report_card
from pluralign.evaluation.rows import KEYS
from pluralign.evaluation.samples import Cell, Samples
from pluralign.evaluation.utility import Yardstick
from pluralign.lab.optimum import efficiency, grammar_reference, optimum, sample_reference
from pluralign.lab.scoring import OBJECTIVES as LAB_OBJECTIVES

PAIR = (Objective("kind", low=0, high=4), Objective("brief", low=0, high=10))


def cell(weights, scores, **known) -> Cell:
    prompts = [f"p{place % 2}" for place in range(len(scores))]
    texts = [f"reply {place}" for place in range(len(scores))]
    return Cell.of(weights, prompts, texts, np.array(scores, dtype=float), **known)


def by_hand(**changes) -> Samples:
    values = {
        "objectives": PAIR,
        "cells": (
            cell([1, 0], [[3, 2], [1, 4]], fluent=[1, 0], logratio=[1.0, 2.0], lengths=[3, 5]),
            cell([0, 1], [[1, 8], [1, 8]], fluent=[1, 1], logratio=[0.5, 0.5], lengths=[2, 2]),
            cell([0.5, 0.5], [[2, 6], [2, 4]], fluent=[1, 1], logratio=[1.0, 1.0], lengths=[4, 4]),
        ),
        "base": (cell([0, 0], [[0, 2], [2, 4]], fluent=[1, 0], lengths=[3, 3]),),
    }
    return Samples(**{**values, **changes})


def test_the_ten_numbers_by_hand() -> None:
    found = report_card(by_hand(), resamples=20).policy.values
    # means: (2, 3), (1, 8), (2, 5); base (1, 3)
    assert found["gain_mean"] == pytest.approx((1 + 5) / 2)
    assert found["gain_min"] == pytest.approx(1)
    # kind: λ ranks 3 1 2 against s ranks 2.5 1 2.5: .866025; brief: 1
    assert found["spearman_mean"] == pytest.approx((0.75**0.5 + 1) / 2)
    assert found["utility_gain"] == pytest.approx((1 + 5 + 1.5) / 3)
    # boxes in units of (4, 10): (.5, .5) and (.25, .8): .25 + .25 * .3
    assert found["hypervolume"] == pytest.approx(1000 * 0.325)
    assert found["fluency_mean"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["fluency_min"] == 0.5
    assert found["kl_mean"] == pytest.approx((1.5 + 0.5 + 1.0) / 3)


def test_without_a_yardstick_its_rows_are_null_with_a_reason() -> None:
    card = report_card(by_hand(), resamples=20)
    for row in (card.rows["optimum"], card.rows["optimum_conservative"]):
        assert set(row.values.values()) == {None}
        assert "only in the lab" in row.reasons["gain_mean"]
    assert "only in the lab" in card.policy.reasons["efficiency"]
    assert "only in the lab" in card.policy.reasons["regret"]
    assert "no distance" in card.rows["base"].reasons["efficiency"]


def test_a_base_that_is_drawn_once_has_no_rank_correlation() -> None:
    row = report_card(by_hand(), resamples=20).rows["base"]
    assert (row.values["gain_mean"], row.values["kl_mean"], row.values["utility_gain"]) == (0.0, 0.0, 0.0)
    assert row.values["spearman_mean"] is None
    assert row.reasons["spearman_mean"] == "the score of kind, brief is the same under every weight"


def test_constant_scores_are_null_with_the_objectives_name() -> None:
    cells = [dataclasses.replace(one, scores=one.scores * [1, 0] + [0, 5]) for one in by_hand().cells]
    card = report_card(by_hand(cells=tuple(cells)), resamples=20)
    assert card.policy.values["spearman_mean"] is None
    assert card.policy.reasons["spearman_mean"] == "the score of brief is the same under every weight"
    assert card.policy.intervals["spearman_mean"] is None
    assert [row["spearman"] is None for row in card.tables["per_objective"]] == [False, True]
    assert "brief" in card.tables["per_objective"][1]["reasons"]["spearman"]
    json.dumps(card.to_json(), allow_nan=False)


def test_unknown_fluency_and_distance_are_null_with_reasons() -> None:
    blank = [
        dataclasses.replace(one, fluent=one.fluent * np.nan, logratio=one.logratio * np.nan) for one in by_hand().cells
    ]
    card = report_card(by_hand(cells=tuple(blank)), resamples=20)
    assert [key for key in KEYS if card.policy.values[key] is None] == [
        "fluency_mean", "fluency_min", "kl_mean", "efficiency", "regret",
    ]  # fmt: skip
    assert "well formed" in card.policy.reasons["fluency_min"]
    assert "log-probabilities" in card.policy.reasons["kl_mean"]
    json.dumps(card.to_json(), allow_nan=False)


def test_a_weight_without_any_score_is_null_not_nan() -> None:
    first, *others = by_hand().cells
    lost = dataclasses.replace(first, scores=first.scores * np.nan)
    card = report_card(by_hand(cells=(lost, *others)), resamples=20)
    assert card.policy.values["gain_mean"] is None
    assert "no scored reply" in card.policy.reasons["hypervolume"]
    json.dumps(card.to_json(), allow_nan=False)


def test_lower_is_better_is_turned() -> None:
    turned = (PAIR[0], dataclasses.replace(PAIR[1], direction="lower"))
    cells = [dataclasses.replace(one, scores=one.scores * [1, -1] + [0, 10]) for one in by_hand().cells]
    base = [dataclasses.replace(one, scores=one.scores * [1, -1] + [0, 10]) for one in by_hand().base]
    same = report_card(by_hand(objectives=turned, cells=tuple(cells), base=tuple(base)), resamples=20)
    assert same.policy.values == pytest.approx(report_card(by_hand(), resamples=20).policy.values)


def test_permuting_objectives_permutes_the_tables_and_keeps_the_card() -> None:
    def swap(one: Cell) -> Cell:
        return dataclasses.replace(one, weights=one.weights[::-1], scores=one.scores[:, ::-1])

    given = by_hand()
    swapped = Samples(PAIR[::-1], tuple(map(swap, given.cells)), tuple(map(swap, given.base)))
    before, after = report_card(given, resamples=20), report_card(swapped, resamples=20)
    assert after.policy.values == pytest.approx(before.policy.values)
    assert after.tables["per_objective"][::-1] == before.tables["per_objective"]


def test_one_prompt_has_no_intervals_and_the_same_seed_the_same_ones() -> None:
    alone = [
        dataclasses.replace(one, prompts=("p0",) * len(one.prompts)) for one in (*by_hand().cells, *by_hand().base)
    ]
    card = report_card(by_hand(cells=tuple(alone[:3]), base=tuple(alone[3:])))
    assert set(card.policy.intervals.values()) == {None}
    assert report_card(by_hand(), resamples=20, seed=1) == report_card(by_hand(), resamples=20, seed=1)


def test_tables_by_hand() -> None:
    tables = report_card(by_hand(), resamples=20).tables
    assert tables["cross_matrix"]["scores"] == [[2, 3], [1, 8]]
    assert tables["cross_matrix"]["gains"] == [[1, 0], [0, 5]]
    assert tables["cross_matrix"]["num_right"] == 2
    row = tables["per_weight"][0]
    assert (row["weights"], row["num_replies"], row["length"], row["fluency"]) == ({"kind": 1.0}, 2, 4.0, 0.5)
    (sweep,) = tables["sweeps"]
    assert sweep["share"] == [0.0, 0.5, 1.0]
    assert sweep["scores"] == {"kind": [1.0, 2.0, 2.0], "brief": [8.0, 5.0, 3.0]}
    assert sweep["shape"]["brief"] == {"range": 5.0, "largest_drop": 0.0, "inversions": 0.0}


@pytest.mark.parametrize(
    "wrong", [{"base": ()}, {"cells": ()}, {"objectives": PAIR[:1]}, {"objectives": (PAIR[0],) * 2}]
)
def test_samples_that_do_not_fit_together_are_refused(wrong) -> None:
    with pytest.raises(DataError):
        by_hand(**wrong)


def test_cells_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(DataError, match="logratio"):
        cell([1, 0], [[1, 2]], logratio=[1.0, 2.0])
    with pytest.raises(DataError, match="at least one reply"):
        cell([1, 0], np.zeros((0, 2)))
    with pytest.raises(ConfigError, match="no one-hot"):
        report_card(by_hand(cells=by_hand().cells[:1]))


def test_a_sampled_optimum_is_recognised_as_optimal(optimal_samples, four_replies) -> None:
    card = report_card(optimal_samples, four_replies, resamples=100)
    best = card.rows["optimum"].values
    assert card.policy.values["efficiency"] == pytest.approx(1.0, abs=0.06)
    assert card.policy.values["regret"] == pytest.approx(0.0, abs=0.02)
    for key in ("gain_mean", "gain_min", "utility_gain", "kl_mean"):
        assert card.policy.values[key] == pytest.approx(best[key], abs=0.05)
    assert card.policy.values["hypervolume"] == pytest.approx(best["hypervolume"], rel=0.06)
    assert best["efficiency"] == pytest.approx(1.0, abs=2e-3)
    assert best["regret"] == pytest.approx(0.0, abs=1e-9)
    assert card.rows["optimum_conservative"].values["regret"] > 0
    assert card.rows["base"].values["regret"] > card.rows["optimum_conservative"].values["regret"]


def test_every_interval_holds_its_estimate(optimal_samples, four_replies) -> None:
    card = report_card(optimal_samples, four_replies, resamples=100)
    for name in ("policy", "base"):
        row = card.rows[name]
        for key in KEYS:
            if row.values[key] is not None:
                low, high = row.intervals[key]
                assert low - 1e-12 <= row.values[key] <= high + 1e-12, (name, key)
    assert set(card.rows["optimum"].intervals.values()) == {None}


def test_a_card_survives_json(optimal_samples, four_replies) -> None:
    card = report_card(optimal_samples, four_replies, resamples=20)
    text = json.dumps(card.to_json(), allow_nan=False)
    again = Card.from_json(json.loads(text))
    assert again.to_json() == json.loads(text)
    assert again.rows == card.rows


def test_the_labs_yardstick_agrees_with_the_labs_own_efficiency() -> None:
    reference, grid = grammar_reference(), report_grid(6)
    yardstick: Yardstick = reference
    found = optimum(reference, grid, 0.3)
    cells = tuple(
        Cell.of(weights, ["p"], ["text"], scores[None], [1.0], [kl])
        for weights, scores, kl in zip(grid, found.scores, found.kl, strict=True)
    )
    base = (Cell.of(np.zeros(6), ["p"], ["text"], reference.base[None], [1.0]),)
    card = report_card(Samples(LAB_OBJECTIVES, cells, base), yardstick)
    assert card.policy.values["efficiency"] == pytest.approx(1.0, abs=2e-3)
    gain, kl = 0.8, 1.5
    cells = tuple(dataclasses.replace(one, logratio=np.array([kl])) for one in cells)
    scaled = tuple(
        dataclasses.replace(one, scores=reference.base + (one.scores - reference.base) * gain) for one in cells
    )
    values = report_card(Samples(LAB_OBJECTIVES, scaled, base), yardstick).policy.values
    assert values["efficiency"] == pytest.approx(efficiency(reference, grid, values["utility_gain"], kl), abs=2e-3)
    # The grammar's own optimum is always well formed, and near the published row of the language model's (lab.md §3).
    conservative = card.rows["optimum_conservative"].values
    assert conservative["fluency_min"] == pytest.approx(1.0)
    assert conservative["gain_mean"] == pytest.approx(2.41, abs=0.1)
    assert conservative["spearman_mean"] == pytest.approx(0.85, abs=0.02)
    assert conservative["hypervolume"] == pytest.approx(8.0, abs=1.0)


def test_an_optimum_over_samples_counts_ill_formed_replies_as_not_fluent() -> None:
    reference = sample_reference([[0, 0], [0, 0], [4, 0], [0, 4]])
    found = reference.optimum(np.array([[1.0, 0.0], [0.0, 0.0]]), 1.0)
    assert found.fluency == pytest.approx([1 - 2 / (3 + np.exp(4)), 0.5])
