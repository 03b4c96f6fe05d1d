"""Prompt steering by reward tokens: <|helpful-1|>, the best fifth, to <|helpful-5|>, the worst (Quark; methods.md A15).

The tokens are new ones of the vocabulary, one per objective and quantile, which stand in conditions only: no user text
and no reply holds them. A trade-off is read as `steering/phrases.py` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pluralign.data.objective import Objective, names
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.phrases import PhraseSteering


@dataclass
class PromptQuantiles(PhraseSteering):
    """A token for the quantile that the reply should fall into; a strength is guidance."""

    kind: ClassVar[str] = "prompt_quantiles"

    num: int = 5
    """quantiles, each with a token of its own (paper: 5)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num < 2:
            raise ConfigError(f"reward tokens tell at least 2 quantiles apart, got {self.num}")

    @property
    def num_levels(self) -> int:
        """One per quantile."""
        return self.num

    def marks(self, objectives: Sequence[Objective]) -> list[str]:
        """A token per objective and quantile, and those of the whole: <|reward-1|> ..."""
        return [self.phrase([(name, level)]) for name in ("", *names(objectives)) for level in range(self.num)]

    def phrase(self, said: Sequence[tuple[str, int]]) -> str:
        """ "<|helpful-1|><|funny-3|>"."""
        return "".join(f"<|{axis or 'reward'}-{level + 1}|>" for axis, level in said)

    def spoken(self, text: str) -> str:
        """Reward tokens, or 'helpful-1 funny-3' without their signs; ConditionError for other words."""
        found = re.findall(r"[^\s,<|>]+", text)
        tokens, allowed = [f"<|{word}|>" for word in found], self.marks(self._objectives)
        if not found or not set(tokens) <= set(allowed):
            first, last = allowed[self.num].strip("<|>"), allowed[-1].strip("<|>")
            raise ConditionError(f"this policy reads reward tokens such as '{first}' (best) or '{last}', not {text!r}")
        return "".join(tokens)
