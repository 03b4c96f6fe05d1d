"""Laws of an inspection over any records: it never fails, order says nothing, and conflict is symmetric."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from data_strategies import OBJECTIVES, records
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data.dataset import Dataset
from pluralign.data.inspect.collect import inspect
from pluralign.data.inspect.inspection import Inspection
from pluralign.data.record import Record


def seen(told: Sequence[Record]) -> Inspection:
    return inspect(Dataset(OBJECTIVES, lambda tally: iter(told)))


def close(one: Any, two: Any) -> bool:
    """Equal but for rounding, whatever the order of names."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(close(one[name], two[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(close, one, two))
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-6)
    return bool(one == two)


@given(st.lists(records(), min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_any_records_in_any_order(told: list[Record], rng: random.Random) -> None:
    one, two = (seen(order).to_json() for order in (told, rng.sample(told, len(told))))
    one["advice"], two["advice"] = ([item["kind"] for item in value["advice"]] for value in (one, two))
    assert close(json.loads(json.dumps(one, allow_nan=False)), json.loads(json.dumps(two, allow_nan=False)))


@given(st.lists(records(), min_size=1, max_size=3))
@settings(max_examples=20)
def test_what_must_hold(told: list[Record]) -> None:
    found = seen(told)
    facts, size = found.pairs, len(OBJECTIVES) + 1
    for i in range(size):
        for j in range(size):
            assert facts.conflict[i, j] == pytest.approx(facts.conflict[j, i], nan_ok=True)
            assert facts.both[i, j] == facts.both[j, i] <= facts.pairs
        assert not facts.both[i, i] or facts.conflict[i, i] == 0
    assert found.counts.replies == sum(len(record.responses) for record in told)
    assert found.raters.judgements + found.raters.anonymous >= sum(len(record.comparisons) for record in told)
    for spread in found.spreads:
        if found.counts.replies:
            assert spread.scored / found.counts.replies + spread.missing + spread.abstained == pytest.approx(1)
    assert found.text()


@given(st.lists(records(), min_size=1, max_size=3))
@settings(max_examples=10)
def test_everything_twice_changes_no_share(told: list[Record]) -> None:
    one, two = seen(told), seen([*told, *told])
    assert two.spreads[0].mean == pytest.approx(one.spreads[0].mean, nan_ok=True)
    assert two.pairs.longer_wins == pytest.approx(one.pairs.longer_wins, nan_ok=True)
    assert two.counts.replies == 2 * one.counts.replies
    assert two.duplicates.prompts == one.duplicates.prompts
    assert two.duplicates.in_record == 2 * one.duplicates.in_record
