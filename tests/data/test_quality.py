"""Quality tools: dimension conflict, what to label next, CHES, robust recalibration."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from data_strategies import OBJECTIVES, scored
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.quality.ches import ches, filtered, keep_lowest
from pluralign.data.quality.ches import scored as ches_of
from pluralign.data.quality.dimension_conflict import dimension_conflict
from pluralign.data.quality.recalibration import recalibrate, recalibrated
from pluralign.data.quality.selection import closest, representative, to_label, word_similarity
from pluralign.data.record import Comparison, Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError


def test_conflict_by_hand() -> None:
    found = dimension_conflict([0.6, 0.5, 0.7], [[0.9, 0.4, 0.9], [0.3, 0.8, 0.5], [0.6, 0.6, 0.9]])
    # on 0: (.1² + 0) / 2; on 1: (.3² + .2²) / 2; on 2: nothing lost
    assert found.per_objective == pytest.approx([0.005, 0.065, 0.0]) and found.overall == pytest.approx(0.07 / 3)
    assert found.change[1] == pytest.approx([-0.3, 0.3, -0.2])
    partly = dimension_conflict([0.6, 0.5], [[0.9, np.nan], [0.3, 0.8]])
    assert np.isnan(partly.per_objective[0]) and partly.overall == pytest.approx(0.09)
    for before, after in (([0.5], [[0.5]]), ([0.5, 0.5], [[0.5, 0.5]]), ([50, 50], [[50, 50], [50, 50]])):
        with pytest.raises(ConfigError, match="K >= 2"):
            dimension_conflict(before, after)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=4), st.integers(0, 9))
def test_conflict_laws(before: list[float], seed: int) -> None:
    after = np.random.default_rng(seed).random((len(before), len(before)))
    assert dimension_conflict(before, np.maximum(after, before)).overall == 0
    found = dimension_conflict(before, after)
    own = after.copy()
    np.fill_diagonal(own, 0.0)
    assert dimension_conflict(before, own).overall == found.overall >= 0  # what training did to itself is no conflict
    order = np.arange(len(before))[::-1]
    turned = dimension_conflict(np.array(before)[order], after[np.ix_(order, order)])
    assert turned.per_objective == pytest.approx(found.per_objective[order])


def test_selection_by_hand() -> None:
    # 0 and 1 are near copies, 2 is unlike them, 3 unlike all
    u = np.array([[9, 0.9, 0.3, 0.0], [0.9, 9, 0.3, 0.0], [0.3, 0.3, 9, 0.1], [0.0, 0.0, 0.1, 9]])
    # mean similarities .4, .4, .7/3, .1/3; pairs: half their sum minus λ times their own similarity
    assert representative(u, 2, diversity=0) == [0, 1]  # .4 - 0
    assert representative(u, 2, diversity=1) == [0, 3]  # (.4 + .0333) / 2 - 0 = .2167; (0, 2): .3167 - .3
    assert representative(u, 2, diversity=0.1) == [0, 1]  # .4 - .09 = .31; (0, 2): .3167 - .03 = .2867
    assert representative(u, 2, diversity=0.2) == [0, 2]  # .4 - .18 = .22; .3167 - .06 = .2567; (0, 3): .2167
    assert representative(u, 1) == [0] and representative(u, 9) == [0, 1, 2, 3]
    assert representative(u, 2, 0, quality=[0, 1, 0, 2]) == [1, 3]
    for options in ({"num": 0}, {"num": 2, "diversity": -1}, {"num": 2, "quality": [1]}):
        with pytest.raises(ConfigError):
            representative(u, **options)  # type: ignore[arg-type]


@given(st.integers(0, 50), st.integers(3, 7), st.integers(2, 3), st.floats(0, 3))
def test_selection_is_the_best_subset_and_follows_relabelling(seed: int, size: int, num: int, diversity: float) -> None:
    u = np.random.default_rng(seed).random((size, size))
    u = (u + u.T) / 2
    np.fill_diagonal(u, 0)
    own = u.sum(1) / (size - 1)

    def value(chosen: tuple[int, ...]) -> float:
        alike = np.mean([u[a, b] for a, b in combinations(chosen, 2)])
        return float(own[list(chosen)].mean() - diversity * alike)

    found = representative(u, num, diversity)
    assert value(tuple(found)) >= max(map(value, combinations(range(size), num))) - 1e-9
    order = np.random.default_rng(seed + 1).permutation(size)
    moved = representative(u[np.ix_(order, order)], num, diversity)
    assert value(tuple(order[moved])) == pytest.approx(value(tuple(found)))


def test_many_replies_are_searched_by_swaps() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 3))
    u = np.exp(-((points[:, None] - points) ** 2).sum(-1))
    found = representative(u, 6)
    assert len(set(found)) == 6 and found == sorted(found)

    def spread(chosen: list[int]) -> float:
        return float(u[np.ix_(chosen, chosen)].sum() - len(chosen))

    assert spread(found) < np.mean([spread(rng.choice(60, 6, replace=False).tolist()) for _ in range(20)])


def test_words_decide_what_is_alike() -> None:
    same, other, mixed, empty = word_similarity(["a a b", "c", "A b b", ""])
    assert same == pytest.approx([1, 0, 4 / 5, 0]) and empty.tolist() == [0, 0, 0, 0]
    assert other[1] == 1 and mixed[2] == pytest.approx(1)
    record = Record(user("q"), tuple(Response(text) for text in ("yes it is", "yes it is", "it is so", "never")))
    assert to_label(record, 2, diversity=0) == [0, 1] and 3 in to_label(record, 2, diversity=2)
    assert to_label(Record(user("q"), (Response("a"),))) == [0]


def test_the_closest_pairs() -> None:
    rewards = {"q": [0.0, 0.5, 2.0], "r": [1.0, np.nan, 0.9]}
    data = [Record(user(name), tuple(Response(str(n)) for n in range(3))) for name in rewards]

    def hook(record: Record) -> list[float]:
        return rewards[record.messages[0].content]

    found = closest(data, hook, 2)
    assert [pair[:3] for pair in found] == [(1, 0, 2), (0, 0, 1)] and found[1][3] == 0.5
    assert len(closest(data, hook, 99)) == 4  # 3 pairs, and the 1 without NaN
    with pytest.raises(ConfigError, match="a record of 3 replies"):
        closest(data, lambda record: [1.0], 2)
    with pytest.raises(ConfigError, match="at least 1"):
        closest(data, hook, 0)


def test_ches_by_hand() -> None:
    # methods.md H: S_w = (1, 2), S_l = (2, 1): -1; with lengths 2 and 4: 4/8 - 5/4 = -.75
    chosen, rejected = [[0, 1], [1, 1]], [[0, 0], [2, 0], [0, 0], [0, 1]]
    assert ches(chosen, rejected, normalised=False) == -1 and ches(chosen, rejected) == -0.75
    assert ches(chosen, chosen) == 0 and ches([[3, 0]], [[0, 7]]) == -9
    for states in ([[np.nan, 0]], [], [1.0]):
        with pytest.raises(DataError, match="finite numbers"):
            ches(chosen, states)
    with pytest.raises(DataError, match="one width, got 2 and 1"):
        ches(chosen, [[1]])


def states(group: Group) -> list[np.ndarray]:
    """Hidden states by the reply's own words: the hook that a policy gives."""
    return [np.random.default_rng(int(text[1:])).normal(size=(3, 4)) for text in group.responses]


