"""What every steering by text shares: the condition as words between two brackets, before the dialogue, and guidance.

    log π_s(v) = log π(v | no condition) + s (log π(v | condition) − log π(v | no condition))      s: the strength

s = 1 is the conditioned model; s > 1 leads further away from the unconditioned one (classifier-free guidance), at the
price of a second row. The brackets are special tokens that no user text can produce (`encoding.py`), outside the
user's turn. A kind says what it accepts, how it reads a trade-off and which words it writes.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pluralign.data.condition import Condition
from pluralign.data.objective import Objective
from pluralign.data.record import Message
from pluralign.encoding import CONDITION, Encoder
from pluralign.errors import ModelError
from pluralign.steering.adapter import AdapterSteering
from pluralign.steering.contract import spoken

BRACKETS = ("<|condition|>", "<|/condition|>")


@dataclass
class TextSteering(AdapterSteering, ABC):
    """A condition in words; the model is trained to read it (in full, or through a LoRA adapter)."""

    @abstractmethod
    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Condition:
        """The condition as this kind writes it, its strength kept; ConditionError with a reason where it cannot."""

    @abstractmethod
    def words(self, condition: Condition) -> str:
        """The text of a condition that was translated before."""

    def marks(self, objectives: Sequence[Objective]) -> list[str]:
        """New tokens that stand for themselves in a condition: none, where a kind writes words."""
        return []

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Add the bracket tokens and marks (new embedding rows where the vocabulary lacks them) and the adapter."""
        self._objectives = tuple(objectives)
        tokenizer, marks = encoder.tokenizer, self.marks(objectives)
        new = [*BRACKETS, *marks]
        tokenizer.add_special_tokens({"additional_special_tokens": new}, replace_extra_special_tokens=False)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:  # type: ignore[operator]
            _lengthen(model, len(tokenizer), self.seed)
        encoder.brackets = tuple(tokenizer.convert_tokens_to_ids(list(BRACKETS)))
        encoder.marks = dict(zip(marks, tokenizer.convert_tokens_to_ids(marks), strict=True))
        super().attach(model, encoder, objectives)
        model.get_input_embeddings().requires_grad_(True)  # type: ignore[operator]

    @property
    def reference_inside(self) -> bool:
        """Never: the embeddings of the brackets are trained, and with them all others."""
        return False

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        """The dialogue behind the condition's words."""
        if condition is None:
            return spoken(messages)
        text = self.words(self.translate(condition, self._objectives))
        return (Message(CONDITION, text), *spoken(messages))

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """One row; with a strength other than 1, the conditioned and the unconditioned one."""
        if condition is None or condition.strength == 1.0:
            return [(condition, 1.0)]
        plain = dataclasses.replace(condition, strength=1.0)
        return [(plain, condition.strength), (None, 1.0 - condition.strength)]

    def check_merge(self, condition: Condition | None) -> None:
        """ModelError for a guided condition: two rows answer, and no single model's weights hold both."""
        if len(self.members(condition)) > 1:
            raise ModelError("guidance mixes the logits of two prompts and cannot be merged; ask with strength 1")

    def config(self) -> dict[str, Any]:
        """The constructor's fields."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}


@torch.no_grad()
def _lengthen(model: Any, num_tokens: int, seed: int) -> None:
    """New embedding rows (and rows of the head): the mean of the old ones, plus a little noise to tell them apart.

    The mean keeps the new tokens as unlikely as an average old one, so that the base hardly changes.
    """
    old = model.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        model.resize_token_embeddings(num_tokens, mean_resizing=False)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        new = layer.weight[old:]
        noise = torch.randn(new.shape, generator=generator).to(new)
        new.copy_(layer.weight[:old].mean(0) + 0.1 * layer.weight[:old].std() * noise)
