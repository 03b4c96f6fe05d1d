"""Every number of an inspection, worked out by hand on a few records."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from pluralign.data.dataset import Dataset
from pluralign.data.inspect.collect import inspect
from pluralign.data.inspect.inspection import Inspection
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Comparison, Ranking, Rater, Rating, Record, Response, Span, Vote, user
from pluralign.errors import ConfigError, DataError

KIND, BRIEF, RISK = Objective("kind", high=4.0), Objective("brief", high=4.0), Objective("risk", direction="lower")
NAN = float("nan")


def seen(*records: Record, objectives: Sequence[Objective] = (KIND, BRIEF), limit: int | None = None) -> Inspection:
    """The inspection of these records."""
    return inspect(Dataset(tuple(objectives), lambda tally: iter(records), "MIT", "us", "here"), "a file", limit)


def scored(prompt: str, *replies: tuple[str, dict[str, float | None]], **fields: object) -> Record:
    """A record of replies with scores."""
    return Record(user(prompt), tuple(Response(text, scores) for text, scores in replies), **fields)  # type: ignore[arg-type]


def about(found: Inspection) -> set[str]:
    """The kinds of advice that were given."""
    return {item.kind for item in found.advice}


def test_spread_missing_and_abstained_stay_apart() -> None:
    """kind: 1 and 3 of four replies, one abstained, one missing; brief: 4 and 0, whose mean is 2 and deviation 2."""
    found = seen(
        scored("p", ("a", {"kind": 1.0, "brief": 4.0}), ("b", {"kind": None, "brief": 0.0})),
        scored("q", ("c", {"kind": 3.0}), ("d", {})),
    )
    kind, brief = found.spreads
    assert (kind.scored, kind.missing, kind.abstained) == (2, 0.25, 0.25)
    assert (kind.mean, kind.deviation, kind.smallest, kind.largest) == (2.0, 1.0, 1.0, 3.0)
    assert (brief.mean, brief.deviation, brief.missing) == (2.0, 2.0, 0.5)
    assert kind.histogram == {"values": [1.0, 3.0], "counts": [1, 1]}


def test_many_values_become_twenty_parts() -> None:
    """Scores 0, .1 ... 4: each part of width .2 holds two, the last one 3.8, 3.9 and 4."""
    found = seen(*(scored(f"p{i}", ("r", {"kind": round(0.1 * i, 6) + 1e-9 * (i < 40)})) for i in range(41)))
    histogram = found.spreads[0].histogram
    assert histogram["counts"] == [2] * 19 + [3]
    assert histogram["edges"] == pytest.approx(np.linspace(0, 4, 21).tolist())


def test_correlation_is_signed_and_over_replies_with_both() -> None:
    """(0, .2), (2, .4), (4, .6) lie on a line; risk is better when lower, so r = -1; the fourth reply has no risk."""
    rows = [(0.0, 0.2), (2.0, 0.4), (4.0, 0.6)]
    replies = [(f"r{i}", {"kind": kind, "risk": risk}) for i, (kind, risk) in enumerate(rows)]
    found = seen(scored("p", *replies, ("r3", {"kind": 1.0})), objectives=(KIND, RISK))  # type: ignore[arg-type]
    assert found.correlation == pytest.approx(np.array([[1, -1], [-1, 1]]))
    assert found.halo.mean == pytest.approx(-1)


def test_halo_leaves_replies_with_the_lowest_mark_everywhere_out() -> None:
    """With (0, 0) the four corners have r = 0; without it (1, 0), (0, 1), (1, 1) have r = (1/3 - 4/9) / (2/9) = -1/2."""
    corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    found = seen(scored("p", *((f"r{i}", {"kind": k, "brief": b}) for i, (k, b) in enumerate(corners))))
    assert found.correlation[0, 1] == pytest.approx(0)
    assert (found.halo.mean, found.ungraded) == (pytest.approx(-0.5), 1)


def test_pairs_ties_conflict_and_length() -> None:
    """Three replies a (1 character), bb (2), ccc (3): kind 0 < 2 = 2, brief 4 > 2 > 1.

    kind: a < bb, a < ccc, bb = ccc: three judged, one tied, both decided pairs won by the longer. brief: the shorter
    wins all three. Both are decided on two pairs, and they disagree on both.
    """
    found = seen(scored("p", *zip(("a", "bb", "ccc"), _scores([0, 2, 2], [4, 2, 1]), strict=True)))
    facts = found.pairs
    assert (facts.pairs, facts.judged.tolist(), facts.both[0, 1]) == (3, [3, 3, 0], 2)
    assert facts.tied[:2] == pytest.approx([1 / 3, 0])
    assert facts.longer_wins[:2] == pytest.approx([1, 0])
    assert facts.by_length.tolist() == [2, 3, 0]
    assert facts.conflict[0, 1] == facts.conflict[1, 0] == 1
    assert (facts.mixed, facts.comparable) == (1, 2)
    assert math.isnan(facts.longer_wins[2])


def _scores(kind: Sequence[float], brief: Sequence[float]) -> list[dict[str, float | None]]:
    return [{"kind": float(one), "brief": float(two)} for one, two in zip(kind, brief, strict=True)]


def test_judgements_without_an_objective_are_the_last_axis() -> None:
    """Overall the second is better, on kind the first: they conflict; the ranking's tie is no decision."""
    record = Record(
        user("p"),
        (Response("one"), Response("three")),
        (
            Comparison(0, 1, "second", None, 2.0),
            Comparison(0, 1, "first", "kind"),
            Comparison(0, 1, "abstain", "brief"),
        ),
        (Ranking(((0, 1),), "brief"),),
    )
    facts = seen(record).pairs
    assert facts.judged.tolist() == [1, 1, 1]
    assert facts.conflict[0, 2] == facts.conflict[2, 0] == 1
    assert facts.tied.tolist() == [0, 1, 0]
    assert facts.longer_wins[[0, 2]].tolist() == [0, 1]
    assert facts.comparable == 0


