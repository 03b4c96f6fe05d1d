"""Level words and chains: quantiles per objective, balanced draws, what phrases are worth, pairs on sets of objectives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.conversions import chained, level_words
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.errors import ConfigError

KIND, SHORT = Objective("kind", low=0, high=4), Objective("length", low=0, high=10, direction="lower")


def record(prompt: str, *scores: tuple[float | None, float | None], **options: object) -> Record:
    replies = tuple(
        Response(f"reply {place}", scores={"kind": kind, "length": length})
        for place, (kind, length) in enumerate(scores)
    )
    return Record(user(prompt), replies, **options)  # type: ignore[arg-type]


@given(
    st.lists(st.lists(st.floats(0, 4), min_size=1, max_size=12, unique=True), min_size=1, max_size=4), st.integers(2, 6)
)
def test_words_cover_every_prompt_and_bins_are_even(prompts: list[list[float]], num: int) -> None:
    """With K replies or more of a prompt every word is said, and the bins' sizes differ by less than K."""
    records = [record(str(n), *((score, 1.0) for score in scores)) for n, scores in enumerate(prompts)]
    table = level_words.by_scores(records, [KIND], num)
    for prompt, scores in enumerate(prompts):
        sizes = Counter(table.levels[table.prompts == prompt, 0].tolist())
        assert sum(sizes.values()) == len(scores)
        if len(scores) >= num:
            assert set(sizes) == set(range(num))
            assert max(sizes.values()) - min(sizes.values()) < num


def test_levels_of_two_objectives() -> None:
    """Length is better when lower; records of one prompt are taken together; what is missing has no level."""
    records = [record("a", (4, 10), (0, 2)), record("a", (2, None)), record("b", (1, 5))]
    table = level_words.by_scores(records, [KIND, SHORT], 3)
    assert table.prompts.tolist() == [0, 0, 0, 1]
    assert table.levels.tolist() == [
        [0, 2],
        [2, 0],
        [1, -1],
        [1, 1],
    ]  # two lengths spread over three words; one: middle
    assert table.scores[:2].tolist() == [[1.0, 0.0], [0.0, 0.8]]
    assert table.said(0, [1, 0]) == (("kind", 0), ("length", 2))
    assert table.said(2, [0, 1]) == (("kind", 1),)
    whole = level_words.by_scores(records, [KIND, SHORT], 2, whole=True, scope="global")
    assert whole.axes == ("",)
    assert whole.levels[:, 0].tolist() == [0, 1, -1, 1]  # means .5, .4, unknown, .375; the odd one is worst
    with pytest.raises(ConfigError, match="scope"):
        level_words.by_scores(records, [KIND], 2, scope="world")


def test_corrupted_and_empty_replies_are_left_out() -> None:
    replies = (Response("fine"), Response(""), Response("odd", extra={"corrupted": True}))
    assert [reply.text for _, reply in level_words.usable([Record(user("a"), replies)])] == ["fine"]


def test_a_balanced_draw_prefers_replies_that_ended() -> None:
    """Two of each word and prompt; the three best of prompt a hold one that was cut off, which is never drawn."""
    replies = [Response(f"r{n}", scores={"kind": 4.0 if n < 3 else 0.0}, finished=n != 1) for n in range(5)]
    table = level_words.by_scores([Record(user("a"), tuple(replies))], [KIND], 2, rule="even")
    assert table.levels[:, 0].tolist() == [0, 0, 0, 1, 1]
    for seed in range(5):
        drawn = level_words.balanced(table, 2, np.random.default_rng(seed))
        assert sorted(place for place, _ in drawn) == [0, 2, 3, 4]
    filled = level_words.balanced(table, 3, np.random.default_rng(0))
    assert sorted(place for place, _ in filled) == [0, 1, 2, 3, 4]
    assert len(level_words.balanced(table, None, np.random.default_rng(0))) == 5


