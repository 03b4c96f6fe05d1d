"""Who said it: per-rater standardisation, groups by demographics and by opinions, group-aware consensus."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
from data_strategies import OBJECTIVES, records
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data.conversions.consensus import consensus, group_aware, principles
from pluralign.data.conversions.per_rater import per_rater
from pluralign.data.conversions.rater_groups import by_demographics, by_opinions, opinions
from pluralign.data.dataset import Tally
from pluralign.data.objective import Objective
from pluralign.data.opinion_groups import cluster, imputed, projected, silhouette
from pluralign.data.record import Comparison, Ranking, Rater, Rating, Record, Response, Vote, user
from pluralign.errors import ConfigError, DataError

KIND = (Objective("kind", high=4.0),)


def rated(**scores: list[float | None]) -> list[Record]:
    """One record per item; every rater's scores of the items, None where not rated."""
    num = max(map(len, scores.values()))
    return [
        Record(
            user(f"q{item}"),
            (
                Response(
                    "a",
                    ratings=tuple(
                        Rating({"kind": given[item]}, Rater(name))
                        for name, given in scores.items()
                        if given[item] is not None
                    ),
                ),
            ),
        )
        for item in range(num)
    ]


def values(found: object, rater: str) -> list[float]:
    return [
        rating.scores["kind"]
        for record in found  # type: ignore[attr-defined]
        for rating in record.responses[0].ratings
        if rating.rater.id == rater
    ]


def test_shift_and_zscore_by_hand() -> None:
    # ann: mean 3, variance 1; ben: mean 1, variance 1; all: mean 2, variance (4 + 0 + 4 + 0) / 4 = 2
    data = rated(ann=[4, 2], ben=[2, 0])
    assert values(per_rater(data, KIND, "shift", 0), "ann") == [3, 1]
    assert values(per_rater(data, KIND, "shift", 2), "ann") == [3.5, 1.5]  # m_ann = (6 + 2 * 2) / 4 = 2.5
    stretched = values(per_rater(data, KIND, "zscore", 0), "ben")
    assert stretched == pytest.approx([2 + math.sqrt(2), 2 - math.sqrt(2)])
    # κ = 2: m_ben = 1.5, s_ben² = (2 + 2 * 2) / 4 = 1.5
    shrunk = values(per_rater(data, KIND, "zscore", 2), "ben")
    assert shrunk == pytest.approx([2 + 0.5 * math.sqrt(2 / 1.5), 2 - 1.5 * math.sqrt(2 / 1.5)])
    ranges = per_rater(data, KIND, "shift", 0).objectives[0]
    assert (ranges.low, ranges.high) == (-1.0, 5.0)


def test_what_nobody_with_an_id_said_stays() -> None:
    ann = Rater("ann")
    nameless, abstained = Rating({"kind": 4.0}), Rating({"kind": None, "brief": 1.0}, ann)
    reply = Response("a", {"kind": 3.0, "brief": 2.0}, (Rating({"kind": 1.0}, ann), nameless, abstained))
    other = Response("b", {"kind": 3.0}, (nameless,))
    (found,) = per_rater([Record(user("q"), (reply, other))], KIND, "shift", 0)
    assert found.responses[0].ratings == (Rating({"kind": 1.0}, ann), nameless, abstained)
    assert found.responses[0].scores == {"brief": 2.0}  # the aggregate on kind was in the old units
    assert found.responses[1] == other
    constant = per_rater(rated(ann=[2, 2], ben=[4, 4]), KIND, "zscore", 0)
    assert values(constant, "ann") == values(constant, "ben") == [3, 3]  # no spread of their own: only shifted
    with pytest.raises(ConfigError, match="two passes"):
        per_rater(iter(rated(ann=[1])), KIND)
    with pytest.raises(ConfigError, match="zscore, shift"):
        per_rater(rated(ann=[1]), KIND, "rank")
    tally = Tally()
    assert len(list(constant.records(tally))) == tally.kept == 2


sheets = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=4
)


@given(sheets, st.sampled_from(["zscore", "shift"]), st.floats(0, 20))
def test_laws_of_standardisation(sheet: Mapping[str, list[int]], kind: str, shrinkage: float) -> None:
    data = rated(**sheet)
    found = per_rater(data, KIND, kind, shrinkage)
    low, high = found.objectives[0].low, found.objectives[0].high
    everyone = np.concatenate([values(found, rater) for rater in sheet])
    assert ((everyone >= low - 1e-9) & (everyone <= high + 1e-9)).all()
    for rater, given_scores in sheet.items():
        order = np.argsort(np.argsort(given_scores, kind="stable"), kind="stable")
        assert (np.argsort(np.argsort(np.round(values(found, rater), 9), kind="stable"), kind="stable") == order).all()
    if shrinkage == 0:
        overall = np.mean(list(sheet.values()))
        assert all(np.mean(values(found, rater)) == pytest.approx(overall) for rater in sheet)
    backwards = per_rater(data[::-1], KIND, kind, shrinkage)
    assert values(backwards, next(iter(sheet)))[::-1] == pytest.approx(values(found, next(iter(sheet))))


