"""Policies of every family through the fast head and through plain autograd: the loss and every gradient tensor."""

from __future__ import annotations

import pytest
import torch
from test_head_families import FAMILIES, SIZES
from transformers import Qwen3Config

from pluralign.data.condition import Weights
from pluralign.data.group import Group, Preference
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.losses.dpo import CDPO
from pluralign.losses.outputs import total
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.steering.surgery import checkpoint_gradients
from pluralign.training.batching import Batch, Collator
from tiny import OBJECTIVES, model, shake, tokenizer

MADE = {**FAMILIES, "qwen3": lambda tied: Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=tied)}
STEERINGS = {
    "head": lambda: PluralSteering(rank=4),
    "full head, literal base, shared": lambda: PluralSteering(rank="full", base_share="sum", shared_where="all"),
    "attention": lambda: PluralSteering(where="attention", rank=2),
    "all": lambda: PluralSteering(where="all", rank=2),
    "in words": PromptWeights,
    "trained in full": lambda: NoSteering(shared_where=None),
}
ASKED = (
    Weights({"kind": 1.0}),
    Weights({"kind": 0.5, "brief": 0.5}),
    Weights({"kind": 0.2, "brief": 0.3, "funny": 0.5}),
)


def groups(conditions) -> list[Group]:
    both = tuple(Preference(n, n % 2, 1 - n % 2, 0.5) for n in range(len(conditions)))
    return [
        Group(user("please tell me a joke"), ("good and funny now", "very long"), conditions, both),
        Group(user("tell me now"), ("short", "nice and kind and helpful", "a very long joke"), conditions, both),
    ]


def policy(family: str, steering: str, tied: bool) -> Policy:
    made = Policy(model(MADE[family](tied)), Encoder(tokenizer(), "plain"), STEERINGS[steering](), OBJECTIVES)
    shake(made, 0.1)
    assert made.fused
    return made


def found(made: Policy, batch: Batch, fast: bool) -> dict[str, torch.Tensor]:
    made.model.zero_grad()
    loss = CDPO()
    values = made.losses(batch, loss, 0.5) if fast else total(loss, made.outputs(batch), batch.judgements, 0.5)
    values[0].backward()
    own = {name: p.grad for name, p in made.model.named_parameters() if p.grad is not None}
    return {"total": values[0].detach(), "losses": values[1], **values[2], **own}


def batch_of(made: Policy, steering: str) -> Batch:
    conditions = (None, None, None) if steering == "trained in full" else ASKED
    return Collator(made, reference=lambda number: -9.0 - number)(groups(conditions))


TURNS = [(family, steering, (i + j) % 2 > 0) for i, family in enumerate(MADE) for j, steering in enumerate(STEERINGS)]


@pytest.mark.parametrize(("family", "steering", "tied"), TURNS)  # each family and each steering tied and untied
def test_the_fast_head_trains_every_family_as_plain_autograd_does(family, steering, tied):
    made = policy(family, steering, tied)
    batch = batch_of(made, steering)
    fast, plain = (found(made, batch, fast) for fast in (True, False))
    assert fast.keys() == plain.keys() and len(fast) > 7
    for name, tensor in plain.items():
        off = (fast[name].double() - tensor.double()).norm()
        assert off <= 2e-5 * tensor.double().norm() + 1e-9, (name, off / tensor.norm())


@pytest.mark.parametrize("steering", ["full head, literal base, shared", "all", "trained in full"])
def test_checkpointing_changes_no_gradient_of_the_fast_head(steering):
    made, thrifty = policy("llama", steering, False), policy("llama", steering, False)
    checkpoint_gradients(thrifty.model, thrifty.steering._state)
    thrifty.model.train()
    batch = batch_of(made, steering)
    expected, values = found(made, batch, True), found(thrifty, batch, True)
    assert all(torch.allclose(values[name], tensor, atol=1e-5) for name, tensor in expected.items())


def test_micro_batches_add_up_to_the_batch():
    made = policy("llama", "full head, literal base, shared", False)
    collator = Collator(made, reference=lambda number: -9.0)
    whole = found(made, collator(groups(ASKED)), True)
    parts = [found(made, collator([group]), True) for group in groups(ASKED)]
    for name in set(whole) - {"losses"}:
        if whole[name].shape == parts[0][name].shape:
            assert torch.allclose(parts[0][name] + parts[1][name], whole[name], atol=1e-5), name


def test_without_gradients_nothing_is_formed():
    made = policy("llama", "head", False)
    with torch.no_grad():
        value, losses, _ = made.losses(batch_of(made, "head"), CDPO())
    assert not value.requires_grad and value == pytest.approx(float(losses.sum()), rel=1e-6)
    assert all(p.grad is None for p in made.model.parameters())
