"""The fused head equals a family's own log-probabilities, whatever that family does after its head; unknown ones fall back."""

from __future__ import annotations

import pytest
import torch
from test_steering_laws import random_coefficients
from transformers import (
    CohereConfig,
    FalconH1Config,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GraniteConfig,
    Qwen2Config,
    RecurrentGemmaConfig,
)

from pluralign.encoding import Encoder
from pluralign.logprobs import response_logprobs
from pluralign.policy import Policy
from pluralign.steering.deltas import PluralLinear
from pluralign.steering.plural import PluralSteering
from tiny import OBJECTIVES, WORDS, K, config, ids, model, shake, steered_logits, tokenizer

SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 1,
    "bos_token_id": None,
    "eos_token_id": 1,
}
GPT2_SIZES = {"vocab_size": len(WORDS), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
FAMILIES = {
    "llama": lambda tied: config(tie_word_embeddings=tied),
    "qwen2": lambda tied: Qwen2Config(**SIZES, tie_word_embeddings=tied),
    "gemma2": lambda tied: Gemma2Config(
        **SIZES, head_dim=8, tie_word_embeddings=tied, final_logit_softcapping=2.0, sliding_window=4
    ),
    "gemma3": lambda tied: Gemma3TextConfig(**SIZES, head_dim=8, tie_word_embeddings=tied, final_logit_softcapping=3.0),
    "cohere": lambda tied: CohereConfig(**SIZES, tie_word_embeddings=tied, logit_scale=0.4),
    "granite": lambda tied: GraniteConfig(**SIZES, tie_word_embeddings=tied, logits_scaling=3.0),
    "gpt2": lambda tied: GPT2Config(
        **GPT2_SIZES, tie_word_embeddings=tied, initializer_range=0.3, bos_token_id=1, eos_token_id=1
    ),
}
STEERINGS = {
    "head": lambda: PluralSteering(rank=4),
    "head and shared": lambda: PluralSteering(rank="full", shared_where="all", shared_rank=2),
    "all": lambda: PluralSteering(where="all", rank=2),
    "attention": lambda: PluralSteering(where="attention", rank=2),
}


def of(made: object, steering: PluralSteering) -> Policy:
    built = Policy(model(made), Encoder(tokenizer()), steering, OBJECTIVES)
    shake(built, 0.2)
    return built


def own_logprobs(built: Policy, tokens: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    columns = []
    for place in range(rows.shape[1]):
        logits = steered_logits(built, tokens, rows[:, place]).float().log_softmax(-1)
        taken = logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
        columns.append((taken * mask[:, 1:]).sum(1))
    return torch.stack(columns, 1)


TURNS = [(family, name, (i + j) % 2 > 0) for i, family in enumerate(FAMILIES) for j, name in enumerate(STEERINGS)]


@pytest.mark.parametrize(("family", "name", "tied"), TURNS)  # each family and each steering tied and untied
def test_the_fused_head_is_the_models_own(family, name, tied):
    built = of(FAMILIES[family](tied), STEERINGS[name]())
    assert built.fused
    rows = random_coefficients(6).view(3, 2, K + 2)
    mask = torch.arange(6) > torch.tensor([[1], [3], [2]])
    with torch.no_grad():
        fused = response_logprobs(built, ids(3), mask, rows)
        own = own_logprobs(built, ids(3), mask, rows)
    assert torch.allclose(fused.float(), own.float(), atol=1e-3)
    assert (fused[:, 0] - fused[:, 1]).abs().max() > 1e-2
    built.fused = False
    with torch.no_grad():
        assert torch.allclose(response_logprobs(built, ids(3), mask, rows).float(), fused.float(), atol=1e-3)


def test_attention_means_the_attention_projections_of_every_family():
    for family, make in FAMILIES.items():
        built = of(make(True), STEERINGS["attention"]())
        names = [name for name, layer in built.model.named_modules() if isinstance(layer, PluralLinear)]
        assert len(names) == (4 if family == "gpt2" else 8), names
        assert all("attn" in name for name in names)


@pytest.mark.parametrize("name", ["head", "all"])
@pytest.mark.parametrize(
    "made",
    [
        lambda: RecurrentGemmaConfig(**SIZES, lru_width=32, logits_soft_cap=5.0, attention_window_size=8),
        lambda: FalconH1Config(**SIZES, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_state=8, lm_head_multiplier=3.0),
    ],
    ids=["recurrent_gemma", "falcon_h1"],
)
def test_an_unknown_epilogue_falls_back_to_the_models_own_logits(caplog, made, name):
    """Even where it would not show in logits as small as these (a soft-cap of 30)."""
    built = of(made(), STEERINGS[name]())
    assert not built.fused and "does something after its head" in caplog.text
    rows = random_coefficients(6).view(3, 2, K + 2)
    mask = torch.arange(6) > torch.tensor([[1], [3], [2]])
    with torch.no_grad():
        found = response_logprobs(built, ids(3), mask, rows)
    assert torch.allclose(found, own_logprobs(built, ids(3), mask, rows), atol=1e-4)
