"""Forgetting an annotator and dividing by people: hand-made cases, and laws over any records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from data_strategies import OBJECTIVES, records
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data import attribution
from pluralign.data.check import check
from pluralign.data.divide import UNATTRIBUTED, Divided, divide
from pluralign.data.forget import Forgotten, forget
from pluralign.data.record import Comment, Comparison, Ranking, Rater, Rating, Record, Response, Vote, user
from pluralign.data.split import part_of_key

ANN, BOB, CAT = Rater("ann", "nurses"), Rater("bob", "cooks"), Rater("cat", None, None, {"country": "Ghana"})
PARTS = {"train": 0.5, "test": 0.5}


def ratings(*given: tuple[Rater | None, float | None]) -> tuple[Rating, ...]:
    return tuple(Rating({"kind": score}, rater) for rater, score in given)


def without(record: Record, annotator: str = "ann") -> tuple[Record, Forgotten]:
    found = Forgotten()
    (rest,) = forget([record], annotator, found)
    return rest, found


def one(response: Response, *comparisons: Comparison, **more: Any) -> Record:
    return Record(user("How?"), (response, Response("other")), comparisons, **more)


# -- forget --------------------------------------------------------------------------------------------------------


def test_a_mean_is_made_anew_from_those_who_stay() -> None:
    response = Response("r", {"kind": 2.0}, ratings((ANN, 4.0), (BOB, 1.0), (CAT, 1.0)))
    rest, found = without(one(response))
    assert rest.responses[0].scores == {"kind": 1.0}
    assert (found.removed, found.recomputed, found.uncertain) == (Counter(ratings=1), 1, Counter())


def test_a_mean_of_nobody_else_goes_and_one_of_abstentions_abstains() -> None:
    alone, _ = without(one(Response("r", {"kind": 4.0}, ratings((ANN, 4.0)))))
    declined, _ = without(one(Response("r", {"kind": 4.0}, ratings((ANN, 4.0), (BOB, None)))))
    assert alone.responses[0].scores == {}
    assert declined.responses[0].scores == {"kind": None}


def test_an_aggregate_of_more_than_the_file_shows_stays_and_is_named() -> None:
    rest, found = without(one(Response("r", {"kind": 3.0, "brief": 1.0}, ratings((ANN, 4.0), (BOB, 1.0)), thumb="up")))
    assert rest.responses[0].scores == {"kind": 3.0, "brief": 1.0}
    assert found.uncertain == Counter(scores=1, thumbs=1)  # brief was never asked of ann


def test_what_names_nobody_is_counted_where_the_annotator_judged_too() -> None:
    said = (Comparison(0, 1, "first", "kind", rater=ANN), Comparison(1, 0, "second", "kind"), Comparison(0, 1, "tie"))
    record = replace(
        one(Response("r", votes=(Vote("agree", 1, ANN), Vote("pass", 7, Rater(group="nurses")))), *said),
        rankings=(Ranking(((0,), (1,)), "kind", ANN), Ranking(((1,), (0,)), "kind")),
    )
    rest, found = without(record)
    assert found.removed == Counter(comparisons=1, votes=1, rankings=1)
    assert found.uncertain == Counter(comparisons=1, votes=1, rankings=1)
    assert (rest.comparisons, len(rest.rankings)) == (said[1:], 1)
    assert rest.responses[0].votes == (Vote("pass", 7, Rater(group="nurses")),)


def test_ids_in_extra_go_too() -> None:
    extra = {
        "worker": "ann",
        "split": "ann",  # a text that happens to read alike, under a key that names nobody
        "labels": [{"annotator": "ann", "label": 3}, {"annotator": "bob", "label": 1}],
        "by": {"ann": 4, "bob": 2},
        "raters": ["ann", "bob"],
    }
    rest, found = without(one(Response("r", extra={"user_id": "ann"}), extra=extra))
    assert rest.extra == {
        "split": "ann", "labels": [{"annotator": "bob", "label": 1}], "by": {"bob": 2}, "raters": ["bob"],
    }  # fmt: skip
    assert rest.responses[0].extra == {}
    assert (found.removed, found.touched) == (Counter(extra=5), 1)


def raters_in(value: Any) -> Iterator[Rater]:
    """Every rater anywhere in a record."""
    if isinstance(value, Rater):
        yield value
    for name in getattr(value, "__dataclass_fields__", ()):
        yield from raters_in(getattr(value, name))
    if isinstance(value, tuple):
        for item in value:
            yield from raters_in(item)


people = st.sampled_from([None, ANN, BOB, CAT, Rater(None, "nurses")])


@st.composite
def said(draw: st.DrawFn) -> Record:
    """Any record, its raters a few people, its scores sometimes the mean of its ratings."""
    record = draw(records())

    def named(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(replace(item, rater=draw(people)) for item in items)

    replies = []
    for reply in record.responses:
        kinds = {kind: named(getattr(reply, kind)) for kind in ("ratings", "comments", "spans", "votes")}
        scores = dict(reply.scores)
        if draw(st.booleans()):
            scores |= attribution._means(kinds["ratings"])
        replies.append(replace(reply, scores=scores, **kinds))
    return replace(
        record, responses=tuple(replies), comparisons=named(record.comparisons), rankings=named(record.rankings)
    )


@settings(max_examples=40)
@given(said())
def test_forgetting_leaves_nothing_of_one_and_everything_of_the_others(record: Record) -> None:
    rest, found = without(record)
    assert all(rater.id != "ann" for rater in raters_in(rest))
    before, after = (Counter(kind for kind, _ in attribution.feedback(some)) for some in (record, rest))
    assert before == after + Counter({kind: num for kind, num in found.removed.items() if kind != "extra"})
    others = [item for _, item in attribution.feedback(record) if item.rater is None or item.rater.id != "ann"]
    assert [item for _, item in attribution.feedback(rest)] == others
    check(rest, OBJECTIVES)
    again, nothing = without(rest)
    assert (again, nothing.touched) == (rest, 0)


# -- divide --------------------------------------------------------------------------------------------------------


def divided(record: Record, by: str, seed: int = 0) -> tuple[dict[str, Record], Divided]:
    counts = Divided()
    return dict(divide(record, PARTS, by, seed, counts)), counts


def seed_that_separates(*keys: str, by: str) -> int:
    """A seed under which the first is in train and the second in test."""
    return next(
        seed for seed in range(99) if [part_of_key([by, key], PARTS, seed) for key in keys] == ["train", "test"]
    )


def test_each_part_has_its_own_people_and_their_mean() -> None:
    response = Response(
        "r", {"kind": 3.0, "brief": 1.0}, ratings((ANN, 4.0), (BOB, 2.0)), (Comment("hm", None, BOB), Comment("so"))
    )
    record = one(
        response, Comparison(0, 1, "first", rater=ANN), Comparison(0, 1, "tie"), extra={"workers": ["ann", "bob"]}
    )
    seed = seed_that_separates("ann", "bob", by="annotator")
    parts, counts = divided(record, "annotator", seed)
    assert parts["train"].responses[0] == Response("r", {"kind": 4.0}, ratings((ANN, 4.0)))
    assert parts["train"].comparisons == (Comparison(0, 1, "first", rater=ANN),)
    assert parts["test"].responses[0] == Response("r", {"kind": 2.0}, ratings((BOB, 2.0)), (Comment("hm", None, BOB),))
    nameless = parts[UNATTRIBUTED]
    assert nameless.responses[0] == Response("r", {"brief": 1.0}, comments=(Comment("so"),))
    assert nameless.comparisons == (Comparison(0, 1, "tie"),)
    assert [parts[name].extra["workers"] for name in ("train", "test", UNATTRIBUTED)] == [["ann"], ["bob"], []]
    assert counts.given == Counter(ratings=2, comments=2, comparisons=2, scores=1)
    assert counts.feedback[UNATTRIBUTED] == Counter(comments=1, comparisons=1, scores=1)


def test_groups_and_demographics_divide_too() -> None:
    record = one(Response("r", ratings=ratings((ANN, 4.0), (BOB, 2.0), (CAT, 1.0))))
    parts, _ = divided(record, "group", seed_that_separates("nurses", "cooks", by="group"))
    assert [len(parts[name].responses[0].ratings) for name in ("train", "test", UNATTRIBUTED)] == [1, 1, 1]
    parts, _ = divided(record, "country")
    assert [rating.rater for rating in parts[UNATTRIBUTED].responses[0].ratings] == [ANN, BOB]
    assert [rating.rater for rating in parts[part_of_key(["country", "Ghana"], PARTS)].responses[0].ratings] == [CAT]


@settings(max_examples=30)
@given(st.lists(said(), max_size=4), st.sampled_from(["annotator", "group", "country"]), st.integers(0, 5))
def test_nobody_is_in_two_parts_and_nothing_is_lost(some: list[Record], by: str, seed: int) -> None:
    counts = Divided()
    where: dict[str, set[str]] = {}
    items: Counter[str] = Counter()
    for record in some:
        for name, piece in divide(record, PARTS, by, seed, counts):
            check(piece, OBJECTIVES)
            assert [reply.text for reply in piece.responses] == [reply.text for reply in record.responses]
            items.update(kind for kind, _ in attribution.feedback(piece))
            for rater in raters_in(piece):
                key = {"annotator": rater.id, "group": rater.group}.get(by, rater.demographics.get(by))
                where.setdefault(key or "", set()).add(name)
    assert all(len(parts) == 1 for parts in where.values())
    assert where.get("", {UNATTRIBUTED}) == {UNATTRIBUTED}
    assert items == Counter(kind for record in some for kind, _ in attribution.feedback(record))
    assert +sum(counts.feedback.values(), Counter()) == +counts.given
