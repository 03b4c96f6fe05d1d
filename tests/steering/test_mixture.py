"""Mixtures: experts that answer together, token by token, against sums written out, soups and plural heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from pluralign.data.condition import Bounds, Condition, Weights, one_hot
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import Completion, Engine, Request
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.plural import PluralSteering

PROMPTS = [user("tell me a joke"), user("please tell me a very short joke now"), user("a joke")]
REPLIES = ["good and funny", "nice", "very very short and helpful joke"]
ASKED = Weights({"kind": 0.5, "brief": 0.2, "funny": 0.3})


def policy(where: str = "attention", **options: Any) -> Policy:
    return tiny.policy(MixtureSteering(where=where, rank=2, **options), shaken=0.3)  # type: ignore[arg-type]


def experts(made: Policy, prompt: int, reply: int, members: Sequence[Condition | None]) -> Tensor:
    """log π_i [members, T, V] at the reply's tokens, each by the model's own forward pass."""
    ids, response = made.encoder.pair(PROMPTS[prompt], REPLIES[reply]) or ([], [])
    rows = [tiny.steered_logits(made, torch.tensor([ids + response]), made.coefficients([each])) for each in members]
    return torch.stack([row[0, len(ids) - 1 : -1].log_softmax(-1) for row in rows])


def chosen(made: Policy, mixed: Tensor, prompt: int, reply: int) -> float:
    _, response = made.encoder.pair(PROMPTS[prompt], REPLIES[reply]) or ([], [])
    return float(mixed.log_softmax(-1)[torch.arange(len(response)), torch.tensor(response)].sum())


ALONE = [one_hot(objective.name) for objective in tiny.OBJECTIVES]
SHARES = torch.tensor([0.5, 0.2, 0.3])[:, None, None]


@pytest.mark.parametrize(
    ("options", "mean"),
    [
        ({}, lambda logs: (SHARES * logs).sum(0)),
        ({"divergence": "forward_kl"}, lambda logs: -(SHARES / logs.exp()).sum(0).log()),
        ({"divergence": "alpha", "alpha": 0.5}, lambda logs: -2 * (SHARES * logs.exp() ** -0.5).sum(0).log()),
    ],
)
@pytest.mark.parametrize("where", ["attention", "head"])
def test_log_probabilities_are_the_mean_written_out(where: str, options: dict[str, Any], mean: Any) -> None:
    made = policy(where, **options)
    found = made.logprobs(PROMPTS, REPLIES, [ASKED, ALONE[1], ASKED])
    for place in (0, 2):
        own = mean(experts(made, place, place, ALONE))
        assert float(found[place]) == pytest.approx(chosen(made, own, place, place), abs=1e-4)
    alone = experts(made, 1, 1, ALONE[1:2])[0]
    assert float(found[1]) == pytest.approx(chosen(made, alone, 1, 1), abs=1e-4)


def test_the_orders_meet_at_their_ends() -> None:
    """α = 1 is the harmonic mean, α -> 0 the geometric one."""
    found = {
        name: policy(**options).logprobs(PROMPTS, REPLIES, [ASKED] * 3)
        for name, options in {
            "geometric": {},
            "harmonic": {"divergence": "forward_kl"},
            "one": {"divergence": "alpha", "alpha": 1.0},
            "small": {"divergence": "alpha", "alpha": 1e-3},
        }.items()
    }
    assert torch.allclose(found["one"], found["harmonic"], atol=1e-4)
    assert torch.allclose(found["small"], found["geometric"], atol=2e-2)
    assert not torch.allclose(found["harmonic"], found["geometric"], atol=5e-2)


def test_mixing_heads_in_the_logits_is_mixing_their_weights() -> None:
    """Where only the head differs, MOD, rewarded soups and CMPO's plural heads are one model (methods.md A4, G)."""
    mixture, plural = policy("head"), tiny.policy(PluralSteering(rank=2), shaken=0.3)
    plural.load_trainable_state(mixture.trainable_state())
    for condition in (ASKED, ALONE[0], None):
        found = [made.logprobs(PROMPTS, REPLIES, [condition] * 3) for made in (mixture, plural)]
        assert torch.allclose(found[0], found[1], atol=1e-4)


def test_equal_experts_answer_as_one() -> None:
    made = policy()
    with torch.no_grad():
        for parameters in made.trainable().values():
            for parameter in parameters:
                parameter.copy_(parameter[:1].expand_as(parameter))
    one, mixed = (made.logprobs(PROMPTS, REPLIES, [condition] * 3) for condition in (ALONE[2], ASKED))
    assert torch.allclose(one, mixed, atol=1e-4)


