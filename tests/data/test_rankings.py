"""Rankings to pairs: by hand, by several raters, and as rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.conversions.rankings import ranked_pairs
from pluralign.data.objective import Objective
from pluralign.data.record import Ranking, Record, Response, user
from pluralign.errors import ConditionError, ConfigError

HELPFUL, BRIEF = Objective("helpful"), Objective("brief")
BOTH = (HELPFUL, BRIEF)


def ranked(*rankings: Ranking, replies: int = 4) -> Record:
    return Record(user("q"), tuple(Response(f"r{place}") for place in range(replies)), rankings=rankings)


def judged(record: Record, pairs: str = "all") -> set[tuple[str, int, int]]:
    return {
        (str(group.conditions[item.condition]), item.chosen, item.rejected)
        for group in ranked_pairs(record, BOTH, pairs)
        for item in group.preferences
    }


def test_by_hand() -> None:
    record = ranked(Ranking(((2,), (0, 1), (3,)), "helpful"))
    everything = {("helpful=1", *pair) for pair in ((2, 0), (2, 1), (2, 3), (0, 3), (1, 3))}
    assert judged(record) == everything
    assert judged(record, "adjacent") == everything - {("helpful=1", 2, 3)}
    assert judged(record, "best") == {("helpful=1", 2, other) for other in (0, 1, 3)}
    (group,) = ranked_pairs(record, BOTH)
    assert all(item.margin is None for item in group.preferences)


def test_overall_rankings_stand_under_no_condition_and_objectives_apart() -> None:
    record = ranked(Ranking(((0,), (1,))), Ranking(((1,), (0,)), "brief"))
    assert judged(record) == {("None", 0, 1), ("brief=1", 1, 0)}


def test_the_majority_decides_and_a_draw_is_nothing() -> None:
    first, second = Ranking(((0,), (1,)), "helpful"), Ranking(((1,), (0,)), "helpful")
    assert judged(ranked(first, second)) == set()
    assert judged(ranked(first, second, first)) == {("helpful=1", 0, 1)}
    # a cycle of three raters keeps all three majorities
    cycle = [Ranking(tuple((place,) for place in order), "helpful") for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    assert judged(ranked(*cycle)) == {("helpful=1", 0, 1), ("helpful=1", 1, 2), ("helpful=1", 2, 0)}


@given(st.permutations(range(5)))
def test_k_replies_are_worth_k_choose_2_pairs(order: list[int]) -> None:
    found = judged(ranked(Ranking(tuple((place,) for place in order)), replies=5))
    assert len(found) == 10 and len(judged(ranked(Ranking((tuple(order),)), replies=5))) == 0
    backwards = judged(ranked(Ranking(tuple((place,) for place in order[::-1])), replies=5))
    assert backwards == {(name, rejected, chosen) for name, chosen, rejected in found}


def test_nothing_to_rank_and_wrong_words() -> None:
    assert ranked_pairs(ranked(), BOTH) == [] and ranked_pairs(ranked(Ranking(((0,),))), BOTH) == []
    with pytest.raises(ConfigError, match="all, adjacent, best"):
        ranked_pairs(ranked(), BOTH, "some")
    with pytest.raises(ConditionError, match="'kind'; allowed are: helpful, brief"):
        ranked_pairs(ranked(Ranking(((0,), (1,)), "kind")), BOTH)
