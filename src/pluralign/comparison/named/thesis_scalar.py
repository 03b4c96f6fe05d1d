"""The thesis' comparison on scored replies (its scalar data: five attributes, rated 0 to 4)."""

from __future__ import annotations

from typing import Any

from pluralign.comparison.named.thesis import compared
from pluralign.comparison.options import CompareOptions


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    return compared(options, command, "The CMPO thesis' comparison, scalar data")