@given(records())
@settings(max_examples=30)
def test_any_record_passes(record: Record) -> None:
    (found,) = per_rater([record], OBJECTIVES)
    assert len(found.responses) == len(record.responses) and found.comparisons == record.comparisons


def test_silhouette_and_projection_by_hand() -> None:
    points = np.array([[0.0], [1.0], [5.0], [6.0]])
    # a = 1 for all; b = 5.5 for the ends, 4.5 for the middle: (4.5 / 5.5 + 3.5 / 4.5) / 2
    assert silhouette(points, np.array([0, 0, 1, 1])) == pytest.approx((4.5 / 5.5 + 3.5 / 4.5) / 2)
    # the first alone counts 0; the others: a = 4.5, 2.5, 3 and b = 1, 5, 6
    assert silhouette(points, np.array([0, 1, 1, 1])) == pytest.approx((0 - 3.5 / 4.5 + 2.5 / 5 + 3 / 6) / 4)
    filled = imputed(np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]]))
    assert filled.tolist() == [[1, 5, 0], [3, 5, 0]]
    assert projected(filled, 1).tolist() == [[-1], [1]]


def camps(
    sizes: tuple[int, ...], items: int = 30, missing: float = 0.2, noise: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Answers of camps that each think their own way, and the camp of each person."""
    rng = np.random.default_rng(3)
    camp = np.repeat(np.arange(len(sizes)), sizes)
    views = rng.choice([-1.0, 1.0], (len(sizes), items))
    answers = np.where(rng.random((len(camp), items)) < noise, -views[camp], views[camp])
    answers[rng.random(answers.shape) < missing] = np.nan
    return answers, camp


@pytest.mark.parametrize("method", ["kmeans", "spectral"])
@pytest.mark.parametrize("sizes", [(30, 20), (30, 20, 10)])
def test_camps_are_found(method: str, sizes: tuple[int, ...]) -> None:
    answers, camp = camps(sizes)
    found = cluster(answers, method=method)
    assert (found.group == camp).mean() > 0.95  # 0 is the largest group
    assert found.silhouette == max(found.tried.values()) and set(found.tried) == {2, 3, 4, 5}
    order = np.random.default_rng(0).permutation(len(camp))
    assert (cluster(answers[order], method=method).group == found.group[order]).mean() > 0.95
    again = cluster(answers, method=method)
    assert (again.group == found.group).all()


def test_people_who_agree_or_are_few_are_one_group() -> None:
    for answers in (np.ones((5, 3)), np.array([[1.0, np.nan]]), np.array([[1.0], [-1.0]])):
        assert cluster(answers).group.tolist() == [0] * len(answers)
    assert cluster(np.array([[1.0], [1.0], [-1.0]])).group.tolist() == [0, 0, 1]
    for answers in (np.full((2, 2), np.nan), np.zeros((0, 3))):
        with pytest.raises(DataError, match="nobody answered"):
            cluster(answers)
    with pytest.raises(ConfigError, match="kmeans, spectral"):
        cluster(np.ones((3, 3)), method="dbscan")


def test_every_kind_of_answer_is_read() -> None:
    ann, ben = Rater("ann"), Rater("ben")
    replies = (
        Response("y", ratings=(Rating({"kind": 4.0, "other": 1.0}, ann), Rating({"kind": None}, ben)), votes=(Vote("agree", 1, ann),)),
        Response("x", votes=(Vote("disagree", 1, ann), Vote("pass", 1, ben), Vote("agree", 9, Rater(group="g")))),
    )  # fmt: skip
    record = Record(
        user("q"), replies, (Comparison(0, 1, "first", "kind", rater=ann),), (Ranking(((1,), (0,)), rater=ben),)
    )
    swapped = Record(user("q"), replies[::-1], (Comparison(1, 0, "second", "kind", rater=ann),))
    found = opinions([record, swapped], KIND)
    # ann: y is kind 4 of 4; agrees with y, disagrees with x; y over x, then x over y: (x, y) is -1 and 1
    # ben: passes on x; ranks x over y, overall
    assert found.raters == ("ann", "ben")
    expected = {(1.0, "nan"), (1.0, "nan"), (-1.0, 0.0), (0.0, "nan"), ("nan", 1.0)}
    assert {tuple("nan" if np.isnan(v) else v for v in column) for column in found.answers.T} == expected


def voted(answers: np.ndarray, topic: str = "t", prefix: str = "p") -> list[Record]:
    choice = {1.0: "agree", -1.0: "disagree"}
    return [
        Record(user(topic), tuple(
            Response(f"s{item}", votes=(Vote(choice[value], 1, Rater(f"{prefix}{person}")),))  # type: ignore[arg-type]
            for item, value in enumerate(row) if not np.isnan(value)
        ))
        for person, row in enumerate(answers)
    ]  # fmt: skip


def test_raters_join_the_camp_they_speak_like() -> None:
    answers, camp = camps((15, 8))
    split = np.flatnonzero(np.sign(np.nansum(answers[:15], 0)) != np.sign(np.nansum(answers[15:], 0)))[:2]
    answers[-1] = np.nan  # one of the small camp answered little
    answers[-1, split] = np.sign(np.nansum(answers[15:-1], 0))[split]
    found, (clusters,) = by_opinions(voted(answers), KIND, least=3)
    groups = [record.responses[0].votes[0].rater.group for record in found]  # type: ignore[union-attr]
    assert groups[:15] == ["1"] * 15 and groups[15:] == ["2"] * 8 and len(clusters.group) == len(camp)
    with pytest.raises(DataError, match="answered 99 items"):
        by_opinions(voted(answers), KIND, least=99)


def test_conversations_apart_have_groups_of_their_own() -> None:
    one, two = camps((9, 5))[0], camps((6, 4), items=20)[0]
    both = [*voted(one), *voted(two, "u", "r")]
    found, clusters = by_opinions(both, KIND, apart=True)
    groups = [record.responses[0].votes[0].rater.group for record in found]  # type: ignore[union-attr]
    shy, _ = by_opinions([*both, *voted(np.array([[1.0]]), "v", "s")], KIND, least=2, apart=True)
    assert shy[-1].responses[0].votes[0].rater == Rater("s0", "3.1")  # every rater has a group
    assert len(clusters) == 2 and groups == ["1.1"] * 9 + ["1.2"] * 5 + ["2.1"] * 6 + ["2.2"] * 4


def test_groups_from_what_raters_told() -> None:
    ann = Rater("ann", "old", demographics={"gender": "woman", "age": "30-39"})
    replies = (Response("a", ratings=(Rating({"kind": 1.0}, ann), Rating({"kind": 2.0}, Rater("ben")))),)
    record = Record(user("q"), replies)
    (found,) = by_demographics([record], ("gender", "age"))
    assert [rating.rater.group for rating in found.responses[0].ratings] == ["woman, 30-39", "unknown, unknown"]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="no rater tells job; the demographics of these records are: age, gender"):
        list(by_demographics([record], ("job",)))
    with pytest.raises(ConfigError, match="at least one"):
        list(by_demographics([record], ()))


def test_group_aware_consensus_by_hand() -> None:
    assert group_aware([8, 3], [10, 5]) == pytest.approx(0.428571, abs=5e-7)  # methods.md H
    assert group_aware([0] * 3, [0] * 3) == pytest.approx(1 / 8) and group_aware(
        [0] * 3, [0] * 3, True
    ) == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="not above all"):
        group_aware([3], [2])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5))
def test_laws_of_consensus(rows: list[tuple[int, int]]) -> None:
    agree, against = np.array(rows).T
    score = group_aware(agree, agree + against)
    assert 0 < score < 1 and group_aware(agree[::-1], (agree + against)[::-1]) == pytest.approx(score)
    assert group_aware(agree + 1, agree + against + 1) > score > group_aware(agree, agree + against + 1)
    assert group_aware(agree, agree + against, True) ** len(agree) == pytest.approx(score)


def test_statements_are_scored_over_all_records_of_a_conversation() -> None:
    x, y, nobody = Rater(group="x"), Rater(group="y"), None
    statement = Response(
        "s", votes=(Vote("agree", 8, x), Vote("disagree", 2, x), Vote("pass", 90, x), Vote("agree", 2, y))
    )
    more = Response("s", votes=(Vote("agree", 1, y), Vote("disagree", 2, y), Vote("agree", 50, nobody)))
    quiet = Response("t", votes=(Vote("agree", 1, x), Vote("pass", 1, y)))
    data = [Record(user("c"), (statement, quiet)), Record(user("c"), (more,)), Record(user("d"), (Response("s"),))]
    dataset = consensus(data, per_group=False)
    found = [[reply.scores.get("consensus") for reply in record.responses] for record in dataset]
    assert found == [
        [pytest.approx(0.428571, abs=5e-7), pytest.approx(2 / 3 / 2)],
        [pytest.approx(0.428571, abs=5e-7)],
        [None],
    ]
    counted = next(iter(consensus(data, ungrouped=True))).responses[0].scores["consensus"]
    assert counted == pytest.approx((0.428571 * 51 / 52) ** (1 / 3), abs=1e-6)
    assert principles(dataset, top=1) == [("s", pytest.approx(0.428571, abs=5e-7))]
    assert principles(dataset) == [] and [text for text, _ in principles(dataset, threshold=0.3)] == ["s", "t"]
    assert dataset.objectives[-1].name == "consensus"


def test_consensus_needs_groups_and_two_passes() -> None:
    lone = [Record(user("c"), (Response("s", votes=(Vote("agree"),)),))]
    with pytest.raises(DataError, match="no vote has a group"):
        consensus(lone)
    (found,) = consensus(lone, ungrouped=True)
    assert found.responses[0].scores["consensus"] == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match="two passes"):
        consensus(iter(lone))
    with pytest.raises(DataError, match="already has"):
        list(consensus([dataclasses.replace(lone[0], responses=found.responses)], ungrouped=True))
