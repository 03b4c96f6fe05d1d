"""Turned round: scores, comparisons and rankings of one objective, and replies that are bad at both ends."""

from __future__ import annotations

import numpy as np
from data_strategies import OBJECTIVES, records
from hypothesis import given

from pluralign.data.conversions.turned import turned
from pluralign.data.evidence import evidence
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Ranking, Rating, Record, Response, user

HELPFUL = Objective("helpful", low=0, high=4)
BAD = {"corrupted": True}


def test_scores_by_hand() -> None:
    """s becomes 4 − s, of the mean over raters where there are ratings; a corrupted reply stays at the worst end."""
    record = Record(
        user("hi"),
        (
            Response("a", {"helpful": 1.0, "funny": 2.0}),
            Response("b", ratings=(Rating({"helpful": 4.0}), Rating({"helpful": 3.0}))),
            Response("c", {"helpful": 3.0}, extra=BAD),
            Response("d", {"helpful": None}),
        ),
    )
    found = turned(record, HELPFUL)
    assert [reply.scores for reply in found.responses] == [{"helpful": 3.0}, {"helpful": 0.5}, {"helpful": 0.0}, {}]
    cost = turned(record, Objective("helpful", low=0, high=4, direction="lower"))
    assert [reply.scores for reply in cost.responses[:3]] == [{"helpful": 3.0}, {"helpful": 0.5}, {"helpful": 4.0}]


def test_comparisons_and_rankings_by_hand() -> None:
    replies = (*(Response(text) for text in "abc"), Response("d", extra=BAD), Response("e", extra=BAD))
    record = Record(
        user("hi"),
        replies,
        (
            Comparison(0, 1, "first", "helpful", 2.0),
            Comparison(0, 2, "tie", "helpful"),
            Comparison(1, 2, "abstain", "helpful"),
            Comparison(0, 1, "first", "funny"),
            Comparison(3, 0, "first", "helpful", 1.0),
            Comparison(0, 3, "second", "helpful"),
            Comparison(3, 4, "first", "helpful"),
        ),
        (Ranking(((0,), (1, 3), (2,)), "helpful"), Ranking(((0,), (1,)), "funny")),
    )
    found = turned(record, HELPFUL)
    assert [(each.first, each.second, each.outcome, each.strength) for each in found.comparisons] == [
        (0, 1, "second", 2.0),
        (0, 2, "tie", None),
        (1, 2, "abstain", None),
        (3, 0, "second", None),
        (0, 3, "first", None),
        (3, 4, "first", None),
    ]
    assert [each.tiers for each in found.rankings] == [((2,), (1,), (0,), (3,))]


@given(records())
def test_what_was_better_is_worse_and_twice_is_once(record: Record) -> None:
    """Of replies that are not corrupted, sizes and verdicts change their sign; turning again gives back the first."""
    objective = OBJECTIVES[0]
    once = turned(record, objective)
    before, after, again = (evidence(each, [objective]) for each in (record, once, turned(once, objective)))
    np.testing.assert_allclose(after.size, -before.size, atol=1e-9)
    np.testing.assert_allclose(again.size, before.size, atol=1e-9)
    told = ~(np.abs(before.size) < 1e-9)  # 4 − s of two scores that hardly differ is the same number
    np.testing.assert_array_equal(after.verdict[told], -before.verdict[told])
