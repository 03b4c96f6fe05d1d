"""Power set, one-hot, trade-off and explode: hand-derived groups and laws."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from data_strategies import NAMES, OBJECTIVES, scored
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.condition import Weights, parse, vector
from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.conversions.power_set import power_set
from pluralign.data.conversions.trade_off import trade_off
from pluralign.data.evidence import aggregate, evidence
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Ranking, Rating, Record, Response, user
from pluralign.data.simplex import report_grid
from pluralign.errors import ConfigError

Judged = set[tuple[str, int, int, float | None]]
THIRD = 1 / 3


def judged(group: Group | None) -> Judged:
    """(condition, chosen, rejected, margin) of every preference; no preference occurs twice."""
    assert group is not None
    found = [
        (str(group.conditions[item.condition]), item.chosen, item.rejected, item.margin) for item in group.preferences
    ]
    assert len(set(found)) == len(found)
    return set(found)


def compared(*comparisons: Comparison, replies: int = 2) -> Record:
    return Record(user("q"), tuple(Response(f"r{place}") for place in range(replies)), comparisons)


def test_power_set_by_hand_both_directions() -> None:
    # r0 is better on helpful (by 2), r1 on brief (by 2); kind is a tie and counts for neither
    (group,) = power_set(scored((4, 1, 2), (2, 3, 2)), OBJECTIVES)
    assert judged(group) == {("helpful=1", 0, 1, 2.0), ("brief=1", 1, 0, 2.0)}
    assert group.responses == ("r0", "r1") and group.messages == user("How?")


def test_power_set_by_hand_every_subset() -> None:
    (group,) = power_set(scored((4, 3, 2), (1, 1, 1)), OBJECTIVES)
    third = str(Weights(dict.fromkeys(NAMES, THIRD)))
    assert judged(group) == {
        ("helpful=1", 0, 1, 3.0), ("brief=1", 0, 1, 2.0), ("kind=1", 0, 1, 1.0),
        ("helpful=0.5,brief=0.5", 0, 1, 2.5), ("helpful=0.5,kind=0.5", 0, 1, 2.0),
        ("brief=0.5,kind=0.5", 0, 1, 1.5), (third, 0, 1, 2.0),
    }  # fmt: skip


def test_net_margin_keeps_the_largest_sum_then_the_larger_minimum_then_file_order() -> None:
    two = OBJECTIVES[:2]
    record = scored((4, 4), (3, 1), (1, 3), (1, 1), allowed=NAMES[:2])
    # helpful: r0 over r2 and over r3 by 3, the earlier pair stays; brief: r0 over r1 and over r3 by 3, likewise
    # both: r0 over r3 by 3 + 3
    assert judged(power_set(record, two)[0]) == {
        ("helpful=1", 0, 2, 3.0), ("brief=1", 0, 1, 3.0), ("helpful=0.5,brief=0.5", 0, 3, 3.0),
    }  # fmt: skip
    # sums over both: r0 over r1 is 3 + 1, r2 over r3 is 2 + 2: equal, and the larger minimum wins
    record = scored((3, 1), (0, 0), (2, 4), (0, 2), allowed=NAMES[:2])
    both = [item for item in judged(power_set(record, two)[0]) if "," in item[0]]
    assert both == [("helpful=0.5,brief=0.5", 2, 1, 3.0)]  # r2 over r1 is 2 + 4, the largest of all
    record = scored((3, 1), (0, 0), (2, 2), (0, 0), allowed=NAMES[:2])
    both = [item for item in judged(power_set(record, two)[0]) if "," in item[0]]
    assert both == [("helpful=0.5,brief=0.5", 2, 1, 2.0)]  # 4 = 3 + 1 = 2 + 2; the latter, and r1 stands before r3


scores_3 = st.tuples(*[st.none() | st.integers(0, 4)] * 3)


@given(st.lists(scores_3, min_size=1, max_size=4))
def test_power_set_laws(rows: list[tuple[int | None, ...]]) -> None:
    record = scored(*rows)
    everything = power_set(record, OBJECTIVES, net_margin=False)
    found = judged(everything[0]) if everything else set()
    expected = 0
    for i, j in combinations(range(len(rows)), 2):
        for chosen, rejected in ((i, j), (j, i)):
            better = sum(
                a is not None and b is not None and a > b for a, b in zip(rows[chosen], rows[rejected], strict=True)
            )
            of_pair = [item for item in found if item[1:3] == (chosen, rejected)]
            assert len(of_pair) == 2**better - 1
            expected += 2**better - 1
    assert len(found) == expected
    for text, chosen, rejected, margin in found:
        weights = vector(parse(text), OBJECTIVES)  # type: ignore[arg-type]
        assert abs(weights.sum() - 1) < 1e-12
        difference = np.nan_to_num(evidence(record, OBJECTIVES).size[chosen, rejected])
        assert margin == pytest.approx(weights @ difference) and margin is not None and margin > 0
    filtered = judged(power_set(record, OBJECTIVES)[0]) if everything else set()
    assert filtered <= found and {item[0] for item in filtered} == {item[0] for item in found}
    for item in filtered:
        assert item[3] == pytest.approx(max(other[3] or 0 for other in found if other[0] == item[0]))
        assert sum(other[0] == item[0] for other in filtered) == 1


@given(st.lists(scores_3, min_size=2, max_size=4))
def test_lower_is_better_where_the_objective_says_so(rows: list[tuple[int | None, ...]]) -> None:
    lower = tuple(dataclasses.replace(objective, direction="lower") for objective in OBJECTIVES)
    mirrored = [tuple(None if score is None else 4 - score for score in row) for row in rows]
    for conversion in (power_set, one_hot):
        here, there = conversion(scored(*rows), OBJECTIVES), conversion(scored(*mirrored), lower)
        assert [judged(group) for group in here] == [judged(group) for group in there]


def test_permuting_the_objectives_changes_nothing() -> None:
    record = scored((4, 1, 0), (2, 3, 2), (0, 0, 4))
    for conversion in (power_set, one_hot):
        as_sets = [
            {(frozenset(group.conditions[item.condition].values.items()), item.chosen, item.rejected, item.margin)  # type: ignore[union-attr]
             for item in group.preferences}
            for order in (OBJECTIVES, OBJECTIVES[::-1])
            for group in conversion(record, order)
        ]  # fmt: skip
        assert as_sets[0] == as_sets[1]


def test_comparisons_give_directions_and_strengths() -> None:
    record = compared(
        Comparison(0, 1, "first", "helpful"),
        Comparison(1, 0, "first", "brief", 2.0),
        Comparison(0, 1, "tie", "kind"),
        Comparison(0, 1, "abstain", "kind"),
        Comparison(0, 1, "second"),  # overall: not about an objective
    )
    (group,) = power_set(record, OBJECTIVES)
    assert judged(group) == {("helpful=1", 0, 1, None), ("brief=1", 1, 0, 2.0)}
    assert judged(one_hot(record, OBJECTIVES)[0]) == judged(group)


def test_directions_without_a_sum_all_pass_the_filter() -> None:
    record = compared(
        Comparison(0, 1, "first", "helpful"), Comparison(0, 2, "first", "helpful"), Comparison(1, 2, "first", "brief", 1.0),
        Comparison(0, 2, "first", "brief", 3.0), replies=3,
    )  # fmt: skip
    assert judged(power_set(record, OBJECTIVES)[0]) == {
        ("helpful=1", 0, 1, None), ("helpful=1", 0, 2, None), ("brief=1", 0, 2, 3.0), ("helpful=0.5,brief=0.5", 0, 2, None),
    }  # fmt: skip


def test_raters_are_settled_by_majority() -> None:
    def outcome(*outcomes: str) -> float:
        record = compared(*[Comparison(0, 1, one, "helpful") for one in outcomes])  # type: ignore[arg-type]
        return float(evidence(record, OBJECTIVES).verdict[0, 1, 0])

    assert outcome("first", "first", "second") == 1
    assert outcome("first", "second") == 0 == outcome("tie")
    assert outcome("abstain", "second", "tie") == -1
    assert np.isnan(outcome("abstain"))


def test_rankings_are_comparisons_and_scores_go_first() -> None:
    ranking = Ranking(((2,), (0, 1)), "helpful")
    record = dataclasses.replace(compared(replies=3), rankings=(ranking, Ranking(((0,), (1,)))))
    assert judged(one_hot(record, OBJECTIVES)[0]) == {("helpful=1", 2, 0, None), ("helpful=1", 2, 1, None)}
    replies = tuple(
        dataclasses.replace(reply, scores={"helpful": float(place)}) for place, reply in enumerate(record.responses)
    )
    scores_too = dataclasses.replace(record, responses=replies)
    assert judged(one_hot(scores_too, OBJECTIVES)[0]) == {
        ("helpful=1", 1, 0, 1.0), ("helpful=1", 2, 0, 2.0), ("helpful=1", 2, 1, 1.0),
    }  # fmt: skip


def test_aggregate() -> None:
    ratings = (Rating({"a": 1.0, "b": None, "c": 2.0}), Rating({"a": 4.0, "c": None}))
    assert aggregate(Response("r", {"c": 0.0, "d": None}, ratings)) == {"a": 2.5, "b": None, "c": 0.0, "d": None}


def test_nothing_said_gives_no_group() -> None:
    for record in (
        scored((1, 1, 1), (1, 1, 1)),
        scored((1, None, None), (None, 1, 1)),
        scored((4, 4, 4)),
        Record(user("q")),
    ):
        assert power_set(record, OBJECTIVES) == [] == one_hot(record, OBJECTIVES)
        assert trade_off(record, OBJECTIVES, report_grid(3)) is None


def test_too_many_objectives_for_a_power_set() -> None:
    many = [Objective(f"o{place}", high=4) for place in range(13)]
    with pytest.raises(ConfigError, match="8191 sets"):
        power_set(scored([4] * 13, [0] * 13, allowed=[one.name for one in many]), many)


def test_trade_off_by_hand() -> None:
    weights = [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0.75, 0.25, 0], [0, 0, 1]]
    record = scored((4, 1, 2), (2, 3, None))  # Δ = (2, -2, unknown)
    group = trade_off(record, OBJECTIVES, weights)
    assert judged(group) == {
        ("helpful=1", 0, 1, 2.0), ("brief=1", 1, 0, 2.0), ("helpful=0.75,brief=0.25", 0, 1, 1.0),
    }  # fmt: skip
    assert group is not None and len(group.conditions) == 5


def test_trade_off_by_signs_where_no_sizes_are_known() -> None:
    record = compared(Comparison(0, 1, "first", "helpful"), Comparison(0, 1, "second", "brief", 9.0))
    weights = [[0.6, 0.4, 0], [0.4, 0.6, 0], [0.5, 0.5, 0], [0, 1, 0]]
    assert judged(trade_off(record, OBJECTIVES, weights)) == {
        ("helpful=0.6,brief=0.4", 0, 1, None), ("helpful=0.4,brief=0.6", 1, 0, None), ("brief=1", 1, 0, 9.0),
    }  # fmt: skip


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=2, max_size=4))
def test_trade_off_laws(rows: list[tuple[int, ...]]) -> None:
    record, grid = scored(*rows), report_grid(3)
    group = trade_off(record, OBJECTIVES, grid)
    num = 0
    for i, j in combinations(range(len(rows)), 2):
        margins = grid @ (np.array(rows[i]) - np.array(rows[j]))
        num += int((np.abs(margins) > 1e-9).sum())
    assert num == (len(group.preferences) if group else 0)
    for item in group.preferences if group else ():
        margin = grid[item.condition] @ (np.array(rows[item.chosen]) - np.array(rows[item.rejected]))
        assert item.margin == pytest.approx(margin) and margin > 0
    flipped = trade_off(record, OBJECTIVES, -grid)  # the opposite weights prefer the opposite, by as much
    if group and flipped:
        assert {(item.condition, item.rejected, item.chosen, item.margin) for item in group.preferences} == {
            (item.condition, item.chosen, item.rejected, item.margin) for item in flipped.preferences
        }


def test_rounding_is_no_preference() -> None:
    record = scored((1, 1, 0), (0, 0, 2))
    assert trade_off(record, OBJECTIVES, [[THIRD] * 3]) is None


@pytest.mark.parametrize("weights", [[1, 0, 0], [[1, 0]], [[np.nan, 0, 0]]])
def test_trade_off_refuses_other_shapes(weights: object) -> None:
    with pytest.raises(ConfigError, match="shape"):
        trade_off(scored((1, 1, 1), (0, 0, 0)), OBJECTIVES, weights)  # type: ignore[arg-type]


def test_explode_gives_one_group_per_preference() -> None:
    (group,) = power_set(scored((4, 1, 2), (2, 3, 2)), OBJECTIVES)
    single = explode(group)
    assert [one.responses for one in single] == [("r0", "r1"), ("r1", "r0")]
    assert [judged(one) for one in single] == [{("helpful=1", 0, 1, 2.0)}, {("brief=1", 0, 1, 2.0)}]
