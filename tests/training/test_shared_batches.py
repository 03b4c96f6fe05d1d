"""A step on packed rows is the step on rows alone: losses and gradients, whatever is steered; models without masks train."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from transformers import Gemma2Config, MambaConfig

import tiny
from pluralign.data.condition import Weights
from pluralign.data.group import Group, Preference
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.losses.dpo import CDPO
from pluralign.losses.sft import SFT
from pluralign.policy import Policy
from pluralign.sharing import layout_of
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.batching import Collator
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource

TEXTS = ("good .", "good nice and kind .", "very very long and funny .", "short .")
ASKED = (Weights({"kind": 1.0}), Weights({"kind": 0.3, "brief": 0.7}), Weights({"funny": 0.5, "brief": 0.5}))
PAIRS = [(i, j) for i in range(4) for j in range(i)]
STEERINGS = {
    "head": lambda: PluralSteering(rank=4),
    "full head, shared attention": lambda: PluralSteering(rank="full", shared_where="attention", shared_rank=2),
    "attention": lambda: PluralSteering(where="attention", rank=2),
    "all": lambda: PluralSteering(where="all", rank=2),
    "prompt": PromptWeights,
    "none": NoSteering,
}


def every_pair(prompt: str, conditions=ASKED) -> Group:
    """Four responses, six pairs under each condition."""
    preferences = tuple(Preference(c, *pair, 0.5) for c in range(len(conditions)) for pair in PAIRS)
    return Group(user(prompt), TEXTS, conditions, preferences)


def single_pairs(prompt: str, conditions=ASKED) -> list[Group]:
    """The same, a group per pair."""
    return [
        Group(user(prompt), (TEXTS[i], TEXTS[j]), conditions, tuple(Preference(c, 0, 1, 0.5) for c in range(3)))
        for i, j in PAIRS
    ]


def step(policy: Policy, groups: list[Group]) -> tuple[float, dict[str, torch.Tensor]]:
    """Mean loss and gradients."""
    batch = Collator(policy, reference=lambda number: -3.0)(groups)
    policy.model.zero_grad()
    total, losses, _ = policy.losses(batch, CDPO(), 1 / batch.num_examples)
    total.backward()
    return float(losses.mean()), {n: p.grad for n, p in policy.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", STEERINGS)
def test_a_prompts_pairs_share_what_they_have_in_common(name):
    policy = tiny.policy(STEERINGS[name](), shaken=0.1)
    conditions = ASKED if name != "none" else (None,) * 3
    prompts = ("tell me a joke", "please tell me a very long joke now", "now")
    grouped = [every_pair(prompt, conditions) for prompt in prompts]
    apart = [pair for prompt in prompts for pair in single_pairs(prompt, conditions)]
    shared = replace(policy.sharing, linear=1e9)
    policy.sharing = None
    expected_loss, expected = step(policy, apart)
    for policy.sharing in (shared, replace(shared, linear=0.0), None):
        for groups in (grouped, apart, apart[::-1]):
            loss, gradients = step(policy, groups)
            assert loss == pytest.approx(expected_loss, rel=1e-5)
            assert gradients.keys() == expected.keys() and gradients
            for each, gradient in expected.items():
                assert (gradients[each] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-8, each
    batch = Collator(policy)(apart)
    columns = {"prompt": 3, "none": 1}.get(name, 1)
    assert len(batch.rows) == 3 * 4 * columns  # each response once per prompt (and text of a condition)


def test_rows_of_a_step_are_one_packed_row_per_prompt_here():
    policy = tiny.policy(PluralSteering(rank=4))
    policy.sharing = replace(policy.sharing, linear=1e9)
    batch = Collator(policy)([pair for prompt in ("tell me a joke", "now") for pair in single_pairs(prompt)])
    layout = layout_of(policy, batch.input_ids, batch.targets_mask, batch.coefficients[:, 0])
    read = batch.lengths.sum() - len(batch.rows)  # of a response all but its last token, of a prompt every token once
    prompts = (batch.attention_mask.sum(1) - batch.lengths)[[0, 4]].sum()
    assert layout.ids.size == read + prompts


def fallback() -> Policy:
    made = tiny.model(MambaConfig(vocab_size=len(tiny.WORDS), hidden_size=32, num_hidden_layers=2, state_size=4))
    return Policy(made, Encoder(tiny.tokenizer()), NoSteering(shared_where=None), tiny.OBJECTIVES)


def test_a_model_that_takes_no_masks_trains_on_rows_alone(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        policy = fallback()
    assert sum("with its own copy of the prompt" in line for line in caplog.messages) == 1
    groups = [Group(user("tell me a joke"), TEXTS[:2]), Group(user("now"), TEXTS[2:])]
    with Run(tmp_path / "run") as run:
        fit(policy, GroupSource(groups, 2), SFT(), run.stage("sft"), Optim(steps=6, lr=1e-2, warmup=0))
        losses = [line["loss"] for line in run.tracker.file.read()]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("eager", [False, True])
def test_packed_rows_train_in_half_precision_products(eager):
    """Under autocast the added mask of eager attention is wider than the products it is added to."""
    if eager:
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
        special = {"pad_token_id": 1, "bos_token_id": None, "eos_token_id": 1}
        config = Gemma2Config(
            vocab_size=len(tiny.WORDS), num_key_value_heads=2, head_dim=8, sliding_window=4, **sizes, **special
        )
        policy = Policy(
            tiny.model(config), Encoder(tiny.tokenizer()), PluralSteering(where="all", rank=2), tiny.OBJECTIVES
        )
        tiny.shake(policy)
    else:
        policy = tiny.policy(PluralSteering(where="all", rank=2), shaken=0.1)
    policy.sharing = replace(policy.sharing, linear=1e9)
    groups = [every_pair("tell me a joke"), every_pair("now")]
    full, _ = step(policy, groups)
    with torch.autocast("cpu", torch.bfloat16):
        half, gradients = step(policy, groups)
    assert half == pytest.approx(full, rel=0.05)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
