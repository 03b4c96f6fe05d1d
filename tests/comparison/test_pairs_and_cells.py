"""Cells on the disk, paired differences by hand, and the measures of the papers' comparisons."""

from pathlib import Path

import numpy as np
import pytest

import tiny
from pluralign.comparison import kept_cells
from pluralign.comparison.named.clp_summaries import ratio, value
from pluralign.comparison.named.measures import distinct, win_picture, win_rate, worst_of_many
from pluralign.comparison.pairs import difference
from pluralign.comparison.row import beside, few_weights, its_own, its_point
from pluralign.comparison.wins import by_wins
from pluralign.data.condition import from_vector, one_hot
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.errors import DataError
from pluralign.evaluation.samples import Cell
from pluralign.steering.front import FrontSteering
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering

KIND, SHORT = Objective("kind", low=0, high=4), Objective("long", low=0, high=4, direction="lower")


def cell(weights: tuple[float, float], *scores: tuple[float, float]) -> Cell:
    prompts = [f"p{number % 2}" for number in range(len(scores))]
    return Cell.of(weights, prompts, ["a b"] * len(scores), np.array(scores), logratio=np.full(len(scores), 0.5))


OURS = (cell((1, 0), (3, 1), (4, 1)), cell((0, 1), (0, 0), (1, 1)), cell((0.5, 0.5), (2, 2), (2, 2)))
THEIRS = (cell((0, 1), (0, 2), (1, 2)), cell((1, 0), (2, 1), (2, 1)))


def test_cells_come_back_as_they_were_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    missing = Cell.of((1, 0), ["p"], ["é"], np.array([[np.nan, 1.0]]), finished=[False])
    kept_cells.write(tmp_path / "cells.json.gz", (*OURS, missing))
    again = kept_cells.read(tmp_path / "cells.json.gz")
    assert again[3].texts == ("é",) and np.isnan(again[3].scores[0, 0]) and not again[3].finished[0]
    for ours, theirs in zip(OURS, again, strict=False):
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        assert ours.prompts == theirs.prompts
    (tmp_path / "cells.json.gz").write_bytes(b"no cells")
    with pytest.raises(DataError, match="remove it"):
        kept_cells.read(tmp_path / "cells.json.gz")


def test_a_difference_is_taken_on_common_weights_and_turned_where_less_is_better(tmp_path: Path) -> None:
    paths = [tmp_path / "ours.gz", tmp_path / "theirs.gz"]
    for path, cells in zip(paths, (OURS, THEIRS), strict=True):
        kept_cells.write(path, cells)
    found = difference(paths[:1], paths[1:], (KIND, SHORT), resamples=50)
    assert found is not None and found.num_weights == 2
    # kind, asked alone: 3.5 - 2 = 1.5; long (less is better), asked alone: -(0.5 - 2) = 1.5; both weights one-hot
    assert found.gain is not None
    assert found.gain[0] == pytest.approx(1.5) and found.utility[0] == pytest.approx(1.5)
    assert found.gain[1] <= 1.5 <= found.gain[2]
    swapped = difference(paths[1:], paths[:1], (KIND, SHORT), resamples=50)
    assert swapped is not None and swapped.utility[0] == pytest.approx(-1.5)
    same = difference(paths[:1], paths[:1], (KIND, SHORT), resamples=50)
    assert same is not None and same.utility == (0.0, 0.0, 0.0) and same.num_weights == 3


def test_the_base_stands_beside_its_own_grid_or_as_one_cell() -> None:
    assert beside(OURS, OURS) == OURS
    (merged,) = beside(THEIRS, OURS)
    assert len(merged.texts) == 6 and merged.scores.shape == (6, 2)


@pytest.mark.parametrize(("num", "rows"), [(1, 1), (2, 3), (3, 5), (6, 9)])
def test_few_weights_are_the_one_hots_the_uniform_one_and_two_pairs(num: int, rows: int) -> None:
    found = few_weights(num)
    assert found.shape == (rows, num)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_array_equal(found[:num], np.eye(num))


