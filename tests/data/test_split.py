"""Splitting by prompt."""

from __future__ import annotations

import pytest

from pluralign.data.record import Message, Record, Response, user
from pluralign.data.split import part, part_of_key, select, split
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


def rated(text: str, *others: str, prompt: str = "") -> Record:
    return Record(user(prompt), tuple(map(Response, (text, *others))))


def test_texts_without_a_prompt_are_divided_by_their_words() -> None:
    """A table of ratings: three raters of each text, one row each; signs of white space do not part them."""
    table = [rated(f"text {num}{' ' * rater}", prompt=" " * rater) for num in range(1000) for rater in range(3)]
    by_text: dict[str, set[str]] = {}
    counts = dict.fromkeys(PARTS, 0)
    for name, record in split(table, PARTS, seed=3):
        by_text.setdefault(record.responses[0].text.strip(), set()).add(name)
        counts[name] += 1
    assert len(by_text) == 1000 and all(len(parts) == 1 for parts in by_text.values())
    assert all(abs(counts[name] / 3000 - share) < 0.05 for name, share in PARTS.items())


def test_several_replies_without_a_prompt_decide_together_in_any_order() -> None:
    for num in range(50):
        pair = [rated(f"a {num}", f"b {num}"), rated(f"b {num}", f"a {num}")]
        assert len({name for name, _ in split(pair, PARTS)}) == 1


def test_the_parts_of_ordinary_prompts_are_those_of_their_turns() -> None:
    """As they always were: replies change nothing where the prompt has words, nor where there are no replies."""
    for num in range(50):
        turns = (Message("system", ""), *user(f"question {num}"))
        expected = part_of_key([["system", ""], ["user", f"question {num}"]], PARTS, seed=2)
        records = [Record(turns, (Response(f"{num} {side}"),)) for side in "ab"]
        assert {name for name, _ in split(records, PARTS, seed=2)} == {expected}
    empty = [Record(user("")), rated(" ")]
    assert {name for name, _ in split(empty, PARTS, seed=2)} == {part_of_key([["user", ""]], PARTS, seed=2)}