def test_length_bias_of_scores() -> None:
    """Scores 1, 2, 3 of replies with 2, 4, 6 characters: r = 1; steps 2 to 3 and 4 to 7 characters."""
    found = seen(*(scored(f"p{i}", ("x" * 2 * i, {"kind": float(i)})) for i in (1, 2, 3)))
    assert found.length.correlation[0] == pytest.approx(1)
    assert math.isnan(found.length.correlation[1])
    assert found.length.at_least == [2, 4]
    assert found.length.mean[:, 0].tolist() == [1.0, 2.5]
    assert found.length.num[:, 0].tolist() == [1, 2]


def test_duplicates_exactly_and_roughly() -> None:
    """Prompt p twice (once as "P?"), the reply "Yes." in two prompts and twice in a record, "yes" its variant."""
    found = seen(
        scored("p", ("Yes.", {}), ("Yes.", {}), ("No.", {}), id="1"),
        scored("p", ("Yes.", {}), ("yes", {}), id="1"),
        scored("P?", ("Maybe", {}), (" ", {}), id="2"),
        scored("q", ("Yes.", {}), (" ", {})),
    )
    facts = found.duplicates
    assert (facts.prompts, facts.prompts_roughly) == (3, 2)
    assert (facts.repeated_prompts, facts.records_again) == (1, 1)
    assert (facts.in_record, facts.in_prompt, facts.near_in_prompt) == (1, 2, 1)
    assert (facts.across, facts.across_replies, facts.near_across) == (1, 4, 1)
    assert (facts.ids, facts.ids_again) == (1, 1)
    kinds = {"duplicate_replies", "near_duplicates", "duplicates_across", "repeated_prompts", "near_prompts"}
    assert about(found) >= {*kinds, "duplicate_ids", "empty_replies", "no_feedback"}


