"""Replies under what was said of them: rating strings, feedback words, reward prefixes, relabelling, unpaired."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from data_strategies import NAMES, OBJECTIVES, scored
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.condition import Feedback, Targets, Weights
from pluralign.data.conversions import rating_strings, reward_prefix
from pluralign.data.conversions.feedback_words import QUALITY, feedback_words, quantiles
from pluralign.data.conversions.rating_strings import linearise, ordered, quantised
from pluralign.data.conversions.reward_augmented import reward_augmented
from pluralign.data.conversions.unpaired import Example, kto_weights, single, unpaired
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Rating, Record, Response, Vote, user
from pluralign.errors import ConditionError, ConfigError, DataError

ONE = (Objective("helpful", high=4.0),)
WIDE = (Objective("helpful"), Objective("toxic", low=-1.0, high=3.0, direction="lower"))


def test_rating_strings_by_hand() -> None:
    reply = Response("a", {"brief": 2.5, "helpful": 4.0, "kind": None})
    assert linearise(quantised(reply, OBJECTIVES)) == "helpful:4,brief:3"  # halves round up, the abstention is left out
    assert linearise(quantised(reply, ordered(OBJECTIVES, ("brief", "helpful")))) == "brief:3,helpful:4"
    groups = rating_strings.rating_strings(Record(user("q"), (reply, Response("b"))), OBJECTIVES)
    assert [(group.responses, group.conditions) for group in groups] == [
        (("a",), (Targets({"helpful": 4.0, "brief": 3.0}),))
    ]
    with pytest.raises(ConditionError, match="'nice'"):
        ordered(OBJECTIVES, ("nice",))


def test_levels_stretch_the_range() -> None:
    reply = Response("a", ratings=(Rating({"helpful": 0.5, "toxic": 0.0}), Rating({"helpful": 0.7, "toxic": 0.2})))
    # means .6 of 0..1 and .1 of -1..3: .6 * 4 = 2.4 and .275 * 4 = 1.1
    assert quantised(reply, WIDE, levels=5) == {"helpful": 2, "toxic": 1}
    (group,) = rating_strings.rating_strings(Record(user("q"), (reply,)), WIDE, levels=5)
    assert group.conditions == (Targets({"helpful": 0.5, "toxic": 0.0}),)
    assert quantised(Response("a", {"helpful": 7.0}), WIDE, levels=5) == {"helpful": 4}
    with pytest.raises(ConfigError, match="at least 2, got 1"):
        quantised(reply, WIDE, levels=1)


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(-9, 9), min_size=1))
def test_a_rating_string_reads_back(values: dict[str, int]) -> None:
    assert rating_strings.parse(linearise(values)) == values
    with pytest.raises(ConditionError, match="written"):
        rating_strings.parse(linearise(values).replace(":", "="))


def test_quantiles_by_hand() -> None:
    assert quantiles([1, 5, 3, 2, 4], 5).tolist() == [4, 0, 2, 3, 1]
    assert quantiles(range(12), 5).tolist() == [4, 4, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]  # 12 = 5 * 2 + 2: the worst get 4
    assert quantiles([3.0], 5).tolist() == [2] and quantiles([3, 2], 5).tolist() == [1, 3]  # spread over the middle
    assert quantiles([3, 2], 5, rule="public").tolist() == [4, 4]
    assert quantiles([7, 7, 7, 7, 7], 5).tolist() == [2] * 5  # all ties: the mean rank
    assert quantiles([7, 7, 7, 7, 7], 5, ties="order").tolist() == [0, 1, 2, 3, 4]
    assert quantiles([2, np.nan, 1], 2).tolist() == [0, -1, 1]
    assert quantiles([], 5).tolist() == [] and quantiles([np.nan], 5).tolist() == [-1]
    with pytest.raises(ConfigError, match="share, order, got 'both'"):
        quantiles([1], 5, ties="both")


numbers = st.lists(st.integers(-50, 50), min_size=1, max_size=40)


@given(numbers, st.integers(1, 6), st.sampled_from(["paper", "even"]))
def test_quantile_laws(values: list[int], num: int, rule: str) -> None:
    strict = quantiles(values, num, "order", rule)
    sizes = Counter(strict.tolist())
    if len(values) >= num:
        assert set(sizes) == set(range(num)) and max(sizes.values()) - min(sizes.values()) < num
    shared = quantiles(values, num, "share", rule)
    assert ((shared >= 0) & (shared < num)).all()
    for better, worse in ((a, b) for a in range(len(values)) for b in range(len(values)) if values[a] >= values[b]):
        assert shared[better] <= shared[worse]
        assert values[better] != values[worse] or shared[better] == shared[worse]
    order = np.random.default_rng(0).permutation(len(values))
    assert (quantiles(np.array(values)[order], num, "share", rule) == shared[order]).all()


def test_feedback_words_per_prompt_and_global() -> None:
    low, high = scored((0,), (1,), allowed=NAMES[:1]), scored((3,), (4,), allowed=NAMES[:1])
    words = ("Excellent", "Good", "Bad", "Horrible")
    for scope, expected in (("prompt", [3, 1, 3, 1]), ("global", [3, 2, 1, 0])):  # (r + .5) * 4 / n, rounded down
        found = list(feedback_words([low, high], ONE, words=words, scope=scope))
        assert [group.conditions[0] for group in found] == [Feedback(words[place]) for place in expected]
    with pytest.raises(ConfigError, match="two passes"):
        list(feedback_words(iter([low]), ONE, scope="global"))


def test_feedback_words_follow_direction_and_weights_and_skip_what_is_missing() -> None:
    record = Record(
        user("q"), (Response("a", {"toxic": 3.0}), Response("b", {"toxic": -1.0, "helpful": 0.0}), Response("c"))
    )
    found = feedback_words([record], WIDE, Weights({"toxic": 1.0}), ("fine", "foul"))
    assert [(group.responses[0], group.conditions[0]) for group in found] == [
        ("a", Feedback("foul")),
        ("b", Feedback("fine")),
    ]
    assert [group.responses[0] for group in feedback_words([record], WIDE)] == ["b"]  # the plain mean needs both


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=12), min_size=1, max_size=4),
    st.sampled_from(["prompt", "global"]),
)
def test_every_scored_reply_gets_a_word(prompts: list[list[int]], scope: str) -> None:
    records = [scored(*[(value,) for value in values], allowed=NAMES[:1]) for values in prompts]
    found = list(feedback_words(records, ONE, scope=scope))
    assert len(found) == sum(map(len, prompts))
    assert all(isinstance(g.conditions[0], Feedback) and g.conditions[0].text in QUALITY for g in found)


def test_reward_prefix_by_hand() -> None:
    # helpful 0, 1: mean .5, deviation .5; toxic 3, 1, turned: mean -2, deviation 1
    record = Record(
        user("q"),
        (
            Response("a", {"helpful": 0.0, "toxic": 3.0}),
            Response("b", {"helpful": 1.0, "toxic": 1.0}),
            Response("c", {"toxic": None}),
        ),
    )
    scale = reward_prefix.fit([record], WIDE)
    assert (scale.mean, scale.deviation, scale.low, scale.high) == ((0.5, -2.0), (0.5, 1.0), (-1, -1), (1, 1))
    found = reward_prefix.reward_prefixes(record, scale)
    assert [text for _, text in found] == ["<rm1_score> -1.0 <rm2_score> -1.0", "<rm1_score> 1.0 <rm2_score> 1.0"]
    assert found[0][0].conditions == (Targets({"helpful": 0.0, "toxic": 3.0}),)
    assert reward_prefix.prefix([np.nan, -0.04]) == "<rm2_score> 0.0"
    assert reward_prefix.parse("<rm2_score> -1.2") == {2: -1.2}
    with pytest.raises(ConditionError, match="rm1_score"):
        reward_prefix.parse("rm1 0.7")
    with pytest.raises(DataError, match="toxic: the scores do not vary"):
        reward_prefix.fit([Record(user("q"), (Response("a", {"helpful": 0.0}), Response("b", {"helpful": 1.0})))], WIDE)


def test_rewards_to_ask_for() -> None:
    two = (Objective("a"), Objective("b"))
    scale = reward_prefix.RewardScale(two, (0.0, 0.0), (1.0, 1.0), (-2.0, -1.0), (2.0, 3.0))
    assert scale.asked([0.7, 0.3]) == pytest.approx([2.0, 1.4])  # methods.md H
    assert scale.asked([0.5, 0.5]) == pytest.approx([2.0, 3.0]) and scale.asked([0, 1]) == pytest.approx([-2, 3])
    assert scale.asked([0.7, 0.3], "linear") == pytest.approx([0.8, 0.2])
    assert scale.asked([0.6, 0.8], "l2") == pytest.approx([0.4, 2.2])
    assert scale.asked([0.72, 0.28], one_decimal=True).tolist() == [2.0, 1.2]
    for weights, rule in (([-1, 2], "linf"), ([0, 0], "linf"), ([1], "linf"), ([1, 0], "l3")):
        with pytest.raises(ConfigError, match="linf, linear, l2"):
            scale.asked(weights, rule)


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=9).filter(lambda v: len(set(v)) > 1))
def test_standardised_rewards_have_mean_0_and_deviation_1(values: list[int]) -> None:
    records = [scored((value,), allowed=NAMES[:1]) for value in values]
    scale = reward_prefix.fit(records, ONE)
    rewards = [scale.standardised(record.responses[0])[0] for record in records]
    assert np.mean(rewards) == pytest.approx(0, abs=1e-9) and np.std(rewards) == pytest.approx(1)
    assert (min(rewards), max(rewards)) == pytest.approx((scale.low[0], scale.high[0]))
    text = reward_prefix.prefix(rewards)
    assert reward_prefix.prefix([reward_prefix.parse(text).get(n + 1, np.nan) for n in range(len(rewards))]) == text


def test_relabelling_by_hand() -> None:
    (group,) = reward_augmented(scored((4, 1, None), (2, 1, 3)), OBJECTIVES)
    better, worse = Targets({"helpful": 4.0, "brief": 1.0}), Targets({"helpful": 2.0, "brief": 1.0})
    judged = {(group.conditions[item.condition], item.chosen, item.rejected, item.margin) for item in group.preferences}
    assert judged == {(better, 0, 1, 0.25), (worse, 1, 0, 0.25)}  # (2 / 4)² and 0²
    assert reward_augmented(scored((4, 1, 2), (4, 1, 2)), OBJECTIVES) == []
    assert reward_augmented(scored((4, None, None), (None, 1, 2)), OBJECTIVES) == []
    assert reward_augmented(scored((4, 1, 2)), OBJECTIVES) == []


@given(st.lists(st.tuples(*[st.none() | st.integers(0, 4)] * 3), max_size=4))
def test_relabelled_preferences_agree_with_the_implied_reward(rows: list[tuple[int | None, ...]]) -> None:
    record = scored(*rows)
    for group in reward_augmented(record, OBJECTIVES):
        for item in group.preferences:
            goal = group.conditions[item.condition]
            assert isinstance(goal, Targets)
            reward = [
                -sum(
                    ((value - (record.responses[place].scores[name] or 0)) / 4) ** 2
                    for name, value in goal.values.items()
                )
                for place in (item.chosen, item.rejected)
            ]
            assert reward[0] == 0 and reward[0] - reward[1] == pytest.approx(item.margin)


def test_unpaired_by_hand() -> None:
    replies = (
        Response("a", {"helpful": 2.0, "brief": 1.0}, thumb="up", votes=(Vote("agree", 3), Vote("disagree", 3))),
        Response("b", {"helpful": None}, thumb="down", votes=(Vote("agree"), Vote("pass", 9))),
        Response("c"),
    )
    record = Record(
        user("q"), replies, (Comparison(0, 1, "first", "kind"), Comparison(1, 2, "tie"), Comparison(2, 1, "second"))
    )
    assert unpaired(record, OBJECTIVES) == [Example(0, True), Example(1, False)]
    assert unpaired(record, OBJECTIVES, "votes") == [Example(1, True)]
    assert unpaired(record, OBJECTIVES, "scores") == [Example(0, True, "helpful"), Example(0, False, "brief")]
    turned = tuple(dataclasses.replace(objective, direction="lower") for objective in OBJECTIVES)
    assert unpaired(record, turned, "scores", 0.6) == [Example(0, False, "helpful"), Example(0, True, "brief")]
    assert unpaired(record, OBJECTIVES, "comparisons") == [
        Example(0, True, "kind"), Example(1, False, "kind"), Example(1, True), Example(2, False),
    ]  # fmt: skip
    assert single(record, Example(0, True, "kind")).conditions == (Weights({"kind": 1.0}),)
    assert single(record, Example(1, True)).responses == ("b",)
    with pytest.raises(ConfigError, match="thumbs, votes, scores, comparisons"):
        unpaired(record, OBJECTIVES, "likes")


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_kto_weights_bring_the_ratio_into_its_range(wanted: int, unwanted: int) -> None:
    more, less = kto_weights(wanted, unwanted)
    assert 1 - 1e-9 <= more * wanted / (less * unwanted) <= 1.5 + 1e-9 and min(more, less) == 1
    with pytest.raises(ConfigError, match="got 0 and"):
        kto_weights(0, unwanted)