def test_a_strength_leads_from_the_reference_through_the_experts() -> None:
    """DeRA: strength 0 is the reference, 1 the expert, between them the geometric path, beyond it further."""
    made = policy()
    made.bounds = Bounds(allow_extrapolation=True)
    reference, expert = experts(made, 0, 0, [None, ALONE[0]])
    for strength in (0.0, 0.5, 1.0, 2.0):
        found = made.logprobs(PROMPTS[:1], REPLIES[:1], [Weights({"kind": 1.0}, strength)])
        own = (1 - strength) * reference + strength * expert
        assert float(found[0]) == pytest.approx(chosen(made, own, 0, 0), abs=1e-4)


def requests(num: int = 16, temperature: float = 1.0) -> list[Request]:
    conditions = [ASKED, ALONE[1], None, Weights({"kind": 0.5, "brief": 0.5})]
    return [
        Request(PROMPTS[i % 3], conditions[i % 4], 10 + i, temperature, max_new_tokens=4 + 4 * (i % 5))
        for i in range(num)
    ]


def written(made: Policy, request: Request, done: Completion) -> list[int]:
    """The ids of a reply's text; a random model also says what no text is written as."""
    pair = made.encoder.pair(request.messages, done.text)
    return [] if pair is None else pair[1]


@pytest.mark.parametrize("where", ["attention", "head"])
def test_replies_are_drawn_from_the_mixture(where: str) -> None:
    """A reply's log-probability is that of `logprobs`, whoever shares its batch."""
    made = policy(where)
    asked = requests()
    together = Engine(made).generate(asked)
    assert [done.ids for done in together] == [Engine(made).generate([request])[0].ids for request in asked]
    finished = [
        p for p, done in enumerate(together) if done.finished and tuple(written(made, asked[p], done)) == done.ids
    ]
    found = made.logprobs(
        [asked[p].messages for p in finished],
        [together[p].text for p in finished],
        [asked[p].condition for p in finished],
    )
    assert finished and torch.allclose(found, torch.tensor([together[p].logprob for p in finished]).float(), atol=1e-3)


def test_greedy_is_the_best_token_of_the_mean() -> None:
    made = policy()
    done = Engine(made).generate([Request(PROMPTS[0], ASKED, temperature=0.0, max_new_tokens=6)])[0]
    ids = list(done.prompt_ids)
    for token in done.ids:
        rows = torch.stack([
            tiny.steered_logits(made, torch.tensor([ids]), made.coefficients([each]))[0, -1].log_softmax(-1)
            for each in ALONE
        ])  # fmt: skip
        assert int((SHARES[:, 0] * rows).sum(0).argmax()) == token
        ids.append(token)


def test_what_a_mixture_cannot_do_is_refused_with_a_reason(tmp_path: Path) -> None:
    made = policy()
    with pytest.raises(ConditionError, match="several models together"):
        made.coefficients([ASKED])
    with pytest.raises(ModelError, match="no merged weights; ask for one objective alone, or train soups"):
        made.merge(ASKED)
    assert made.merge(ALONE[0]) is not None
    with pytest.raises(ConditionError, match="needs weights from 0 that sum to 1"):
        policy(divergence="forward_kl").logprobs(PROMPTS[:1], REPLIES[:1], [Weights({"kind": 1.0}, 2.0)])
    for options in ({"divergence": "chi2"}, {"alpha": 0.0}):
        with pytest.raises(ConfigError):
            MixtureSteering(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("steering", [MixtureSteering(rank=2), PluralSteering(rank=2)])
def test_lists_of_different_lengths_are_refused(steering: Any) -> None:
    with pytest.raises(ConfigError, match="got 1 prompts, 2 responses and 2 conditions"):
        tiny.policy(steering).logprobs(PROMPTS[:1], REPLIES[:2], [None, None])
    with pytest.raises(ConfigError, match="2 responses and 1 conditions"):
        tiny.policy(dataclasses.replace(steering)).logprobs(PROMPTS[:2], REPLIES[:2], [None])


def test_a_folder_keeps_a_mixture(tmp_path: Path) -> None:
    made = policy(divergence="alpha", alpha=0.7)
    again = Policy.load(made.save(tmp_path / "policy"))
    assert again.steering == made.steering
    assert torch.equal(*(each.logprobs(PROMPTS, REPLIES, [ASKED] * 3) for each in (made, again)))
