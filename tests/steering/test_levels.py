"""Ratings in the prompt: strings and back, weights to ratings that replies have, what is saved and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from pluralign.data.condition import Condition, Feedback, Targets, Weights, one_hot
from pluralign.data.conversions.rating_strings import linearise, parse
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError
from pluralign.policy import Policy
from pluralign.steering.prompt.levels import MOST, PromptLevels
from pluralign.training.batching import collate

HELP, SAFE = Objective("help", low=0, high=4), Objective("toxic", low=0, high=8, direction="lower")
OBJECTIVES = (HELP, SAFE)


def made(**options: Any) -> PromptLevels:
    policy = tiny.policy(PromptLevels(**options), objectives=OBJECTIVES)
    assert isinstance(policy.steering, PromptLevels)
    return policy.steering


def words(steering: PromptLevels, asked: Any) -> str:
    return steering.words(steering.translate(asked, OBJECTIVES))


@given(st.dictionaries(st.sampled_from(["help", "toxic"]), st.integers(0, 4), min_size=1))
def test_a_string_says_what_was_asked(levels: dict[str, int]) -> None:
    """parse(linearise(v)) = v (methods.md A9), in the policy's order; a score on the levels is its own translation."""
    steering = PromptLevels()
    steering._objectives = OBJECTIVES
    asked = Targets({name: level * (1 if name == "help" else 2) for name, level in levels.items()})
    found = parse(words(steering, asked))
    assert found == levels and list(found) == [n for n in ("help", "toxic") if n in levels]
    assert parse(linearise(levels)) == levels
    assert steering.translate(asked, OBJECTIVES) == asked


def test_targets_are_rounded_and_what_is_missing_is_left_out() -> None:
    assert words(made(), Targets({"toxic": 4.9, "help": 3.5})) == "help:4,toxic:2"  # 4.9 / 8 · 4 = 2.45; halves go up
    assert words(made(), Targets({"toxic": 8.0})) == "toxic:4"
    assert words(made(levels=0), Targets({"toxic": 4.9, "help": 3.4})) == "help:3,toxic:5"
    assert words(made(levels=3), Targets({"help": 3.0})) == "help:2"  # 1.5 of 2
    assert made().translate(Targets({"toxic": 4.9}, 1.5), OBJECTIVES) == Targets({"toxic": 4.0}, 1.5)
    assert words(made(form="tags"), Targets({"help": 4.0, "toxic": 0.0})) == "<help: 4> <toxic: 0>"
    assert "help: 4, toxic: 0" in words(made(form="goals"), Targets({"help": 4.0, "toxic": 0.0}))


def test_a_blank_keeps_the_places_of_what_is_not_asked_for() -> None:
    """Strings of some ratings then have as many words as strings of all."""
    assert words(made(blank="-"), Targets({"toxic": 8.0})) == "help:-,toxic:4"
    assert words(made(blank="?", form="tags"), Targets({"help": 0.0})) == "<help: 0> <toxic: ?>"
    assert "help: any, toxic: 4" in words(made(blank="any", form="goals"), Targets({"toxic": 8.0}))
    whole = Targets({"help": 4.0, "toxic": 0.0})
    assert words(made(blank="-"), whole) == words(made(), whole) == "help:4,toxic:0"
    steering = made(blank="-", unweighted="omitted", seen=("help:4,toxic:1",))
    assert words(steering, one_hot("help")) == "help:4,toxic:-"
    steering.learn([Targets({"help": 4.0})])
    assert steering.seen == ("help:4,toxic:1",)  # what was seen has no blanks


def test_weights_in_proportion() -> None:
    """share: 4 λ / max λ, upside down where lower is better."""
    steering = made(rule="share")
    assert words(steering, one_hot("help")) == "help:4,toxic:4"
    assert words(steering, one_hot("toxic")) == "help:0,toxic:0"
    assert words(steering, Weights({"help": 0.25, "toxic": 0.75})) == "help:1,toxic:0"  # 4 / 3
    assert words(made(rule="share", unweighted="omitted"), one_hot("help")) == "help:4"


