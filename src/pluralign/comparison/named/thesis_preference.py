"""The thesis' comparison on comparisons (its preference data: helpful and safe).

SteerLM needs ratings: it is given those of wins (`comparison/wins.py`). The others learn from the comparisons.
"""

from __future__ import annotations

from typing import Any

from pluralign.comparison.named.thesis import compared
from pluralign.comparison.options import CompareOptions


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    return compared(options, command, "The CMPO thesis' comparison, preference data", by_wins=True)
