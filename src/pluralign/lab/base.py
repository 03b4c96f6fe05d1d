"""The lab's base models: tiny Llamas that learn the grammar, and how they are trained, sampled and measured.

The loss of a batch is divided by a constant, not by the batch's own number of tokens: batches are made of replies of
like length, and dividing by their tokens would weigh short replies up and make the base terse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pluralign.data.record import Message, Record
from pluralign.lab.grammar import draw_reply, text_of
from pluralign.lab.prompt_set import prompts, topic_of
from pluralign.lab.tokenizer import CONTEXT, build_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

MAX_NEW_TOKENS = 64
_MEAN_TOKENS = 30
_BUCKET_BATCHES = 25
_IGNORED = -100
Example = tuple[list[int], list[int]]
DrawReply = Callable[[np.random.Generator, Record], str]


def grammar_reply(rng: np.random.Generator, prompt: Record) -> str:
    """One reply of the full grammar to a prompt of the lab."""
    topic = topic_of(prompt.messages)
    assert topic is not None, "every prompt of the lab names one topic"
    return text_of(draw_reply(rng, topic))


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseTraining:
    """How a base model is made. The defaults are the lab's; see `build.training` for the nano world's."""

    hidden_size: int = 128
    intermediate_size: int = 256
    num_layers: int = 2
    num_heads: int = 4
    num_replies: int = 12_000
    num_steps: int = 2_600
    batch_size: int = 16
    learning_rate: float = 4e-3
    final_share: float = 0.0
    """Learning rate at the last step, as a share of the highest."""
    warm_up: int = 30
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    draw: DrawReply = grammar_reply
    """Draws the text of one reply to a prompt."""


def new_model(settings: BaseTraining, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """An untrained Llama-shaped model: SwiGLU, rotary positions, a head of its own (untied), context 192."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size, intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.num_layers, num_attention_heads=settings.num_heads,
        max_position_embeddings=CONTEXT, tie_word_embeddings=False,
        initializer_range=0.02,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    made: LlamaForCausalLM = LlamaForCausalLM(config)
    return made


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """The ids of a dialogue up to the point where the assistant begins."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    rendered: Any = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
    ids: list[int] = rendered["input_ids"]
    return ids


def encode_replies(tokenizer: PreTrainedTokenizerBase, replies: Sequence[str]) -> list[list[int]]:
    """The ids of replies, each with its end token."""
    if not replies:
        return []
    found: Any = tokenizer(list(replies), add_special_tokens=False, split_special_tokens=True)
    return [[*ids, int(tokenizer.eos_token_id)] for ids in found["input_ids"]]


def draw_examples(settings: BaseTraining, tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    """(prompt ids, reply ids) for `num_replies` replies, the training prompts taking turns."""
    rng = np.random.default_rng(settings.seed)
    available = prompts("train")
    asked = [number % len(available) for number in range(settings.num_replies)]
    texts = [settings.draw(rng, available[number]) for number in asked]
    encoded = [encode_prompt(tokenizer, prompt.messages) for prompt in available]
    return [(encoded[number], reply) for number, reply in zip(asked, encode_replies(tokenizer, texts), strict=True)]


def batches(examples: Sequence[Example], settings: BaseTraining) -> Iterator[list[Example]]:
    """Endless batches: shuffled, then sorted by length within stretches of 25 batches, then shuffled again."""
    rng = np.random.default_rng([settings.seed, 1])
    size, stretch = settings.batch_size, settings.batch_size * _BUCKET_BATCHES
    while True:
        order = rng.permutation(len(examples))
        for start in range(0, len(order) - size + 1, stretch):
            chosen = sorted((examples[int(index)] for index in order[start : start + stretch]), key=_length)
            cuts = np.arange(0, len(chosen) - size + 1, size)
            for cut in rng.permutation(cuts):
                yield chosen[int(cut) : int(cut) + size]


def _length(example: Example) -> int:
    return len(example[0]) + len(example[1])


def collate(examples: Sequence[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels, both [R, T]: right-padded; labels are -100 outside the reply and already shifted by one."""
    longest = max(_length(example) for example in examples)
    ids = torch.full((len(examples), longest), pad)
    labels = torch.full((len(examples), longest), _IGNORED)
    for row, (prompt, reply) in enumerate(examples):
        ids[row, : len(prompt) + len(reply)] = torch.tensor([*prompt, *reply])
        labels[row, len(prompt) - 1 : len(prompt) + len(reply) - 1] = torch.tensor(reply)
    return ids, labels


def train(settings: BaseTraining, progress: Callable[[int, float], None] | None = None) -> LlamaForCausalLM:
    """A trained base model. Bit-reproducible with the same seed, machine and one thread.

    `progress` is called with (step, loss) after every step; the loss is in nats per batch_size * 30 tokens.
    """
    torch.manual_seed(settings.seed)
    tokenizer = build_tokenizer()
    model = new_model(settings, tokenizer)
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    supply = batches(draw_examples(settings, tokenizer), settings)
    for step in range(settings.num_steps):
        loss = _loss(model, *collate(next(supply), int(tokenizer.pad_token_id)), settings)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
        if progress:
            progress(step, float(loss.detach()))
    model.train(False)
    return model


def _rate(step: int, settings: BaseTraining) -> float:
    done = min(step / settings.num_steps, 1.0)
    cosine = settings.final_share + (1 - settings.final_share) * 0.5 * (1 + math.cos(math.pi * done))
    return min(1.0, (step + 1) / settings.warm_up) * cosine


def _loss(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor, settings: BaseTraining) -> torch.Tensor:
    # Padding stands on the right, where causal attention never looks; the head runs on reply positions only.
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    wanted = labels != _IGNORED
    logits = model.lm_head(hidden[wanted])
    total = torch.nn.functional.cross_entropy(logits, labels[wanted], reduction="sum")
    return total / (settings.batch_size * _MEAN_TOKENS)
