"""Recipes of best-of-n: every number set.

default     n = 16, objectives in units of their spread
lab         n = 16, points of the lab's scores as they are (the report's utility is λ·s)
paper       n = 64 on a real model, as the curves of overoptimisation are drawn (arXiv 2210.10760)
"""

from __future__ import annotations

from pluralign.methods.bon import Bon
from pluralign.sampling.local import Decoding
from pluralign.steering.search import SearchSteering


def default() -> Bon:
    """Sixteen candidates."""
    return Bon()


def lab() -> Bon:
    """All objectives of the lab have the range 0..4, so that its points need no unit."""
    return Bon(scale="range", steering=SearchSteering(num=16))


def paper() -> Bon:
    """Sixty-four candidates, replies of up to 256 tokens."""
    return Bon(steering=SearchSteering(num=64), decoding=Decoding(max_new_tokens=256))
