"""Splitting by prompt."""

from __future__ import annotations

import pytest

from pluralign.data.record import Record, Response, user
from pluralign.data.split import part, select, split
from pluralign.errors import ConfigError

PARTS = {"train": 0.7, "validation": 0.1, "test": 0.2}
RECORDS = [Record(user(f"question {num % 2000}"), (Response(str(num)),)) for num in range(4000)]


def test_a_prompt_is_never_in_two_parts_and_shares_are_met() -> None:
    by_prompt: dict[str, set[str]] = {}
    counts = dict.fromkeys(PARTS, 0)
    for name, record in split(RECORDS, PARTS, seed=3):
        by_prompt.setdefault(record.messages[0].content, set()).add(name)
        counts[name] += 1
    assert all(len(parts) == 1 for parts in by_prompt.values())
    assert all(abs(counts[name] / 4000 - share) < 0.04 for name, share in PARTS.items())


def test_parts_do_not_depend_on_order_but_on_the_seed() -> None:
    forward = {record.messages: name for name, record in split(RECORDS, PARTS)}
    backward = {record.messages: name for name, record in split(reversed(RECORDS), PARTS)}
    other = {record.messages: name for name, record in split(RECORDS, PARTS, seed=1)}
    assert forward == backward != other


def test_select_takes_one_part() -> None:
    taken = [list(select(RECORDS, name, PARTS)) for name in PARTS]
    assert sum(map(len, taken)) == 4000
    assert {part(record.messages, PARTS) for record in taken[2]} == {"test"}
    assert list(select(RECORDS, "none", {"all": 1.0, "none": 0.0})) == []


@pytest.mark.parametrize("parts", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}])
def test_shares_must_be_shares(parts: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        split(RECORDS, parts)


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="the parts are train, validation, test"):
        select(RECORDS, "dev", PARTS)
