"""Recipes of Darwin: every number set.

default     population 6, the best 2 stay every 40 tokens, 3 rewritten instructions
lab         no rewriting (the lab's model follows no instructions) and a selection every 12 tokens; runs to the end, but
            the lab scores half a reply 0 on everything, so that its selections are blind: no number is claimed
paper       the default on a real model (the paper's constants are not known to us), replies of up to 512 tokens
"""

from __future__ import annotations

from pluralign.methods.darwin import Darwin
from pluralign.sampling.local import Decoding
from pluralign.steering.search import SearchSteering


def default() -> Darwin:
    """Six candidates."""
    return Darwin()


def lab() -> Darwin:
    """Without rewriting."""
    return Darwin(scale="range", steering=SearchSteering(num=6, every=12, keep=2))


def paper() -> Darwin:
    """Long replies."""
    return Darwin(decoding=Decoding(max_new_tokens=512))