def test_the_filter_keeps_the_lowest_share_of_all_preferences() -> None:
    groups = [
        group for row in ((4, 1, 2), (1, 1, 3)) for group in one_hot(scored(row, (2, 3, 2), (0, 4, 1)), OBJECTIVES)
    ]
    groups.append(Group(user("q"), ("r0",)))
    everything = sorted(score for row in ches_of(groups, states) for score in row)
    kept = filtered(groups, states, 0.4)
    left = [score for row in ches_of(kept, states) for score in row]
    assert sorted(left) == everything[: len(left)] and len(left) == int(0.4 * len(everything))
    assert kept[-1] == groups[-1] and all(group.preferences for group in kept[:-1])
    assert filtered(groups, states, 1.0) == groups and filtered([], states) == []
    assert keep_lowest([2, 1, 1], 0.34).tolist() == [False, True, False]
    with pytest.raises(ConfigError, match="above 0"):
        keep_lowest([1], 0)
    with pytest.raises(DataError, match="states of 0 replies"):
        filtered(groups, lambda group: [])


def bradley_terry(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(scores[:, None] - scores)))


def test_recalibration_by_hand() -> None:
    # one pair, share 3/4: d = log 3, shrunk by κ: s = (d / (2 + κ)), left off by less than the width
    found = recalibrate([[np.nan, 0.75], [np.nan, np.nan]], shrinkage=1e-9)
    assert found.scores == pytest.approx([np.log(3) / 2, -np.log(3) / 2])
    assert found.shares == pytest.approx(np.array([[0.5, 0.75], [0.25, 0.5]])) and not found.corruption.any()
    assert recalibrate(np.full((3, 3), np.nan)).scores.tolist() == [0, 0, 0]
    # both sides weigh in: .9 three times and .5 once
    both = recalibrate([[0, 0.9], [0.5, 0]], [[0, 3], [1, 0]], shrinkage=1e-9)
    assert both.scores[0] == pytest.approx(3 / 4 * np.log(9) / 2)
    for shares, options in (([[0.5, 2.0], [0, 0]], {}), ([[0.5, 0.5]], {}), ([[0.5]], {"width": 0})):
        with pytest.raises(ConfigError, match="shares"):
            recalibrate(shares, **options)  # type: ignore[arg-type]


