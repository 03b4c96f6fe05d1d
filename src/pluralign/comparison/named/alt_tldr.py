"""ALT on summaries (TL;DR): quantile words per prompt, and a reward model; answers are greedy."""

from __future__ import annotations

from typing import Any

from pluralign.comparison.named.alt import Design, compared
from pluralign.comparison.options import CompareOptions


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    return compared(options, command, Design("ALT on summaries", "paper", temperature=0.0))
