"""ALT on summaries (TL;DR): quantile words per prompt, and a reward model."""

from __future__ import annotations

from typing import Any

from pluralign.comparison.named.alt import compared
from pluralign.comparison.options import CompareOptions


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    return compared(options, command, "ALT on summaries", "paper")
