"""The power set's other weights: ratios (A.2) and negative weights (A.1), by hand."""

from __future__ import annotations

import pytest

from pluralign.data.condition import vector
from pluralign.data.conversions.power_set import power_set
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.errors import ConfigError, DataError

OBJECTIVES = tuple(Objective(name, low=0, high=4) for name in ("helpful", "brief", "kind"))


def scored(*rows: tuple[float, ...], objectives: tuple[Objective, ...] = OBJECTIVES) -> Record:
    named = [dict(zip((each.name for each in objectives), row, strict=True)) for row in rows]
    return Record(user("q"), tuple(Response(f"r{place}", scores=row) for place, row in enumerate(named)))


def items(record: Record, form: str, objectives: tuple[Objective, ...] = OBJECTIVES) -> dict[tuple[float, ...], tuple]:
    """Rounded weights -> (chosen, rejected, margin)."""
    (group,) = power_set(record, objectives, form=form)  # type: ignore[arg-type]
    found = {}
    for each in group.preferences:
        weights = vector(group.conditions[each.condition], objectives)  # type: ignore[arg-type]
        found[tuple(round(float(w), 6) for w in weights)] = (each.chosen, each.rejected, each.margin)
    assert len(found) == len(group.preferences)
    return found


def test_ratios_by_hand() -> None:
    # better by 3 of 4 on helpful: (3+1)/(0+1) = 4; by 1 on brief: (2+1)/(1+1) = 1.5; a tie on kind
    found = items(scored((3, 2, 2), (0, 1, 2)), "ratio")
    assert set(found) == {(1, 0, 0), (0, 1, 0), (round(4 / 5.5, 6), round(1.5 / 5.5, 6), 0)}
    chosen, rejected, margin = found[round(4 / 5.5, 6), round(1.5 / 5.5, 6), 0]
    assert (chosen, rejected) == (0, 1)
    assert margin == pytest.approx((4 * 3 + 1.5 * 1) / 5.5)


def test_ratios_count_from_the_worse_end() -> None:
    """On an objective of which less is better, 1 against 4 is 3 above the worse end against 0."""
    objectives = (OBJECTIVES[0], Objective("long", low=0, high=4, direction="lower"))
    found = items(scored((3, 1), (0, 4), objectives=objectives), "ratio", objectives)
    assert (0.5, 0.5) in found


def test_opposite_weights_by_hand() -> None:
    # r0 wins helpful, r1 wins brief, kind is a tie: each wins under 1 on its own, -1 on the other's
    found = items(scored((4, 1, 2), (2, 3, 2)), "opposite")
    assert found == {(1, -1, 0): (0, 1, 4.0), (-1, 1, 0): (1, 0, 4.0)}


def test_complement_weights_by_hand() -> None:
    found = items(scored((4, 1, 2), (2, 3, 2)), "complement")
    assert found == {(1, -1, -1): (0, 1, 4.0), (-1, 1, -1): (1, 0, 4.0)}
    inside = items(scored((4, 3, 2), (1, 1, 2)), "complement")
    assert inside[0.5, 0.5, -0.5] == (0, 1, 2.5)
    assert inside[1, -1, -1] == (0, 1, 1.0)


def test_a_negative_margin_is_unknown() -> None:
    """Under (1, -1, -1) the reply that wins S = {helpful} by 1 and brief by 2 has the lower weighted score."""
    assert items(scored((2, 3, 2), (1, 1, 2)), "complement")[1, -1, -1] == (0, 1, None)


def test_what_cannot_be_is_refused() -> None:
    compared = Record(user("q"), (Response("a"), Response("b")), (Comparison(0, 1, "first", "helpful"),))
    with pytest.raises(DataError, match="scores"):
        power_set(compared, OBJECTIVES, form="ratio")
    with pytest.raises(ConfigError, match="share, ratio"):
        power_set(compared, OBJECTIVES, form="other")  # type: ignore[arg-type]
    assert items(compared, "opposite") == {(1, 0, 0): (0, 1, None)}
