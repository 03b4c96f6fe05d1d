"""Prompt steering by weights in words: "helpful: 0.70, funny: 0.30" in the system turn (CLP's prompting baseline).

Names and two decimals are fixed (methods.md A2, CHOICE). The text stands between two special tokens that no user text
can produce (`encoding.py`), outside the user's turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from pluralign.data.condition import Condition, Weights, vector
from pluralign.data.objective import Objective, names
from pluralign.data.record import Message
from pluralign.encoding import CONDITION, Encoder
from pluralign.errors import ConditionError
from pluralign.steering.adapter import AdapterSteering
from pluralign.steering.contract import spoken

BRACKETS = ("<|condition|>", "<|/condition|>")


@dataclass
class PromptWeights(AdapterSteering):
    """Weights written into the prompt; the model is trained to read them (in full, or through a LoRA adapter)."""

    kind: ClassVar[str] = "prompt_weights"
    accepts: ClassVar[tuple[type, ...]] = (Weights,)

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Weights as they are; strength other than 1 and other kinds raise ConditionError."""
        if not isinstance(condition, Weights):
            raise ConditionError(f"this policy reads weights in its prompt, not {condition}")
        if condition.strength != 1.0:
            raise ConditionError("a prompt has no strength; ask without ' @STRENGTH'")
        return condition

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Add the bracket tokens (new embedding rows where the vocabulary lacks them) and the adapter."""
        self._objectives = tuple(objectives)
        tokenizer = encoder.tokenizer
        tokenizer.add_special_tokens({"additional_special_tokens": list(BRACKETS)}, replace_extra_special_tokens=False)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:  # type: ignore[operator]
            _lengthen(model, len(tokenizer), self.seed)
        encoder.brackets = tuple(tokenizer.convert_tokens_to_ids(list(BRACKETS)))
        super().attach(model, encoder, objectives)
        model.get_input_embeddings().requires_grad_(True)  # type: ignore[operator]

    @property
    def reference_inside(self) -> bool:
        """Never: the embeddings of the brackets are trained, and with them all others."""
        return False

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        """The dialogue behind "name: 0.70, ..." for every objective, in the policy's order."""
        if condition is None:
            return spoken(messages)
        weights = vector(self.translate(condition, self._objectives), self._objectives)
        text = ", ".join(f"{name}: {weight:.2f}" for name, weight in zip(names(self._objectives), weights, strict=True))
        return (Message(CONDITION, text), *spoken(messages))


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
