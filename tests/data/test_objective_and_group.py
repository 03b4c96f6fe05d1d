"""Objectives and groups refuse what cannot be right."""

from __future__ import annotations

import pytest

from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, unique
from pluralign.data.record import user
from pluralign.errors import DataError


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"name": "a b"},
        {"name": ""},
        {"name": 3},
        {"name": "a", "low": 1, "high": 1},
        {"name": "a", "low": True},
        {"name": "a", "high": float("nan")},
        {"name": "a", "high": 10**400},
        {"name": "a", "direction": "up"},
        {"name": "a", "safety": 1},
        {"name": "a", "unit": "points"},
    ],
)
def test_objectives_are_strict(value: object) -> None:
    with pytest.raises(DataError):
        Objective.from_json(value)  # type: ignore[arg-type]


def test_objective_names_are_unique() -> None:
    with pytest.raises(DataError, match="more than once: a"):
        unique([Objective("a"), Objective("b"), Objective("a")])


@pytest.mark.parametrize(
    ("condition", "chosen", "rejected", "margin"),
    [(0, 0, 0, None), (0, 0, 2, None), (1, 0, 1, None), (0, -1, 1, None), (0, 0, 1, -1.0), (0, 0, 1, float("nan"))],
)
def test_groups_check_their_preferences(condition: int, chosen: int, rejected: int, margin: float | None) -> None:
    with pytest.raises(DataError):
        Group(user("q"), ("a", "b"), preferences=(Preference(condition, chosen, rejected, margin),))
