"""What is served in the benchmark: the lab's model and a Llama of 60M random parameters, as policy folders.

Each twice: with plural heads (low rank, one per objective), and as a mixture of as many experts (MOD). Changes are
random and small: what they do to the text is of no account, but every weight gives another distribution.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pluralign.bench.models import FIRST_WORD, M, Shape
from pluralign.bench.serve_load import Ask

if TYPE_CHECKING:
    from pluralign.policy import Policy

Kind = Literal["plural", "mixture"]
PARTS = 1000
"""Weights are whole numbers of these parts, all above 0."""
CHANGE = 0.1
"""Standard deviation of the changes' output matrices: logits move by about CHANGE √rank."""
EXPERT_CHANGE = 0.02


@dataclass(frozen=True, slots=True)
class World:
    """A model to serve: `shape` of a random Llama (None: the lab's own), words of a prompt, tokens of a reply at most.

    `waves`: requests of each of the many clients in a phase. Where replies differ in length, one wave measures its longest.
    """

    name: str
    label: str
    shape: Shape | None
    prompt_words: int
    max_tokens: int
    temperature: float = 1.0
    waves: int = 1

    def write(self, kind: Kind, folder: Path) -> Path:
        """The policy's folder."""
        return self._policy(kind).save(folder)

    def _policy(self, kind: Kind) -> Policy:
        from pluralign.lab import objectives
        from pluralign.policy import Policy
        from pluralign.steering.mixture import MixtureSteering
        from pluralign.steering.plural import PluralSteering

        steering: Any = PluralSteering() if kind == "plural" else MixtureSteering(where="attention")
        model, encoder = self._base()
        policy = Policy(model, encoder, steering, objectives)
        _shake(policy, CHANGE if kind == "plural" else EXPERT_CHANGE)
        return policy

    def _base(self) -> tuple[Any, Any]:
        from pluralign.base_model import load_base
        from pluralign.bench.models import base_weights, word_tokenizer
        from pluralign.encoding import Encoder
        from pluralign.lab.shipped import base_path

        if self.shape is None:
            model, tokenizer = load_base(base_path())
            return model, Encoder(tokenizer)
        return base_weights(self.shape), Encoder(word_tokenizer(self.shape.vocabulary))

    def asks(self, num: int, steered: bool, seed: int = 0) -> list[Ask]:
        """Requests with a prompt, a seed and, if steered, weights of their own."""
        rng, texts = random.Random(seed), self._prompts(seed, num)
        return [
            Ask(text, _weights(rng) if steered else None, rng.randrange(2**31), self.max_tokens, self.temperature)
            for text in texts
        ]

    def _prompts(self, seed: int, num: int) -> list[str]:
        rng = random.Random(~seed)
        if self.shape is None:
            from pluralign.lab.prompt_set import prompts

            texts = [record.messages[-1].content for record in prompts("train")]
            return [rng.choice(texts) for _ in range(num)]
        words = range(FIRST_WORD, self.shape.vocabulary)
        return [" ".join(f"w{word}" for word in rng.choices(words, k=self.prompt_words)) for _ in range(num)]


LAB = World("lab", "the lab's model", None, 0, 48, waves=6)
LLAMA = World("llama60m", "Llama, 60M random parameters", M, 16, 24, temperature=0.3)  # as sharp as a trained model
WORLDS = {world.name: world for world in (LAB, LLAMA)}


def objective_names() -> list[str]:
    """The six objectives of both models."""
    from pluralign.lab import objectives

    return [objective.name for objective in objectives]


def _weights(rng: random.Random) -> dict[str, float]:
    """Uniform on the simplex, in whole parts above 0."""
    names = objective_names()
    cuts = sorted(rng.sample(range(1, PARTS), len(names) - 1))
    sizes: Sequence[int] = [b - a for a, b in zip([0, *cuts], [*cuts, PARTS], strict=True)]
    return {name: size / PARTS for name, size in zip(names, sizes, strict=True)}


def _shake(policy: Policy, size: float) -> None:
    """Random changes, as if trained."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in policy.trainable_state().values():
            tensor += size * torch.randn(tensor.shape, generator=generator)
