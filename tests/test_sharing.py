"""Shared prefixes: log-probabilities and gradients are those of rows that are read alone, in every family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import (
    Cohere2Config,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    MistralConfig,
    Olmo3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from pluralign.encoding import Encoder
from pluralign.logprobs import pad, response_logprobs
from pluralign.policy import Policy
from pluralign.sharing import layout_of, read
from pluralign.steering.plural import PluralSteering
from pluralign.steering.surgery import checkpoint_gradients
from tiny import OBJECTIVES, WORDS, K, config, model, shake, tokenizer

SPECIAL = {"pad_token_id": 1, "bos_token_id": None, "eos_token_id": 1}
SIZES = {
    "vocab_size": len(WORDS), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.2,
    "tie_word_embeddings": False, **SPECIAL,
}  # fmt: skip
NEOX = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
STILL = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
GPT2 = {"vocab_size": len(WORDS), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, **SPECIAL, **STILL}
BOTH = ["sliding_attention", "full_attention"]
FAMILIES = {
    "llama": lambda: config(),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "qwen3, sliding": lambda: Qwen3Config(
        **SIZES, head_dim=8, use_sliding_window=True, sliding_window=3, max_window_layers=1
    ),
    "gemma2": lambda: Gemma2Config(**SIZES, head_dim=8, sliding_window=3, attn_logit_softcapping=2.0),
    "gemma3": lambda: Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=3, layer_types=BOTH),
    "mistral, window": lambda: MistralConfig(**SIZES, sliding_window=3),
    "mistral, long window": lambda: MistralConfig(**SIZES, sliding_window=4096),
    "cohere": lambda: CohereConfig(**SIZES, logit_scale=0.4),
    "cohere2": lambda: Cohere2Config(**SIZES, sliding_window=3, layer_types=BOTH),
    "granite": lambda: GraniteConfig(**SIZES, logits_scaling=3.0),
    "gpt2": lambda: GPT2Config(**GPT2, initializer_range=0.2),
    "gpt-neox": lambda: GPTNeoXConfig(**NEOX),
    "olmo3": lambda: Olmo3Config(**SIZES, sliding_window=3, layer_types=BOTH),
}
LONG, SHORT, OTHER = [5, 9, 7, 20, 3, 8, 8], [4, 6], [5, 9, 7, 20, 3, 8, 9]
ROWS = [
    (LONG, [7, 11, 1]),
    (LONG, [12, 7, 11, 21, 22, 23, 24, 2, 1]),
    (SHORT, [7, 11, 1]),
    (LONG, [7, 11, 1]),  # the same once more
    (OTHER, [7, 11, 1]),
    (LONG, [1]),
    (SHORT, [9]),
]
EVERY = PluralSteering(where="all", rank=2)


def of(made: PreTrainedConfig, steering=None, dtype: torch.dtype = torch.float32) -> Policy:
    built = Policy(model(made).to(dtype), Encoder(tokenizer()), steering or replace(EVERY), OBJECTIVES)
    shake(built, 0.1)
    return built


def packed(policy: Policy) -> Policy:
    """Shares whatever can be shared, however dear attention is."""
    assert policy.sharing is not None
    policy.sharing = replace(policy.sharing, linear=1e9)
    return policy


def coefficients(num_rows: int, num_conditions: int = 1, seed: int = 0) -> torch.Tensor:
    """Random weights [R, L, C], the same for all rows, with strength 1."""
    weights = torch.rand(1, num_conditions, K, generator=torch.Generator().manual_seed(seed))
    return torch.cat([weights / weights.sum(-1, keepdim=True), torch.ones(1, num_conditions, 2)], -1).expand(
        num_rows, -1, -1
    )


def both(policy: Policy, rows=ROWS, asked: torch.Tensor | None = None) -> list[tuple[torch.Tensor, dict]]:
    """(log-probabilities, gradients of a fixed function of them), packed and alone."""
    asked = coefficients(len(rows)) if asked is None else asked
    weights = torch.randn(asked.shape[:2], generator=torch.Generator().manual_seed(1))
    shared, found = policy.sharing, []
    for policy.sharing in (shared, None):
        policy.model.zero_grad()
        values = response_logprobs(policy, *pad(rows), asked)
        (values * weights).sum().backward()
        grads = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
        found.append((values.detach(), grads))
    policy.sharing = shared
    return found


def assert_same(found: list[tuple[torch.Tensor, dict]], tolerance: float = 1e-5) -> None:
    (values, grads), (alone, alone_grads) = found
    assert (values - alone).norm() <= tolerance * alone.norm()
    assert grads.keys() == alone_grads.keys() and grads
    for name, expected in alone_grads.items():
        assert (grads[name] - expected).norm() <= tolerance * expected.norm() + 1e-12, name


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_are_rows_alone(family):
    policy = packed(of(FAMILIES[family]()))
    layout = layout_of(policy, *pad(ROWS), coefficients(len(ROWS))[:, 0])
    assert layout.shared and layout.ids.shape == (1, 7 + 10 + 2 + 2 + 7 + 2)
    assert_same(both(policy))


@pytest.mark.parametrize("family", ["gpt2", "gpt-neox"])
def test_states_agree_to_the_last_digits_in_float64(family):
    """Where the model computes in float64 throughout (RMS norms of transformers are float32)."""
    policy = packed(of(FAMILIES[family](), dtype=torch.float64))
    asked, found = coefficients(len(ROWS))[:, 0], []
    shared = policy.sharing
    for policy.sharing in (shared, None):
        policy.model.zero_grad()
        states = read(policy, *pad(ROWS), asked)
        states.square().sum().backward()
        found.append((states.detach(), {n: p.grad for n, p in policy.model.named_parameters() if p.grad is not None}))
    assert_same(found, 1e-11)


@pytest.mark.parametrize("family", ["mistral, window", "gemma2", "gemma3", "qwen3, sliding"])
def test_the_window_matters_here(family):
    """Without it the states would be others, so the tests above see it."""
    policy = of(FAMILIES[family]())
    states = []
    for window in (3, 64):
        policy.model.config.sliding_window = window
        with torch.no_grad():
            states.append(read(packed(policy), *pad(ROWS), coefficients(len(ROWS))[:, 0]))
    assert (states[0] - states[1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:1],
        ROWS[1:2],
        [ROWS[0], ROWS[3]],
        [([n], [5, n, 1]) for n in range(2, 12)],
        [(LONG * n, [2 + n] * (1 + 5 * n)) for n in (1, 2, 3, 1, 2, 1)],
        [([3], [4] * 30), *(([3], [n]) for n in range(2, 9))],
    ],
    ids=["one", "one, long", "identical", "many prompts", "padding", "one long reply"],
)
@pytest.mark.parametrize("linear", [0.0, 10.0, 1e9])
def test_whatever_layout_is_chosen(rows, linear):
    policy = of(config())
    policy.sharing = replace(policy.sharing, linear=linear)
    assert_same(both(policy, rows), 2e-5)


@pytest.mark.parametrize("where", ["attention", "all", "head"])
def test_every_row_under_its_own_weights(where):
    """The prefix depends on λ where the trunk does: it is shared by rows of the same λ only."""
    policy = packed(of(config(), PluralSteering(where=where, rank=2, shared_where="attention", shared_rank=2)))
    asked = torch.cat([coefficients(1, 3, seed=row % 3) for row in range(len(ROWS))])
    asked[4, 1, -2] = 0.5  # another strength of the shared adapter
    assert_same(both(policy, asked=asked), 2e-5)
    flat = asked[:, 0]
    layout = layout_of(policy, *pad(ROWS), flat)
    owners = flat[torch.from_numpy(layout.owner)]
    for row, (prompt, reply) in enumerate(ROWS):
        places = layout.places[row, : len(prompt) + len(reply) - 1]
        read_under = owners.flatten(0, 1)[torch.from_numpy(places)]
        assert where == "head" or torch.equal(read_under, flat[row].expand_as(read_under))


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_under_gradient_checkpointing(family):
    policy = packed(of(FAMILIES[family](), PluralSteering(where="all", rank=2)))
    asked = torch.cat([coefficients(1, 2, seed=row) for row in range(len(ROWS))])
    plain = both(policy, asked=asked)[0]
    checkpoint_gradients(policy.model, policy.steering._state)
    policy.model.train()
    assert_same([both(policy, asked=asked)[0], plain])


@pytest.mark.parametrize("family", ["llama", "gemma3", "gemma2", "mistral, window"])
def test_bfloat16_shares_too(family):
    policy = packed(of(FAMILIES[family](), dtype=torch.bfloat16))
    (values, grads), (alone, _) = both(policy)
    assert (values - alone).abs().max() < 0.02 * alone.abs().max()
    assert all(torch.isfinite(gradient).all() for gradient in grads.values())
