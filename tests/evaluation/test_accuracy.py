"""Preference accuracy and its length-only baseline, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pluralign.errors import ConfigError
from pluralign.evaluation import accuracy


def judged(**changes) -> accuracy.Judged:
    values = {
        "objective": "helpful",
        "chosen": np.array([-10.0, -12.0, -5.0, -7.0]),
        "rejected": np.array([-12.0, -10.0, -5.0, -9.0]),
        "chosen_reference": np.array([-11.0, -14.0, -6.0, -6.0]),
        "rejected_reference": np.array([-11.5, -11.0, -5.0, -9.0]),
        "chosen_length": np.array([5.0, 8.0, 2.0, 3.0]),
        "rejected_length": np.array([8.0, 5.0, 2.0, 2.0]),
        "prompts": ("a", "b", "c", "d"),
    }
    return accuracy.Judged(**{**values, **changes})


def test_accuracies_by_hand() -> None:
    found = {name: right.tolist() for name, right in accuracy.correct(judged()).items()}
    assert found["likelihood"] == [True, False, False, True]  # a tie is wrong
    assert found["implicit_reward"] == [True, True, True, False]  # 1 > -.5, 2 > 1, 1 > 0, -1 < 0
    assert found["per_token"] == [False, True, False, True]  # -2 < -1.5, -1.5 > -2, tie, -7/3 > -4.5
    assert found["reference"] == [True, False, False, True]
    assert found["longer"] == [False, True, False, True]
    assert found["shorter"] == [True, False, False, False]


def test_the_table_has_the_better_length_rule_as_baseline() -> None:
    (row,) = accuracy.accuracy_table([judged()])
    assert row["num_pairs"] == 4
    assert row["likelihood"] == 0.5
    assert (row["length_only"], row["length_only_rule"]) == (0.5, "longer")
    low, high = row["intervals"]["likelihood"]
    assert 0 <= low < 0.5 < high <= 1


def test_swapping_the_responses_mirrors_every_measure_but_ties() -> None:
    pairs = judged()
    swapped = judged(
        chosen=pairs.rejected, rejected=pairs.chosen,
        chosen_reference=pairs.rejected_reference, rejected_reference=pairs.chosen_reference,
        chosen_length=pairs.rejected_length, rejected_length=pairs.chosen_length,
    )  # fmt: skip
    before, after = accuracy.correct(pairs), accuracy.correct(swapped)
    assert not any((before[name] & after[name]).any() for name in before)
    assert before["longer"].tolist() == after["shorter"].tolist()


def test_one_prompt_gives_no_interval() -> None:
    (row,) = accuracy.accuracy_table([judged(prompts=("a",) * 4)])
    assert row["intervals"]["likelihood"] is None


@pytest.mark.parametrize("changes", [{"rejected": np.zeros(3)}, {"prompts": ()}])
def test_uneven_or_empty_pairs_are_refused(changes) -> None:
    with pytest.raises(ConfigError, match="same number"):
        judged(**changes)


def test_correlation_within_prompts_by_hand() -> None:
    # a: logprobs rise with scores (+1); b: fall (-1); c: one distinct score, left out; d: (1,2,3) vs (1,3,2)
    prompts = ["a"] * 2 + ["b"] * 2 + ["c"] * 2 + ["d"] * 3
    logprobs = np.array([-3.0, -1.0, -1.0, -3.0, -1.0, -2.0, 1.0, 2.0, 3.0])
    scores = np.array([0.0, 4.0, 0.0, 4.0, 2.0, 2.0, 1.0, 3.0, 2.0])
    found = accuracy.preference_correlation(logprobs, scores, prompts)
    assert found["num_prompts"] == 3
    assert found["kendall"] == pytest.approx((1 - 1 + 1 / 3) / 3)
    assert found["spearman"] == pytest.approx((1 - 1 + 0.5) / 3)


def test_missing_scores_are_left_out_and_nothing_left_is_nan() -> None:
    found = accuracy.preference_correlation(np.array([1.0, 2.0]), np.array([np.nan, 2.0]), ["a", "a"])
    assert found["num_prompts"] == 0
    assert np.isnan(found["kendall"])
