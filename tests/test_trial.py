"""Trials: models that do not read packed rows as rows alone are found out and read on; the kernel of a GPU."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import pytest
import torch
from transformers import BloomConfig, GPTNeoConfig, MambaConfig

from pluralign import trial
from pluralign.encoding import Encoder
from pluralign.logprobs import pad, response_logprobs
from pluralign.policy import Policy
from pluralign.sharing import read
from pluralign.steering.none import NoSteering
from test_sharing import EVERY, FAMILIES, ROWS, assert_same, both, coefficients, of, packed
from tiny import OBJECTIVES, WORDS, config, model, shake, tokenizer

ALONE = {
    "mamba": (lambda: MambaConfig(vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, state_size=4), "no position_ids"),
    "bloom": (lambda: BloomConfig(vocab_size=len(WORDS), hidden_size=32, n_layer=2, n_head=4), "takes no position_ids"),
    "gpt-neo": (
        lambda: GPTNeoConfig(
            vocab_size=len(WORDS), hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
            max_position_embeddings=64, bos_token_id=1, eos_token_id=1,
        ),
        "it has a window_size",
    ),
}  # fmt: skip


def test_eager_attention_gets_a_mask_to_add():
    """Booleans would be added as 0 and 1."""
    made = model(config())
    made.set_attn_implementation("eager")
    policy = packed(Policy(made, Encoder(tokenizer()), replace(EVERY), OBJECTIVES))
    assert policy.sharing.masks.form == "added"
    shake(policy, 0.1)
    assert_same(both(policy))


@pytest.mark.parametrize("family", ALONE)
def test_other_models_read_their_rows_alone_and_say_so(family, caplog):
    made, reason = ALONE[family]
    with caplog.at_level(logging.WARNING):
        policy = of(made(), NoSteering(shared_where=None))
    assert policy.sharing is None
    (line,) = [record.message for record in caplog.records if "own copy of the prompt" in record.message]
    assert reason in line
    (values, grads), _ = both(policy)
    single = torch.cat([response_logprobs(policy, *pad([row]), coefficients(1)) for row in ROWS])
    assert torch.allclose(values, single, atol=1e-4)
    assert grads


def test_a_model_that_takes_a_mask_and_does_not_use_it_is_found_out(caplog):
    made = model(config())
    decoder = type(made.model)

    class Deaf(decoder):
        def forward(self, input_ids, attention_mask=None, position_ids=None, **options):
            return super().forward(input_ids, position_ids=position_ids, **options)

    made.model.__class__ = Deaf
    with caplog.at_level(logging.WARNING):
        policy = Policy(made, Encoder(tokenizer()), replace(EVERY), OBJECTIVES)
    assert policy.sharing is None
    assert "LlamaForCausalLM" in caplog.text and "shared and unshared rows disagree" in caplog.text


def test_trying_a_model_leaves_it_as_it_was():
    made = FAMILIES["mistral, long window"]()
    assert of(made).model.config.sliding_window == 4096
    assert not of(made).model.training


@pytest.mark.parametrize("family", ["llama", "qwen3, sliding", "cohere2"])
def test_flex_attention_reads_the_same(family):
    """Uncompiled and without gradients: its kernels for training are a GPU's."""
    policy = packed(of(FAMILIES[family]()))
    shared = policy.sharing
    blocks = replace(shared, masks=replace(shared.masks, form="blocks"))
    found = []
    with torch.no_grad(), torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
        warnings.filterwarnings("ignore", "`torch.jit.script_method`", DeprecationWarning)  # on importing the compiler
        for policy.sharing in (shared, blocks):
            found.append(read(policy, *pad(ROWS), coefficients(len(ROWS))[:, 0]))
    assert torch.allclose(*found, atol=1e-5)
    assert policy.model.config._attn_implementation == "sdpa"


def test_settling_on_a_kernel_keeps_the_one_that_works(caplog):
    policy = packed(of(config()))
    right, seconds = trial.long_row(policy, policy.sharing)
    assert right.shape == (4, 32 + 4 * 32, 32) and seconds > 0  # prompts and responses of half a context

    def settled(states: torch.Tensor | str, factor: float) -> str:
        def timed(_, tried):
            if tried.masks.form == "asked":
                return right, seconds
            if isinstance(states, str):
                raise RuntimeError(states)
            return states, factor * seconds

        found = trial.settled(policy, policy.sharing, timed)
        assert found.settled
        return found.masks.form

    assert settled(right, 0.5) == "blocks"
    assert settled(right, 1.5) == "asked"
    assert settled(right + 0.1, 0.5) == "asked"
    with caplog.at_level(logging.INFO, "pluralign"):
        assert settled("no compiler", 0.5) == "asked"
    assert "no compiler" in caplog.text