def test_the_worth_of_a_phrase_is_the_mean_score_of_what_it_is_true_of() -> None:
    """Kind and short replies are few: with support 1 their phrase serves both objectives, with 3 it may not stand."""
    records = [record("a", *[(4, 8)] * 4, *[(0, 2)] * 4, *[(4, 2)] * 2, *[(0, 8)] * 2)]
    table = level_words.by_scores(records, [KIND, SHORT], 2, rule="even")
    said, worth = level_words.worth(table, 1)
    values = dict(zip(said, worth.tolist(), strict=True))
    best = (("kind", 0), ("length", 0))
    mean = np.array([0.5, 0.5])
    np.testing.assert_allclose(values[best], (2 * np.array([1.0, 0.8]) + mean) / 3)
    np.testing.assert_allclose(values[(("kind", 0),)], (np.array([6.0, 4 * 0.2 + 2 * 0.8]) + mean) / 7)
    assert said[:4] == [(("kind", 0),), (("kind", 1),), (("length", 0),), (("length", 1),)]
    assert (("kind", 1), ("length", 1)) not in values  # serves nobody
    assert best not in level_words.worth(table, 3)[0]


def test_phrases_that_say_everything() -> None:
    """A model that was always told both never saw one alone; where no phrase has the support, singles remain."""
    records = [record("a", *[(4, 8)] * 4, *[(0, 2)] * 4, *[(4, 2)] * 2, *[(0, 8)] * 2)]
    table = level_words.by_scores(records, [KIND, SHORT], 2, rule="even")
    said, _ = level_words.worth(table, 2, "all")
    assert said and {len(one) for one in said} == {2}
    assert (("kind", 0), ("length", 0)) in said
    assert {len(one) for one in level_words.worth(table, 5, "all")[0]} == {1}
    assert {len(one) for one in level_words.worth(table, 1, "one")[0]} == {1}
    whole = level_words.by_scores(records, [KIND, SHORT], 2, whole=True)
    assert level_words.worth(whole, 99, "all")[0] == level_words.worth(whole, 99, "one")[0] != []


def test_many_objectives_are_not_tried_in_all_sets() -> None:
    objectives = [Objective(f"o{n}", low=0, high=4) for n in range(9)]
    rng = np.random.default_rng(0)
    replies = tuple(
        Response(f"r{n}", scores={each.name: float(rng.integers(5)) for each in objectives}) for n in range(40)
    )
    said, _ = level_words.worth(level_words.by_scores([Record(user("a"), replies)], objectives, 2), 2)
    assert max(map(len, said)) == 3


def test_chains_pair_the_better_with_the_worse() -> None:
    """On kind alone the first wins, on length the second; together (.5 · 4/4 against .5 · 6/10) the first."""
    one = record("a", (4, 8), (0, 2))
    found = list(chained.pairs(one, [KIND, SHORT], 60, np.random.default_rng(0)))
    assert {(chosen, better.text) for chosen, better, _ in found} == {
        ((0,), "reply 0"),
        ((1,), "reply 1"),
        ((0, 1), "reply 0"),
    }
    assert all(better is not worse for _, better, worse in found)
    assert len(found) == 60
    sizes = Counter(len(chosen) for chosen, *_ in found)
    assert 15 < sizes[2] < 45  # sizes are drawn alike


def test_chains_read_comparisons_and_leave_ties_out() -> None:
    replies = (Response("a"), Response("b"), Response("c", extra={"corrupted": True}))
    said = (Comparison(0, 1, "second", "kind"), Comparison(0, 2, "first", "kind"), Comparison(0, 1, "tie", "length"))
    found = list(chained.pairs(Record(user("x"), replies, said), [KIND, SHORT], 40, np.random.default_rng(1)))
    assert {(chosen, better.text, worse.text) for chosen, better, worse in found} == {
        ((0,), "b", "a"),
        ((0, 1), "b", "a"),
    }


def test_sets_are_named() -> None:
    objectives = [Objective(name) for name in ("helpful", "warm", "funny")]
    assert [chained.listed(chosen, objectives) for chosen in chained.sets(3)] == [
        *("helpful", "warm", "funny", "helpful and warm", "helpful and funny", "warm and funny"),
        "helpful, warm and funny",
    ]
    assert max(map(len, chained.sets(8))) == 3
    assert chained.sets(2, 1) == [(0,), (1,)]


def test_the_widest_pair_may_be_asked_for() -> None:
    """Of kindness 0, 1, 4 the pairs differ by 1, 3 and 4."""
    one = record("a", (1, 8), (0, 8), (4, 8))
    for widest, expected in (
        (True, {("reply 2", "reply 1")}),
        (False, {("reply 2", "reply 1"), ("reply 2", "reply 0"), ("reply 0", "reply 1")}),
    ):
        found = chained.pairs(one, [KIND, SHORT], 40, np.random.default_rng(0), 1, widest)
        assert {(better.text, worse.text) for _, better, worse in found} == expected
