"""ALT on dialogue (HH): four categories that a judge names in comments; where the scorer gives scores alone, quantiles."""

from __future__ import annotations

from typing import Any

from pluralign.comparison.named.alt import Design, compared
from pluralign.comparison.options import CompareOptions


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    return compared(options, command, Design("ALT on dialogue", "dialogue"))
