"""Prompt steering by feedback in words: "helpful excellent, funny bad" before the dialogue (ALT; methods.md A14).

A phrase says a level word of each objective that it speaks of, in the objectives' order, or is one of the words alone
("Harmless and very helpful"), or whatever a person wrote. A trade-off is read as `steering/phrases.py` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pluralign.errors import ConfigError
from pluralign.steering.phrases import PhraseSteering


@dataclass
class PromptWords(PhraseSteering):
    """Feedback that the reply should earn, written into the prompt; a strength is guidance."""

    kind: ClassVar[str] = "prompt_words"

    levels: tuple[str, ...] = ("excellent", "good", "mediocre", "bad", "horrible")
    """words from the best to the worst: quantiles of a score, or categories that a judge gives"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.levels = tuple(self.levels)
        if not self.levels or len({word.casefold() for word in self.levels}) < len(self.levels):
            raise ConfigError(f"levels are different words from the best to the worst, got {list(self.levels)}")

    @property
    def num_levels(self) -> int:
        """As many as there are words."""
        return len(self.levels)

    def phrase(self, said: Sequence[tuple[str, int]]) -> str:
        """ "helpful excellent, funny bad"."""
        return ", ".join(f"{axis} {self.levels[level]}".strip() for axis, level in said)