def test_who_said_how_much() -> None:
    """ann: two ratings, a comparison, a comment and a vote; bob: one rating. A count of votes and a rating have no id."""
    ann, bob = Rater("ann", "north", "en", {"age": "30"}), Rater("bob", "south", None, {"age": "50"})
    reply = Response(
        "a",
        ratings=(Rating({"kind": 1.0}, ann), Rating({"kind": 2.0}, bob), Rating({"kind": 3.0}, Rater(group="south"))),
        comments=(Comment("good", rater=ann),),
        votes=(Vote("agree", 3, Rater(group="north")), Vote("pass", 1, ann)),
    )
    other = Response("b", ratings=(Rating({"kind": 1.0}, ann),))
    who = seen(Record(user("p"), (reply, other), (Comparison(0, 1, "first", "kind", rater=ann),))).raters
    assert (who.num, who.judgements, who.anonymous) == (2, 6, 4)
    assert (who.least, who.median, who.most, dict(who.top)) == (1, 3.0, 5, {"ann": 5, "bob": 1})
    assert (who.groups, who.group_judgements) == ({"north": 1, "south": 1}, {"north": 8, "south": 2})
    assert (who.languages, who.demographics) == ({"en": 1}, {"age": {"30": 1, "50": 1}})
    assert who.histogram == ((1, 1, 1), (5, 5, 1))


def test_agreement_and_shift_across_records() -> None:
    """Ann scores five replies 1 above bob, who says 0, 1, 2, 3, 3, each in records of their own: shifts +1 and -1."""
    ann, bob = Rater("ann", "n"), Rater("bob", "n")
    rows = [(f"r{i}", score) for i, score in enumerate((0, 1, 2, 3, 3))]
    records = [
        Record(user("p"), (Response(text, ratings=(Rating({"kind": float(score + (who is ann))}, who),)),))
        for text, score in rows
        for who in (ann, bob)
    ]
    found = seen(*records)
    shift = found.shifts[0]
    assert (shift.raters, shift.deviation, shift.lowest, shift.highest) == (2, 1.0, -1.0, 1.0)
    (agreed,) = found.agreement
    assert (agreed.about, agreed.of, agreed.units, agreed.values, agreed.equal) == ("kind", "scores", 5, 10, 0.0)
    # interval by hand: Σ o δ² = 5·2 = 10; n = 10, Σ x = 23, Σ x² = 69, Σ n n δ² = 2·(690 - 529) = 322; 1 - 9·10/322
    assert agreed.alphas["interval"] == pytest.approx(1 - 90 / 322)
    assert agreed.within == {"n": pytest.approx(agreed.alpha)}
    assert agreed.level == "ordinal"


def test_agreement_on_comparisons_whatever_the_order_of_the_replies() -> None:
    """Ann and bob both prefer "a", who stands first once and second once; the third judge is an aggregate and no voice."""
    ann, bob = Rater("ann"), Rater("bob")
    one = Record(user("p"), (Response("a"), Response("b")), (Comparison(0, 1, "first", "kind", rater=ann),))
    two = Record(user("p"), (Response("b"), Response("a")), (Comparison(0, 1, "second", "kind", rater=bob),))
    three = Record(user("p"), (Response("b"), Response("a")), (Comparison(0, 1, "first", "kind"),))
    (agreed,) = seen(one, two, three).agreement
    assert (agreed.about, agreed.of, agreed.units, agreed.values, agreed.equal) == ("kind", "comparisons", 1, 2, 1.0)


def test_votes_of_people_and_scores_without_names() -> None:
    """Two named votes differ; two ratings without a rater are two people; one alone is the aggregate."""
    votes = (Vote("agree", 1, Rater("x")), Vote("disagree", 1, Rater("y")), Vote("agree", 7, Rater(group="g")))
    reply = Response("a", ratings=(Rating({"kind": 1.0}), Rating({"kind": 1.0})), votes=votes)
    found = {
        item.of: item
        for item in seen(
            Record(
                user("p"),
                (
                    reply,
                    Response("b", ratings=(Rating({"kind": 1.0}),)),
                ),
            )
        ).agreement
    }
    assert (found["votes"].units, found["votes"].equal) == (1, 0.0)
    assert (found["scores"].units, found["scores"].equal) == (1, 1.0)


