"""Contrast: expert and amateur read each by itself and subtracted by hand; where it is extrapolation; the mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from pluralign.data.condition import Bounds, Condition, Weights, one_hot
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request
from pluralign.steering.contrastive import ContrastiveSteering
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering

PROMPTS = [user("tell me a joke"), user("please tell me a very short joke now")]
REPLIES = ["good and funny", "nice"]
ASKED = Weights({"kind": 0.7, "funny": 0.3})
AGAINST: dict[str, Weights | None] = {
    "reference": None,
    "opposite": Weights({"kind": -0.7, "funny": -0.3}),
    "brief=1": one_hot("brief"),
}


def policy(**options: Any) -> Policy:
    made = tiny.policy(ContrastiveSteering(rank=2, **options), shaken=0.3)
    made.bounds = Bounds(allow_extrapolation=True)
    return made


def logprobs(made: Policy, condition: Condition | None, place: int) -> Tensor:
    ids, response = made.encoder.pair(PROMPTS[place], REPLIES[place]) or ([], [])
    row = tiny.steered_logits(made, torch.tensor([ids + response]), made.coefficients([condition]))
    return row[0, len(ids) - 1 : -1].log_softmax(-1)


def chosen(made: Policy, scores: Tensor, place: int) -> float:
    response = made.encoder.response(REPLIES[place])
    return float(scores.log_softmax(-1)[torch.arange(len(response)), torch.tensor(response)].sum())


@pytest.mark.parametrize("where", ["head", "attention"])
@pytest.mark.parametrize("amateur", list(AGAINST))
def test_log_probabilities_are_the_difference_written_out(amateur: str, where: str) -> None:
    logits = policy(amateur=amateur, where=where, beta=0.5, plausibility=0.0)
    ratio = policy(amateur=amateur, where=where, form="ratio", plausibility=0.0)
    for made, expert, other in ((logits, 1.5, -0.5), (ratio, 1.0, -1.0)):
        found = made.logprobs(PROMPTS, REPLIES, [ASKED, ASKED])
        for place in range(2):
            own = expert * logprobs(made, ASKED, place) + other * logprobs(made, AGAINST[amateur], place)
            assert float(found[place]) == pytest.approx(chosen(made, own, place), abs=1e-4)


def test_contrast_with_oneself_is_extrapolation() -> None:
    """Plural heads against their reference, without the mask: the strength 1 + β of the same heads."""
    made, plural = policy(beta=0.6, plausibility=0.0), tiny.policy(PluralSteering(rank=2))
    plural.load_trainable_state(made.trainable_state())
    plural.bounds = Bounds(allow_extrapolation=True)
    further = plural.logprobs(PROMPTS, REPLIES, [Weights(dict(ASKED.values), 1.6)] * 2)
    assert torch.allclose(made.logprobs(PROMPTS, REPLIES, [ASKED] * 2), further, atol=1e-4)
    nothing = policy(beta=0.0, plausibility=0.5)
    plural.load_trainable_state(nothing.trainable_state())
    for condition in (ASKED, None):
        values = [each.logprobs(PROMPTS, REPLIES, [condition] * 2) for each in (nothing, plural)]
        assert torch.allclose(*values, atol=1e-5)
    assert nothing.merge(ASKED) is not None


def test_the_amateur_may_be_another_model(tmp_path: Path) -> None:
    made = policy(amateur="model", form="ratio", plausibility=0.0)
    with pytest.raises(ModelError, match="they are not here"):
        made.logprobs(PROMPTS, REPLIES, [ASKED] * 2)
    small = tiny.model(tiny.config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2), seed=4)
    amateur = Policy(small, Encoder(tiny.tokenizer()), NoSteering(shared_where=None), tiny.OBJECTIVES)
    made.assist(amateur)
    found = made.logprobs(PROMPTS, REPLIES, [ASKED, None])
    own = logprobs(made, ASKED, 0) - logprobs(amateur, None, 0)
    assert float(found[0]) == pytest.approx(chosen(made, own, 0), abs=1e-4)
    assert float(found[1]) == pytest.approx(chosen(made, logprobs(made, None, 1), 1), abs=1e-4)
    again = Policy.load(made.save(tmp_path / "policy"))
    assert again.steering == made.steering
    assert torch.equal(again.logprobs(PROMPTS, REPLIES, [ASKED, None]), found)


def test_drawn_replies_are_plausible_to_the_expert() -> None:
    made = policy(beta=3.0, plausibility=0.4)
    for seed in range(6):
        done = Engine(made).generate([Request(PROMPTS[0], ASKED, seed, max_new_tokens=5)])[0]
        ids = list(done.prompt_ids)
        for token in done.ids:
            row = tiny.steered_logits(made, torch.tensor([ids]), made.coefficients([ASKED]))[0, -1].softmax(-1)
            assert row[token] >= 0.4 * row.max() - 1e-6
            ids.append(token)
    greedy = Engine(made).generate([Request(PROMPTS[0], None, temperature=0.0, max_new_tokens=5)])[0]
    unlikely = [made.logprobs(PROMPTS[:1], [text], [ASKED]).item() for text in ("</s>", "9 9 9 9")]
    assert -torch.inf in unlikely and greedy.ids


def test_what_makes_no_contrast_is_refused() -> None:
    with pytest.raises(ModelError, match="in no single model's weights; set beta to 0"):
        policy().merge(ASKED)
    assert policy().merge(None) is not None
    for options in ({"form": "loud"}, {"beta": -0.1}, {"plausibility": -1.0}, {"amateur": "brief:1"}):
        with pytest.raises(ConfigError):
            ContrastiveSteering(**options)  # type: ignore[arg-type]
    with pytest.raises(ConditionError, match="unknown objective 'loud'"):
        policy(amateur="loud=1").logprobs(PROMPTS[:1], REPLIES[:1], [ASKED])
