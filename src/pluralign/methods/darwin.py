"""Darwin: evolutionary decoding; partial replies compete while they are written. Nothing is trained.

    population: n partial replies, to the instruction and to rewritten forms of it
    every τ tokens: judge all of them as answers to the ORIGINAL instruction; the best m stay, copies of them take the
    places of the others and go on with random numbers of their own
    at the end: the best whole reply

Source: Hung, Majumder, Mehrish, Poria 2024, arXiv 2406.15193 (methods.md A21: title and idea known, constants ours:
population 6, the best 2 stay, τ = 40, 3 rewritten instructions). Without rewriting and with τ beyond the reply it is best
of n. Differs from the paper:
1. The reward is a weighted sum (or the distance to target scores), chosen when it answers; see methods/bon.py.
2. Instructions are rewritten once, before the first token, by the policy's own base; an empty rewriting is the original.
It needs a model that follows instructions, and a scorer that can judge half a reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.methods.contract import Facts
from pluralign.methods.steps.searching import Searching
from pluralign.steering.search import SearchSteering


def _population() -> SearchSteering:
    return SearchSteering(num=6, every=40, keep=2, mutations=3)


@dataclass(frozen=True, kw_only=True)
class Darwin(Searching):
    """Replies that compete while they are written."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2406.15193", "a scorer when it answers", "weights or target scores", "0", "n, and n judgements every τ"
    )

    steering: SearchSteering = field(default_factory=_population)
    """population, tokens between selections, survivors and rewritten instructions (6, 40, 2, 3)"""