def test_weights_ask_for_what_replies_have() -> None:
    """Parts (help, 1 − toxic): a (1, 0), b (.75, .75), c (0, 1), d (1, .25), seen 5, 1, 5 and 1 times."""
    a, b, c, d = (Targets({"help": h, "toxic": t}) for h, t in ((4, 8), (3, 2), (0, 0), (4, 6)))
    steering = made()
    steering.learn([a] * 5 + [c] * 5 + [b, d])
    assert (steering.seen, steering.counts) == (("help:4,toxic:4", "help:0,toxic:0", "help:3,toxic:1", "help:4,toxic:3"), (5, 5, 1, 1))  # fmt: skip
    assert words(steering, one_hot("help")) == "help:4,toxic:4"  # a and d are equal: a is frequent
    assert words(steering, one_hot("toxic")) == "help:0,toxic:0"
    assert words(steering, Weights({"help": 0.5, "toxic": 0.5})) == "help:3,toxic:1"  # .75 against .5 and .625
    steering.rarity = 1.0  # log 5 = 1.6 outweighs .25
    assert words(steering, Weights({"help": 0.6, "toxic": 0.4})) == "help:4,toxic:4"
    assert steering.translate(Weights({"help": 1.0}, 2.0), OBJECTIVES).strength == 2.0


def test_a_missing_rating_counts_as_the_mean_and_is_not_asked_for() -> None:
    """help: 4, 0 and missing; toxic parts: 0, 0, 1. Under (.5, .5): .5, 0 and (.5 + 1) / 2."""
    steering = made()
    steering.learn([Targets({"help": 4, "toxic": 8}), Targets({"help": 0, "toxic": 8}), Targets({"toxic": 0})])
    assert words(steering, Weights({"help": 0.5, "toxic": 0.5})) == "toxic:0"
    assert words(steering, one_hot("help")) == "help:4,toxic:4"
    steering.unweighted = "omitted"
    assert words(steering, one_hot("help")) == "help:4"
    assert words(steering, one_hot("toxic")) == "toxic:0"


def test_what_is_given_is_not_learnt_and_the_table_is_bounded() -> None:
    given_ = made(seen=("help:1,toxic:1",))
    given_.learn([Targets({"help": 4, "toxic": 0})])
    assert words(given_, one_hot("help")) == "help:1,toxic:1"
    fine = made(levels=0)
    wide = [Objective("a", high=999), Objective("b")]
    fine._objectives = tuple(wide)
    fine.learn(Targets({"a": n}) for n in range(1000))
    assert len(fine.seen) == MOST


def test_a_saved_policy_asks_for_the_same(tmp_path: Path) -> None:
    policy = tiny.policy(PromptLevels(shared_rank=2), objectives=OBJECTIVES, shaken=0.1)
    assert isinstance(policy.steering, PromptLevels)
    policy.steering.learn([Targets({"help": 4, "toxic": 2}), Targets({"help": 0, "toxic": 0})])
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert again.steering == policy.steering
    asked: list[Condition] = [one_hot("help"), Weights({"toxic": 1.0}, 1.5), Targets({"help": 1.0})]
    values = [p.logprobs([user("a joke")] * 3, ["good"] * 3, asked) for p in (policy, again)]
    assert values[0].tolist() == values[1].tolist()
    assert len(set(values[0].tolist())) == 3


def test_only_the_reply_is_learnt() -> None:
    """The loss mask is zero on prompt and condition (methods.md A9)."""
    policy = tiny.policy(PromptLevels(), objectives=OBJECTIVES)
    batch = collate(policy, [Group(user("a joke"), ("good nice",), (Targets({"help": 4, "toxic": 0}),))])
    assert batch.input_ids[batch.targets_mask].tolist() == policy.encoder.response("good nice")
    assert int(batch.attention_mask.sum()) > 2 + 3 + 2 * 3  # prompt, reply and end, and a string of two ratings


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": 1},
        {"levels": -1},
        {"blank": "4"},
        {"rarity": -0.5},
        {"rarity": 0.1, "rule": "share"},
        {"counts": (1,)},
        {"seen": ("help:1",), "counts": (0,)},
    ],
)
def test_settings_that_cannot_act_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PromptLevels(**wrong)


def test_what_cannot_be_read_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConditionError, match="reads ratings such as 'help:4,toxic:8', or weights"):
        made().translate(Feedback("be kind"), OBJECTIVES)
    with pytest.raises(ConditionError, match="no weight above 0"):
        made().translate(Weights({"help": 0.0}), OBJECTIVES)
    with pytest.raises(ConditionError, match="unknown objective 'wise'"):
        made().translate(Targets({"wise": 1.0}), OBJECTIVES)
