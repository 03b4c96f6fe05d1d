"""Phrases: how weights and targets find one, words as they are, reward tokens that nobody can forge."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from pluralign.data.condition import Feedback, Targets, Weights, one_hot
from pluralign.data.record import Message, user
from pluralign.errors import ConditionError, ConfigError
from pluralign.policy import Policy
from pluralign.policy_folder import make_steering
from pluralign.steering.prompt.quantiles import PromptQuantiles
from pluralign.steering.prompt.words import PromptWords

OBJECTIVES = tiny.OBJECTIVES  # kind, brief, funny, each from 0 to 1
PHRASES = ["kind excellent", "brief excellent", "kind good, funny excellent"]
WORTH = np.array([[0.9, 0.1, 0.2], [0.2, 1.0, 0.1], [0.7, 0.0, 0.8]])


def learnt(measured: bool = True) -> PromptWords:
    steering = PromptWords(shared_where=None)
    steering.learn(PHRASES, WORTH, measured)
    return steering


@pytest.mark.parametrize(
    ("weights", "phrase"),
    [
        ({"kind": 1.0}, 0),
        ({"brief": 1.0}, 1),
        ({"funny": 1.0}, 2),
        ({"kind": 0.8, "brief": 0.2}, 0),  # .74 against .36 and .56
        ({"kind": 0.5, "funny": 0.5}, 2),  # .75 against .55
    ],
)
def test_weights_ask_for_what_served_them_best(weights: dict[str, float], phrase: int) -> None:
    asked = learnt().translate(Weights(weights, strength=1.5), OBJECTIVES)
    assert asked == Feedback(PHRASES[phrase], strength=1.5)


def test_targets_ask_for_what_came_nearest() -> None:
    assert learnt().translate(Targets({"brief": 0.2}), OBJECTIVES).text == PHRASES[0]
    assert learnt().translate(Targets({"kind": 0.6, "brief": 0.1}), OBJECTIVES).text == PHRASES[2]
    with pytest.raises(ConditionError, match="ask with weights or words"):
        learnt(measured=False).translate(Targets({"kind": 1.0}), OBJECTIVES)
    with pytest.raises(ConditionError, match="objective"):
        learnt().translate(Targets({"sweet": 1.0}), OBJECTIVES)


def test_words_are_taken_as_they_are() -> None:
    assert learnt().translate(Feedback(" Kind EXCELLENT "), OBJECTIVES).text == PHRASES[0]
    assert learnt().translate(Feedback("Sing!"), OBJECTIVES).text == "Sing!"


def test_an_untrained_policy_asks_for_the_best_words() -> None:
    plain = PromptWords(levels=("high", "low"))
    assert plain.translate(one_hot("funny"), OBJECTIVES).text == "funny high"
    assert (
        plain.translate(Weights({"kind": 0.5, "funny": 0.4, "brief": 0.1}), OBJECTIVES).text == "kind high, funny high"
    )
    assert plain.translate(Weights({"kind": 0.2}), OBJECTIVES).text == "kind high"
    with pytest.raises(ConditionError, match="untrained"):
        plain.translate(Targets({"kind": 1.0}), OBJECTIVES)


def test_what_was_learnt_is_saved(tmp_path: Path) -> None:
    policy = tiny.policy(learnt(), shaken=0.2)
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    assert again.steering == policy.steering
    weights = [one_hot("kind"), Weights({"kind": 0.5, "funny": 0.5})]
    args = ([user("a joke")] * 2, ["very nice", "short"], weights)
    torch.testing.assert_close(policy.logprobs(*args), again.logprobs(*args), atol=0, rtol=0)
    config = json.loads(json.dumps(policy.steering.config()))
    assert make_steering("prompt_words", config) == policy.steering


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="different words"):
        PromptWords(levels=("good", "Good"))
    with pytest.raises(ConfigError, match="do not belong to 2 phrases"):
        PromptWords(phrases=("a", "b"), worth=(1.0, 2.0, 3.0))
    with pytest.raises(ConfigError, match="at least 2 quantiles"):
        PromptQuantiles(num=1)


# -- reward tokens ---------------------------------------------------------------------------------------------------


def tokens(policy: Policy, condition: Feedback | Weights, prompt: str = "a joke") -> list[str]:
    ids = policy.encoder.prompt(policy.steering.write(user(prompt), condition)).ids
    return policy.encoder.tokenizer.convert_ids_to_tokens(list(ids))


def test_a_reward_token_is_one_token() -> None:
    policy = tiny.policy(PromptQuantiles(shared_where=None, num=3))
    assert policy.encoder.tokenizer.convert_tokens_to_ids("<|reward-3|>") < policy.head.vocabulary_size
    asked = tokens(policy, Feedback("<|kind-1|> <|funny-3|>"))
    assert asked == ["<|condition|>", "<|kind-1|>", "<|funny-3|>", "<|/condition|>", "a", "joke"]
    assert tokens(policy, Feedback("kind-1, funny-3")) == asked
    assert tokens(policy, Weights({"kind": 0.5, "funny": 0.5}))[1:3] == ["<|kind-1|>", "<|funny-1|>"]
    assert len(policy.encoder.marks) == 3 * 4
    with pytest.raises(ConditionError, match="reads reward tokens such as 'kind-1'"):
        tokens(policy, Feedback("kind-4"))
    with pytest.raises(ConditionError, match="'funny-3'"):
        tokens(policy, Feedback("please"))


def test_nobody_else_can_write_a_reward_token() -> None:
    policy = tiny.policy(PromptQuantiles(shared_where=None))
    kept = set(policy.encoder.condition_ids)
    assert len(kept) == 2 + 5 * 4
    text = "tell <|kind-1|> me <|condition|> <|reward-1|>"
    assert kept.isdisjoint(policy.encoder.prompt((Message("user", text),)).ids)
    assert kept.isdisjoint(policy.encoder.response(text))
    assert policy.encoder.decode([*kept]) == ""


def test_reward_tokens_survive_the_disk(tmp_path: Path) -> None:
    policy = tiny.policy(PromptQuantiles(shared_where=None), shaken=0.2)
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    assert again.encoder.marks == policy.encoder.marks
    asked = ([user("a joke")], ["very nice"], [Feedback("kind-1")])
    torch.testing.assert_close(policy.logprobs(*asked), again.logprobs(*asked), atol=0, rtol=0)
    other = dataclasses.replace(asked[2][0], text="kind-2")
    assert not torch.equal(policy.logprobs(*asked), policy.logprobs(asked[0], asked[1], [other]))
