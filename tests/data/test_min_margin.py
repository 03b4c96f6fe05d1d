"""Min margin: by hand beside the net margin, thresholds, and its laws."""

from __future__ import annotations

import pytest
from data_strategies import NAMES, OBJECTIVES, scored
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.conversions.min_margin import min_margin
from pluralign.data.conversions.power_set import power_set
from pluralign.data.group import Group
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.errors import ConfigError

TWO = OBJECTIVES[:2]
BOTH = "helpful=0.5,brief=0.5"


def judged(groups: list[Group]) -> set[tuple[str, int, int, float | None]]:
    return {
        (str(group.conditions[item.condition]), item.chosen, item.rejected, item.margin)
        for group in groups
        for item in group.preferences
    }


def test_the_smallest_difference_goes_before_the_sum() -> None:
    # both: r0 over r1 differs by (4, 1), sum 5; r2 over r1 by (2, 2), sum 4. The net margin takes the former
    record = scored((4, 1), (0, 0), (2, 2), allowed=NAMES[:2])
    assert (BOTH, 0, 1, 2.5) in judged(power_set(record, TWO))
    assert judged(min_margin(record, TWO)) == {
        ("helpful=1", 0, 1, 4.0), ("brief=1", 2, 1, 2.0), (BOTH, 2, 1, 2.0),
    }  # fmt: skip


def test_a_tie_of_the_smallest_goes_to_the_larger_sum_then_to_the_earlier_pair() -> None:
    record = scored((1, 3), (0, 0), (1, 4), (0, 0), allowed=NAMES[:2])
    assert [item for item in judged(min_margin(record, TWO)) if item[0] == BOTH] == [(BOTH, 2, 1, 2.5)]


def test_a_threshold_on_every_objective() -> None:
    record = scored((4, 1), (0, 0), allowed=NAMES[:2])
    assert judged(min_margin(record, TWO, least=2)) == {("helpful=1", 0, 1, 4.0)}
    assert judged(min_margin(record, TWO, least=4.5)) == set()
    assert judged(min_margin(record, TWO, least=1)) == judged(power_set(record, TWO))


def test_directions_alone_pass_only_without_a_threshold() -> None:
    record = Record(user("q"), (Response("a"), Response("b")), (Comparison(0, 1, "first", "helpful"),))
    assert judged(min_margin(record, TWO)) == {("helpful=1", 0, 1, None)}
    assert min_margin(record, TWO, least=0.1) == []
    with pytest.raises(ConfigError, match="from 0, got -1"):
        min_margin(record, TWO, least=-1)


rows = st.lists(st.tuples(*[st.none() | st.integers(0, 4)] * 3), min_size=1, max_size=4)


@given(rows, st.integers(0, 4))
def test_laws(scores: list[tuple[int | None, ...]], least: int) -> None:
    record = scored(*scores)
    everything = judged(power_set(record, OBJECTIVES, net_margin=False))
    kept = judged(min_margin(record, OBJECTIVES, least, best_only=False))
    assert kept <= everything and judged(min_margin(record, OBJECTIVES, 0, best_only=False)) == everything
    best = judged(min_margin(record, OBJECTIVES, least))
    assert (
        best <= kept
        and {item[0] for item in best} == {item[0] for item in kept}
        and len(best) == len({item[0] for item in best})
    )
