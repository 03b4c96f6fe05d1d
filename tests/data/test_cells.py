"""Numbers that may be text, and the many ways to write nothing."""

from __future__ import annotations

from typing import Any

import pytest

from pluralign.data import cells
from pluralign.errors import DataError


@pytest.mark.parametrize(
    ("value", "score"),
    [(4, 4.0), (0.5, 0.5), ("4", 4.0), (" 3.5 ", 3.5), ("-1e2", -100.0), ("N/A", None), ("nan", None), (None, None)],
)
def test_scores(value: Any, score: float | None) -> None:
    assert cells.score(value, "helpful") == score


@pytest.mark.parametrize("value", [True, "true", "four", "1_000", "inf", float("nan"), [4], "", "4 stars"])
def test_what_is_no_score(value: Any) -> None:
    with pytest.raises(DataError, match="helpful must be a finite number"):
        cells.score(value, "helpful")


def test_missing_abstained_and_the_rest_stay_apart() -> None:
    row = {"a": 1, "b": None, "c": "N/A", "d": "more", "e": None}
    assert cells.scores(row, ("a", "b", "c")) == {"a": 1.0, "c": None}
    assert cells.rest(row, ("a", "b", "c")) == {"d": "more"}
    with pytest.raises(DataError, match="expected the columns a, z; found a, b, c, d, e"):
        cells.need(row, ("a", "z"))
