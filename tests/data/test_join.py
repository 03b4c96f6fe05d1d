"""Joining rows of the same prompt: nothing is lost, and the order is that of the file."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from data_strategies import records as any_records
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data.condition import Weights
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.join import join, joined
from pluralign.data.record import Comment, Comparison, Ranking, Rater, Rating, Record, Response, Vote, user
from pluralign.data.record_json import from_json, to_json
from pluralign.errors import DataError

A, B = Rater(id="a"), Rater(id="b", group="g")


def row(prompt: str, *replies: Response, **fields: Any) -> Record:
    return Record(user(prompt), replies, **fields)


def test_raters_of_a_reply_meet() -> None:
    first = row("p", Response("x", ratings=(Rating({"k": 1}, A),), votes=(Vote("agree", 1, A),)), id="1")
    other = row("q", Response("x"), id="9")
    second = row("p", Response("x", ratings=(Rating({"k": 3}, B),), comments=(Comment("c", rater=B),)), id="1")
    one, two = join([first, other, second])
    (reply,) = one.responses
    assert reply.ratings == (Rating({"k": 1}, A), Rating({"k": 3}, B)) and reply.scores == {}
    assert reply.votes == (Vote("agree", 1, A),) and reply.comments == (Comment("c", rater=B),)
    assert two == other and one.id == "1" and one.extra == {}


def test_replies_of_a_prompt_meet_and_verdicts_follow_them() -> None:
    first = row("p", Response("x"), Response("y"), comparisons=(Comparison(0, 1, "first", "k", rater=A),))
    second = row("p", Response("z"), Response("x"), comparisons=(Comparison(0, 1, "first", "k", rater=B),))
    third = row("p", Response("y"), Response("z"), rankings=(Ranking(((1,), (0,))),))
    (one,) = join([first, second, third])
    assert [reply.text for reply in one.responses] == ["x", "y", "z"]
    assert one.comparisons == (Comparison(0, 1, "first", "k", rater=A), Comparison(2, 0, "first", "k", rater=B))
    assert one.rankings == (Ranking(((2,), (1,))),)


def test_scores_of_several_rows_are_ratings_and_their_mean() -> None:
    rows = [row("p", Response("x", {"k": score, "n": None})) for score in (5, 5, 2)]
    (one,) = join(rows)
    (reply,) = one.responses
    assert reply.scores == {"k": 4.0, "n": None}
    assert reply.ratings == tuple(Rating({"k": score, "n": None}) for score in (5, 5, 2))
    (again,) = join([one, row("p", Response("x", {"k": 0, "n": 1}))])  # joined once more: (5 + 5 + 2 + 0) / 4
    assert again.responses[0].scores == {"k": 3.0, "n": 1.0} and len(again.responses[0].ratings) == 4


def test_one_row_with_scores_stays_as_it_is() -> None:
    (one,) = join([row("p", Response("x", {"k": 2}, (Rating({"k": 2}, A),))), row("p", Response("x"), Response("y"))])
    assert one.responses == (Response("x", {"k": 2}, (Rating({"k": 2}, A),)), Response("y"))


@pytest.mark.parametrize("change", [{"model": "m"}, {"condition": Weights({"k": 1})}, {"finished": False}])
def test_replies_of_different_origin_stay_apart(change: dict[str, Any]) -> None:
    (one,) = join([row("p", Response("x", {"k": 1})), row("p", dataclasses.replace(Response("x", {"k": 2}), **change))])
    assert [reply.scores for reply in one.responses] == [{"k": 1}, {"k": 2}]


def test_the_same_words_twice_in_one_row_stay_two_replies() -> None:
    twin = row("p", Response("x"), Response("x"), comparisons=(Comparison(0, 1, "tie"),))
    (one,) = join([twin, twin])
    assert len(one.responses) == 2 and one.comparisons == (Comparison(0, 1, "tie"),) * 2


def test_texts_without_a_prompt_are_joined_by_their_words() -> None:
    rows = [row(" ", Response(words, ratings=(Rating({"k": 1}, rater),))) for words in "xy" for rater in (A, B)]
    assert [(one.responses[0].text, len(one.responses[0].ratings)) for one in join(rows)] == [("x", 2), ("y", 2)]


def test_what_differs_is_kept() -> None:
    first = row("p", Response("x", thumb="up", extra={"n": 1, "m": 0}), id="1", language="en", extra={"e": [1]})
    second = row("p", Response("x", thumb="down", extra={"n": True, "m": 0}), id="2", extra={"e": [1], "f": 2})
    third = row("p", Response("x"), id="1", language="de", source="s")
    (one,) = join([first, second, third])
    assert (one.id, one.language, one.source) == ("1", "en", None)
    assert one.extra == {"e": [1], "f": 2, "joined": {"id": ["1", "2"], "language": ["en", "de"]}}
    (reply,) = one.responses
    assert reply.thumb is None
    assert reply.extra == {"n": 1, "m": 0, "joined": {"n": [1, True], "thumb": ["up", "down"]}}
    (again,) = join([one, row("p", id="3")])
    assert again.extra["joined"]["id"] == ["1", "2", "3"]


def test_rows_are_counted_and_streamed_again(tmp_path: Path) -> None:
    rows = [row("p", Response("x")), row("q"), row("p", Response("y"))]

    def stream(tally: Tally) -> Iterable[Record]:
        for record in rows:
            tally.keep()
            yield record

    dataset = joined(Dataset((), stream, "licence", "source", "reader"))  # type: ignore[arg-type]
    tally = Tally()
    assert [len(record.responses) for record in dataset.records(tally)] == [2, 0] == [len(r.responses) for r in dataset]
    assert (tally.kept, dataset.licence, dataset.source) == (3, "licence", "source")


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be written as JSON"):
        list(join([row("p", extra={"x": float("nan")})]))


def _said(records: Iterable[Record]) -> Counter[str]:
    """Everything that people said, with what it is about in words."""
    found: Counter[str] = Counter()
    for record in records:
        about = json.dumps(to_json(dataclasses.replace(record, responses=(), comparisons=(), rankings=()))["messages"])
        for reply in record.responses:
            said = [rating for rating in reply.ratings if rating.rater is not None]
            for item in (*said, *reply.comments, *reply.spans, *reply.votes):
                found[f"{about} {reply.text!r} {item}"] += 1
        for one in record.comparisons:
            words = [record.responses[place].text for place in (one.first, one.second)]
            found[f"{about} {words} {dataclasses.replace(one, first=0, second=1)}"] += 1
        for ranking in record.rankings:
            words = [sorted(record.responses[place].text for place in tier) for tier in ranking.tiers]
            found[f"{about} {words} {ranking.objective} {ranking.rater}"] += 1
    return found


few_prompts = st.sampled_from(["p", "q", ""])


@given(st.lists(st.tuples(any_records(), few_prompts), max_size=6))
@settings(max_examples=25)
def test_laws(asked_and_said: list[tuple[Record, str]]) -> None:
    """Nothing said is lost; every prompt comes once, in the first order; joining again changes nothing."""
    rows = [dataclasses.replace(record, messages=user(prompt)) for record, prompt in asked_and_said]
    done = list(join(rows))
    assert _said(done) == _said(rows)
    assert list(join(done)) == done
    asked = [record.messages for record in done if any(turn.content.strip() for turn in record.messages)]
    first = dict.fromkeys(r.messages for r in rows if any(turn.content.strip() for turn in r.messages))
    assert asked == list(first)
    assert all(from_json(json.loads(json.dumps(to_json(record)))) == record for record in done)