def test_win_rates_count_ties_and_swapping_negates() -> None:
    ours, theirs = np.array([1.0, 2, 3, np.nan]), np.array([0.0, 2, 1, 1])
    found = win_rate(ours, theirs, ["a", "a", "b", "b"])
    assert found["win"] == pytest.approx(2 / 3) and found["ties"] == pytest.approx(1 / 3)
    assert found["wins"] == pytest.approx(2 / 3) and found["losses"] == 0.0
    assert win_rate(theirs, ours, ["a", "a", "b", "b"])["win"] == pytest.approx(-2 / 3)
    assert np.isnan(win_rate(ours[3:], theirs[3:], ["b"])["win"])  # type: ignore[arg-type]


def test_value_of_a_weight_and_its_ratio_to_soups() -> None:
    # kind 3.5/4 under (1, 0): .99 · .875 - .01 · .5; long 0.5, so 1 - .125 under (0, 1)
    found = value(OURS[:2], (KIND, SHORT))
    np.testing.assert_allclose(found, [0.99 * 0.875 - 0.005, 0.99 * 0.875 - 0.005])
    np.testing.assert_allclose(ratio(np.array([0.5, 1.0]), np.array([1.0, 0.5])), [0.5, -1.0])
    assert np.isnan(ratio(np.array([0.5]), np.array([-1.0]))).all()


def test_toxicity_is_the_worst_of_many_and_diversity_per_prompt() -> None:
    found = worst_of_many(np.array([0.1, 0.9, 0.2, 0.3]), ["a", "a", "b", "b"])
    assert found == {"average_maximum": pytest.approx(0.6), "probability": pytest.approx(0.5)}
    assert distinct(["x y", "x y", "p q"], ["a", "a", "b"], 1) == pytest.approx((2 / 4 + 2 / 2) / 2)


def test_win_rates_are_drawn_as_a_radar_plot_or_as_bars() -> None:
    rates = {"CMPO": {name: {"win": 0.5, "interval": [0.25, 0.75]} for name in ("kind", "long", "warm")}}
    radar, bars = win_picture(rates, ("kind", "long", "warm")), win_picture(rates, ("kind", "long"))
    assert radar[:4] == bars[:4] == b"\x89PNG" and radar != bars
    assert bars != win_picture({"CMPO": rates["CMPO"] | {"kind": {"win": 0.0, "interval": [0, 0]}}}, ("kind", "long"))


def test_replies_are_rated_by_their_wins() -> None:
    said = (Comparison(0, 1, "first", "kind"), Comparison(1, 2, "tie", "kind"), Comparison(0, 1, "first", "long"))
    record = Record(user("hi"), tuple(map(Response, ("a", "b", "c"))), said)
    scores = [reply.scores for reply in by_wins(record, (KIND, SHORT)).responses]
    # on "long" less is better: the winner is rated at the low end; "c" was never compared on it
    assert scores == [{"kind": 4, "long": 0}, {"kind": 0, "long": 4}, {"kind": 2}]


def test_what_policies_are_asked_that_cannot_be_asked_for_everything() -> None:
    front = tiny.policy(FrontSteering(points=((0.5, 0.25, 0.25),), where="head"))
    for weights in np.eye(3):
        asked = its_point(front, weights)
        assert asked == from_vector([0.5, 0.25, 0.25], tiny.OBJECTIVES) and front.check(asked) == asked
    single = tiny.policy(PluralSteering(rank=2), objectives=tiny.OBJECTIVES[1:2])
    assert its_own(single, np.eye(3)[1]) == one_hot("brief") == single.check(one_hot("brief"))
    plain = tiny.policy(NoSteering(shared_where="head"), objectives=tiny.OBJECTIVES[1:2])
    assert its_own(plain, np.eye(3)[1]) is None
