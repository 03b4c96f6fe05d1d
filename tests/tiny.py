"""Tiny real models for tests: a word tokenizer, random Llamas and their kin, and policies on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedTokenizerFast

from pluralign.data.objective import Objective
from pluralign.encoding import Encoder
from pluralign.policy import Policy

torch.set_num_threads(1)  # these models are far too small to share

WORDS = ["<unk>", "</s>", *":.,0123456789", "kind", "brief", "please", "tell", "me", "a", "joke", "now"]
WORDS += ["good", "nice", "funny", "short", "long", "very", "and", "helpful"]
OBJECTIVES = (Objective("kind"), Objective("brief"), Objective("funny"))
K = len(OBJECTIVES)


def tokenizer(chat_template: str | None = None, **special: str) -> PreTrainedTokenizerFast:
    """One token per word, sign and digit of WORDS."""
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>", **special)
    made.chat_template = chat_template
    return made


def config(**options: Any) -> LlamaConfig:
    """Llama: width 32, 2 layers."""
    return LlamaConfig(**{
        "vocab_size": len(WORDS), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": False,
        "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.2, **options,
    })  # fmt: skip


def model(config: PreTrainedConfig, seed: int = 0) -> Any:
    """A random causal LM in evaluation mode, the same one for the same seed."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval()


def policy(steering: Any, shaken: float = 0.0, objectives: Sequence[Objective] = OBJECTIVES, **options: Any) -> Policy:
    """A policy on a random Llama; `shaken` is the size of random changes, as if it had been trained."""
    made = Policy(model(config(**options)), Encoder(tokenizer()), steering, objectives)
    if shaken:
        shake(made, shaken)
    return made


@torch.no_grad()
def shake(policy: Policy, size: float = 0.1, seed: int = 1) -> None:
    """Add noise to everything that trains."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in policy.trainable_state().values():
        tensor += (size * torch.randn(tensor.shape, generator=generator)).to(tensor)


def ids(num_rows: int = 3, num_tokens: int = 6, seed: int = 0) -> Tensor:
    """Random tokens [R, T], no special ones."""
    return torch.randint(2, len(WORDS), (num_rows, num_tokens), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def steered_logits(policy: Policy, input_ids: Tensor, coefficients: Tensor, index: Tensor | None = None) -> Tensor:
    """The model's own logits [R, T, V] under coefficients [R, C]."""
    with policy.steering.steered(policy.model, coefficients, index):
        return policy.model(input_ids=input_ids, use_cache=False).logits