def test_counts_and_what_no_field_holds() -> None:
    reply = Response(
        "a b", {"kind": 1.0}, (Rating({"kind": 1.0}, Rater("x")), Rating({"kind": 1.0})), (Comment("c", "kind"),),
        (Span(0, 1, "s"),), (Vote("agree", 4), Vote("pass")), "up", None, False, "m", {"seen": 1},
    )  # fmt: skip
    record = Record(
        user("p"), (reply, Response("b")), (Comparison(0, 1, "tie", None, None, None, "why"),),
        (Ranking(((0,), (1,)), "kind"),), "i", "de", "s", {"topic": 1},
    )  # fmt: skip
    counts = seen(record, Record(user("q"))).counts
    assert (counts.records, counts.replies, dict(counts.replies_per_prompt)) == (2, 2, {0: 1, 2: 1})
    assert counts.ratings == {"aggregate": 1, "by a rater": 1, "without a rater": 1}
    assert (counts.comparisons, counts.rankings, counts.comments) == ({"(overall): tie": 1}, {"kind": 1}, {"kind": 1})
    assert (counts.votes, counts.thumbs) == ({"agree": 4, "pass": 1}, {"up": 1})
    assert counts.marks == {"comparisons with a reason": 1, "replies with marked parts": 1, "replies cut off": 1}
    assert (counts.languages, counts.models, counts.sources) == ({"de": 1}, {"m": 1}, {"s": 1})
    assert counts.extra == {"record: topic": 1, "reply: seen": 1}


def test_how_texts_look() -> None:
    """Lengths 0, 2, 4, 6 and 20,000: the median is 4, the mean 20012 / 5."""
    texts = ["", " x", "\ufffdabc", "<|im>|", "é" + "x" * 19_999]
    facts = seen(*(scored(f"p{i}", (text, {})) for i, text in enumerate(texts))).replies
    assert (facts.num, facts.empty, facts.shortest, facts.longest) == (5, 1, 0, 20_000)
    assert (facts.mean, facts.median) == (20012 / 5, 4)
    assert facts.p95 == pytest.approx(20_000, rel=0.01)
    assert facts.odd == {"white space at an end": 1, "replacement characters (U+FFFD)": 1}
    odd = {"cafÃ© â€œx": "garbled UTF-8", "a\x00b": "control characters", "a\u202eb": "invisible or direction marks",
           "</s>": "what looks like a special token", "שלום": "right-to-left letters", "\ud800": "half characters"}  # fmt: skip
    for text, name in odd.items():
        assert seen(scored("p", (text, {}))).replies.odd == {name: 1}
    assert seen(scored("p", ("An émigré’s café — 👩‍👩‍👧 naïve, ÂGE", {}))).replies.odd == {}


def test_a_record_with_very_many_replies_is_thinned_out_evenly() -> None:
    """Of 500 replies 64 are paired: 64·63/2 = 2016 pairs, and a comparison between two left out is not."""
    replies = tuple(Response("x" * i, {"kind": i / 200}) for i in range(500))
    record = Record(user("p"), replies, (Comparison(0, 499, "first", "brief"), Comparison(1, 2, "first", "brief")))
    facts = seen(record).pairs
    assert (facts.pairs, facts.judged.tolist()) == (2016, [2016, 1, 0])
    assert facts.longer_wins.tolist()[:2] == [1, 0]


def test_the_limit_and_nothing_at_all() -> None:
    records = [scored(f"p{i}", ("a", {"kind": 1.0})) for i in range(5)]
    assert seen(*records, limit=3).counts.records == 3
    with pytest.raises(ConfigError, match="from 1, got 0"):
        seen(*records, limit=0)
    with pytest.raises(DataError, match="a file: holds no usable record"):
        seen()