def test_missing_and_corrupted_shares_are_recovered() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=12)
    true -= true.mean()
    shares = bradley_terry(true)
    pairs = list(combinations(range(12), 2))
    hidden = rng.permutation(len(pairs))
    for place in hidden[:20]:
        i, j = pairs[place]
        shares[i, j] = shares[j, i] = np.nan
    wrong = [pairs[place] for place in hidden[20:25]]
    for i, j in wrong:
        shares[i, j], shares[j, i] = (0.02, 0.98) if true[i] > true[j] else (0.98, 0.02)
    robust = recalibrate(shares, width=0.05, shrinkage=1e-6)
    plain = recalibrate(shares, width=1e6, shrinkage=1e-6)
    assert np.abs(robust.scores - true).max() < 0.05 < np.abs(plain.scores - true).max()
    assert np.abs(robust.shares - bradley_terry(true)).max() < 0.02
    named = {tuple(pair) for pair in np.argwhere(np.triu(np.abs(robust.corruption)) > 1).tolist()}
    assert named <= set(wrong) and len(named) >= 4


@given(st.integers(0, 99), st.integers(2, 6))
def test_recalibration_laws(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.random((size, size))
    shares[rng.random(shares.shape) < 0.3] = np.nan
    found = recalibrate(shares)
    assert found.scores.sum() == pytest.approx(0, abs=1e-6)
    assert found.shares + found.shares.T == pytest.approx(1) and found.corruption == pytest.approx(-found.corruption.T)
    order = rng.permutation(size)
    moved = recalibrate(shares[np.ix_(order, order)])
    assert moved.scores == pytest.approx(found.scores[order], abs=1e-6)
    turned = recalibrate(1 - shares)
    assert turned.scores == pytest.approx(-found.scores, abs=1e-6)


def test_a_record_s_missing_ratings_are_filled_from_what_is_known_of_pairs() -> None:
    replies = (Response("a", {"kind": 4.0, "brief": 1.0}), Response("b", {"kind": 1.0}), Response("c"), Response("d"))
    record = Record(user("q"), replies, (Comparison(1, 2, "first", "kind"), Comparison(1, 2, "tie", "kind")))
    found = recalibrated(record, OBJECTIVES)
    kind = [reply.scores.get("kind") for reply in found.responses]
    assert kind[0] > kind[1] > kind[2] and kind[3] is None  # type: ignore[operator]
    assert found.responses[0].scores["brief"] == 1.0 and found.comparisons == record.comparisons
    rude = (Objective("rude", high=4, direction="lower"),)
    partly = Record(
        user("q"),
        (Response("a", ratings=(Rating({"rude": 3.0, "kind": 1.0}),)), Response("b", {"rude": 1.0}), Response("c")),
    )
    turned = recalibrated(partly, rude).responses
    assert turned[0].scores["rude"] > 0 > turned[1].scores["rude"] and turned[2] == Response("c")  # type: ignore[operator]
    assert turned[0].ratings == (Rating({"kind": 1.0}),)
    whole = scored((4, 1, 2), (2, 3, 2))
    assert recalibrated(whole, OBJECTIVES) == whole
    bare = dataclasses.replace(whole, responses=(Response("a"),))
    assert recalibrated(bare, OBJECTIVES) == bare
    with pytest.raises(ConfigError, match=r"between .5 and 1"):
        recalibrated(whole, OBJECTIVES, strength=1)
