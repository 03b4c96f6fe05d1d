"""One person's feedback alone: theirs stays, what names nobody goes, and training sees their ratings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.evidence import evidence
from pluralign.data.objective import Objective
from pluralign.data.personal import only
from pluralign.data.record import Comment, Comparison, Rater, Rating, Record, Response, user
from pluralign.errors import DataError

KIND = Objective("kind", low=0, high=4)
ANN, BOB = Rater("ann", "cooks"), Rater("bob", "nurses")


def dataset(*records: Record) -> Dataset:
    def stream(tally: Tally) -> Iterable[Record]:
        for record in records:
            tally.keep()
            yield record

    return Dataset((KIND,), stream, "MIT", "us", "here")  # type: ignore[arg-type]


def reply(text: str, aggregate: float, ann: float, bob: float) -> Response:
    ratings = (Rating({"kind": ann}, ANN), Rating({"kind": bob}, BOB))
    return Response(text, {"kind": aggregate}, ratings, comments=(Comment("hm", None, BOB),), thumb="up")


RECORD = Record(
    user("?"),
    (reply("a", 4.0, 1.0, 3.0), reply("b", 2.0, 3.0, 1.0)),
    (Comparison(0, 1, "first", "kind"), Comparison(0, 1, "tie", None, rater=ANN)),
    extra={"workers": ["ann", "bob"], "topic": "tea"},
)


def test_training_follows_the_one_person() -> None:
    """Aggregates say a beats b by 2, and hide ann, who says b beats a by 2."""
    assert evidence(RECORD, [KIND]).size[0, 1, 0] == 2.0
    (own,) = only(dataset(RECORD), "ann").records()
    assert evidence(own, [KIND]).size[0, 1, 0] == -2.0
    assert [response.scores for response in own.responses] == [{}, {"kind": 3.0}]  # 2 was the mean, 4 was not
    assert [response.ratings for response in own.responses] == [(Rating({"kind": n}, ANN),) for n in (1.0, 3.0)]
    assert not any(response.comments or response.thumb for response in own.responses)
    assert own.comparisons == (Comparison(0, 1, "tie", None, rater=ANN),)
    assert own.extra == {"workers": ["ann"], "topic": "tea"}


def test_a_group_and_what_it_says() -> None:
    (nurses,) = only(dataset(RECORD), group="nurses").records()
    assert [response.ratings[0].rater for response in nurses.responses] == [BOB, BOB]
    assert [response.comments for response in nurses.responses] == [(Comment("hm", None, BOB),)] * 2
    with pytest.raises(DataError, match="no feedback names the annotator 'ann' and the group 'nurses'"):
        list(only(dataset(RECORD), "ann", "nurses"))


def test_records_that_they_did_not_judge_are_left_out_and_rows_still_counted() -> None:
    silent = replace(RECORD, responses=(Response("c", {"kind": 1.0}),), comparisons=())
    tally = Tally()
    assert len(list(only(dataset(silent, RECORD, silent), "bob").records(tally))) == 1
    assert (tally.read, tally.kept) == (3, 3)


def test_somebody_unknown_is_an_error() -> None:
    with pytest.raises(DataError, match="no feedback names the annotator 'eve'"):
        list(only(dataset(RECORD), "eve"))
