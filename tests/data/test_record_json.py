"""Records as JSON: a strict, faithful round trip."""

from __future__ import annotations

import json
from typing import Any

import pytest
from data_strategies import OBJECTIVES, records
from hypothesis import given

from pluralign.data.record import Comparison, Rater, Rating, Record, Response, user
from pluralign.data.record_json import from_json, to_json
from pluralign.errors import DataError

MINIMAL: dict[str, Any] = {"messages": [{"role": "user", "content": "q"}]}


@given(records())
def test_round_trip(record: Record) -> None:
    assert from_json(json.loads(json.dumps(to_json(record))), OBJECTIVES) == record


def test_defaults_are_left_out() -> None:
    assert to_json(Record(user("q"), (Response("a"),))) == MINIMAL | {"responses": [{"text": "a"}]}


def test_missing_abstain_tie_and_zero_stay_apart() -> None:
    replies = (
        Response("a", {"helpful": 0.0}, ratings=(Rating({"helpful": None}), Rating({}, Rater()))),
        Response("b", {"helpful": None}),
        Response("c", {}),
    )
    outcomes = ("tie", "abstain", "first")
    record = Record(user("q"), replies, tuple(Comparison(0, 1, outcome) for outcome in outcomes))  # type: ignore[arg-type]
    again = from_json(json.loads(json.dumps(to_json(record))))
    assert again == record
    assert [dict(reply.scores) for reply in again.responses] == [{"helpful": 0.0}, {"helpful": None}, {}]
    assert [comparison.outcome for comparison in again.comparisons] == list(outcomes)
    assert again.responses[0].ratings[0].rater is None and again.responses[0].ratings[1].rater == Rater()


def with_reply(**fields: Any) -> dict[str, Any]:
    return MINIMAL | {"responses": [{"text": "abc"} | fields, {"text": "b"}]}


def with_comparison(**fields: Any) -> dict[str, Any]:
    return with_reply() | {"comparisons": [{"first": 0, "second": 1, "outcome": "first"} | fields]}


BAD: list[tuple[Any, str]] = [
    ([], "must be an object"),
    ({}, "key 'messages' is missing"),
    (MINIMAL | {"prompt": "q"}, "unknown key 'prompt'; allowed keys are messages, responses"),
    ({"messages": []}, "messages is empty"),
    ({"messages": "q"}, "messages must be a list"),
    ({"messages": [{"role": "user"}]}, r"messages\[0\]: key 'content' is missing"),
    ({"messages": [{"role": "human", "content": "q"}]}, "one of system, user, assistant, tool"),
    ({"messages": [{"role": "user", "content": None}]}, r"messages\[0\].content must be a text, got None"),
    ({"messages": [{"role": "assistant", "content": "a"}]}, "move it out of messages into responses"),
    (MINIMAL | {"id": 7}, "id must be a text, got 7"),
    (MINIMAL | {"extra": []}, "extra must be an object"),
    (with_reply(text=1), r"responses\[0\].text must be a text"),
    (with_reply(scores={"helpful": True}), r"responses\[0\].scores.helpful must be a finite number, got True"),
    (with_reply(scores={"helpful": "4"}), "finite number, got '4'"),
    (with_reply(scores={"helpful": float("nan")}), "finite number, got nan"),
    (with_reply(scores={"helpful": 10**400}), "finite number, got inf"),
    (with_reply(scores={"funny": 1}), "unknown objective 'funny'; allowed are: helpful, brief, kind"),
    (with_reply(scores={"helpful": 7}), r"in the objective's range \[0, 4\], got 7"),
    (with_reply(ratings=[{"scores": {"helpful": -1}}]), r"ratings\[0\].scores.helpful must be in"),
    (with_reply(ratings=[{"rater": {"id": "x"}}]), "key 'scores' is missing"),
    (with_reply(ratings=[{"scores": {}, "rater": {"name": "x"}}]), "rater: unknown key 'name'"),
    (with_reply(comments=[{"text": "x", "objective": "funny"}]), "unknown objective"),
    (with_reply(spans=[{"start": 0, "end": 4, "label": "x"}]), "0 <= start < end <= 3"),
    (with_reply(spans=[{"start": 2, "end": 2, "label": "x"}]), "start < end"),
    (with_reply(spans=[{"start": -1, "end": 2, "label": "x"}]), "whole number from 0, got -1"),
    (with_reply(spans=[{"start": True, "end": 2, "label": "x"}]), "whole number from 0, got True"),
    (with_reply(thumb="sideways"), "one of up, down"),
    (with_reply(finished=1), "true or false, got 1"),
    (with_reply(condition={"weights": {"a": "x"}}), r"condition: weights: a must be a finite number"),
    (with_reply(condition="a=1"), "condition"),
    (with_comparison(second=2), r"indices of the record's 2 responses \(from 0\), got \[0, 2\]"),
    (with_comparison(second=0), "different responses"),
    (with_comparison(second=1.0), "whole number"),
    (with_comparison(outcome="better"), "one of first, second, tie, abstain"),
    (with_comparison(strength=0), "above 0"),
    (with_comparison(objective="a b"), "unknown objective"),
    (with_reply() | {"rankings": [{"tiers": [[0], [0]]}]}, "different responses"),
    (with_reply() | {"rankings": [{"tiers": [[0], [5]]}]}, "indices"),
    (with_reply() | {"rankings": [{"tiers": [[0], []]}]}, "at least one response each"),
    (with_reply() | {"rankings": [{"tiers": []}]}, "at least one response each"),
]


@pytest.mark.parametrize(("value", "says"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said(value: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        from_json(value, OBJECTIVES)


def test_without_objectives_any_legal_name_will_do() -> None:
    assert from_json(with_reply(scores={"funny": 1e9})).responses[0].scores == {"funny": 1e9}
    with pytest.raises(DataError, match="cannot be an objective's name"):
        from_json(with_reply(scores={"very funny": 1}))


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(DataError, match="nested too deeply"):
        from_json(MINIMAL | {"extra": {"deep": deep}})
