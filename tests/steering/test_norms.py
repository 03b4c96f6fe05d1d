"""Norms in the prompt: which are found, how stores share the places, and how they enter."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Condition, Feedback, Targets, Weights
from pluralign.data.norms import Norm, read_norms
from pluralign.data.record import Message, user
from pluralign.encoding import CONDITION
from pluralign.errors import ConditionError, ConfigError, DataError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request
from pluralign.steering.prompt.norms import PromptNorms

NORMS = (
    ("kind", "very nice and good", "book 1", "joke"),
    ("kind", "kind now", "", "please"),
    ("kind", "funny and helpful", "", "short"),
    ("brief", "short , not long", "rule 2", "joke"),
    ("brief", "tell me", "", "long"),
)


def following(**options: Any) -> Policy:
    return tiny.policy(PromptNorms(norms=NORMS, **options), max_position_embeddings=128)


def found(policy: Policy, question: str, condition: Condition) -> list[str]:
    assert isinstance(policy.steering, PromptNorms)
    return [text for _, text, _, _ in policy.steering.retrieve(question, condition)]


def test_the_nearest_norms_come_first_by_hand() -> None:
    """tf · idf of "joke" over 5 norms of 17 words: idf(joke) = 1 + log(6/3), in two norms of 5 and 4 words."""
    policy = following(num=2)
    assert found(policy, "a joke now please", Feedback("kind")) == ["kind now", "very nice and good"]
    assert found(policy, "very funny", Feedback("kind"))[0] in ("very nice and good", "funny and helpful")
    similar = policy.steering._similar("joke")  # type: ignore[attr-defined]
    rare, twice = 1 + math.log(6 / 2), 1 + math.log(6 / 3)  # "and" and "joke" are in two norms
    first = twice / math.sqrt(3 * rare**2 + 2 * twice**2)  # joke very nice and good
    assert similar.tolist()[:3] == pytest.approx([first, 0.0, 0.0])


def test_states_find_a_norm_by_its_own_words() -> None:
    """A norm is nearest to itself, and the cosines are those of centred mean hidden states, computed by hand."""
    policy = following(num=1, embedding="states")
    for store, text, _, topic in NORMS:
        assert found(policy, f"{topic} {text}", Feedback(store)) == [text]
    means = []
    for text in [*(f"{topic} {text}" for _, text, _, topic in NORMS), "a joke"]:
        ids = torch.tensor([policy.encoder.text_ids(text)])
        with torch.no_grad():
            means.append(policy.model.get_decoder()(input_ids=ids).last_hidden_state[0].double().mean(0).numpy())
    rows = np.stack(means) - np.mean(means[:-1], axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similar = policy.steering._similar("a joke")  # type: ignore[attr-defined]
    assert similar == pytest.approx(rows[:-1] @ rows[-1], abs=1e-6)


@pytest.mark.parametrize(
    ("condition", "places"),
    [
        (Feedback("brief"), {"brief": 5}),
        (Feedback("kind, brief"), {"kind": 3, "brief": 2}),
        (Weights({"kind": 1.0}), {"kind": 5}),
        (Weights({"kind": 0.2, "brief": 0.8}), {"kind": 1, "brief": 4}),
        (Weights({"kind": 0.05, "brief": 0.95}), {"brief": 5}),
        (Weights({"kind": 0.3, "brief": 0.7}), {"kind": 2, "brief": 3}),
    ],
)
def test_stores_share_the_places(condition: Condition, places: dict[str, int]) -> None:
    steering = following().steering
    assert isinstance(steering, PromptNorms) and steering.places(condition) == places


def test_norms_stand_before_the_dialogue_and_nowhere_else() -> None:
    policy = following(num=1)
    asked = (Message("system", "be good"), Message("user", "joke"), Message("assistant", "a"), Message("user", "long"))
    before = policy.steering.write(asked, Feedback("brief"))
    assert before[0] == Message(CONDITION, "Answer in keeping with these norms:\n1. tell me") and before[1:] == asked
    assert policy.steering.write(user("joke"), Feedback("kind"))[0].content.endswith("1. very nice and good (book 1)")
    assert policy.steering.write(asked, None) == asked
    with pytest.raises(DataError, match="no turn of role"):
        policy.steering.write((Message(CONDITION, "kind"),), Feedback("kind"))


def test_the_model_reads_them_and_is_its_base_without() -> None:
    policy = following()
    base = tiny.policy(PromptNorms(norms=NORMS[:1]), max_position_embeddings=128)
    said = [
        policy.logprobs([user("a joke")], ["nice"], [asked]) for asked in (None, Feedback("kind"), Feedback("brief"))
    ]
    assert torch.equal(said[0], base.logprobs([user("a joke")], ["nice"]))
    assert len({round(float(value), 4) for value in said}) == 3
    done = Engine(policy).generate([Request(user("a joke"), Feedback("kind"), max_new_tokens=4)])[0]
    assert len(done.prompt_ids) > 20


def test_a_strength_leads_away_from_what_is_said_without() -> None:
    """Token by token, log π_s ∝ (1 − s) log π(∅) + s log π(norms), s = 2."""
    policy = following()
    asked = Feedback("kind", 2.0)
    assert policy.steering.members(asked) == [(Feedback("kind"), 2.0), (None, -1.0)]
    rows = []
    for condition in (None, Feedback("kind")):
        pair = policy.encoder.pair(policy.steering.write(user("a joke"), condition), "nice")
        assert pair is not None
        prompt, reply = pair
        logits = tiny.steered_logits(policy, torch.tensor([prompt + reply]), policy.coefficients([None]))
        rows.append(logits[0, len(prompt) - 1 : -1].log_softmax(-1))
    mixed = (2 * rows[1] - rows[0]).log_softmax(-1)
    expected = mixed[torch.arange(len(reply)), torch.tensor(reply)].sum()
    found = policy.logprobs([user("a joke")], ["nice"], [asked])[0]
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, policy.logprobs([user("a joke")], ["nice"], [Feedback("kind")])[0], atol=1e-2)


def test_a_folder_keeps_its_norms(tmp_path: Path) -> None:
    policy = following(num=2, embedding="states")
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert again.steering == policy.steering
    asked = [Weights({"kind": 0.5, "brief": 0.5})]
    assert torch.equal(*(p.logprobs([user("a joke")], ["nice"], asked) for p in (policy, again)))


def test_what_cannot_be_asked_is_refused() -> None:
    policy = following()
    for condition, says in (
        (Feedback("law"), "called 'law'; there are: kind, brief"),
        (Weights({"funny": 1.0}), "called 'funny'"),
        (Targets({"kind": 1.0}), "name a store"),
    ):
        with pytest.raises(ConditionError, match=says):
            policy.check(condition)
    with pytest.raises(ConditionError, match="less than nothing"):
        policy.steering.translate(Weights({"kind": 2.0, "brief": -1.0}), policy.objectives)
    with pytest.raises(ModelError, match="cannot be merged"):
        policy.merge(Feedback("kind"))
    for options in ({"num": 0}, {"embedding": "guess"}):
        with pytest.raises(ConfigError):
            PromptNorms(norms=NORMS, **options)
    with pytest.raises(ConfigError, match="--stores"):
        tiny.policy(PromptNorms())


def test_files_of_norms(tmp_path: Path) -> None:
    rows = made_up.lines(
        tmp_path / "law.jsonl", {"text": "be kind", "source": "§ 1", "topic": "manners"}, {"text": "no"}
    )
    assert read_norms(rows) == (Norm("be kind", "§ 1", "manners"), Norm("no"))
    plain = tmp_path / "rules.txt"
    plain.write_text("be kind\n\n  be brief \n")
    assert read_norms(plain) == (Norm("be kind"), Norm("be brief"))
    for row, says in (
        ({"text": " "}, "law.jsonl:2: a norm needs words"),
        ({"text": 3}, r"law.jsonl:2: a norm.text must be a text, got 3"),
        ({"words": "x"}, "law.jsonl:2: .*allowed keys are text, source, topic"),
        ("{", "law.jsonl:2: not valid JSON"),
    ):
        made_up.lines(tmp_path / "law.jsonl", {"text": "good"}, row)
        with pytest.raises(DataError, match=says):
            read_norms(tmp_path / "law.jsonl")
    plain.write_bytes(b"\xff\n")
    with pytest.raises(DataError, match=r"rules.txt:1: is no UTF-8 text"):
        read_norms(plain)
