"""ALT beside Quark on toxicity: prompts such as RealToxicityPrompts, and a scorer of toxicity, its first objective."""

from __future__ import annotations

from typing import Any

from pluralign.comparison.named.alt import Design, compared
from pluralign.comparison.options import CompareOptions


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    rivals = (("quark", "paper"),)
    return compared(options, command, Design("ALT on toxicity", "toxicity", rivals, fine_tune=False, toxicity=True))
