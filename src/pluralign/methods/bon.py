"""Best-of-n: draw n replies of the reference, answer with the one that the asked weights score highest. Nothing is trained.

    y = argmax over y_1 .. y_n ~ π_ref(·|x) of Σ_k λ_k s_k(y_i) / σ_k

The simplest strong baseline: any weights when it answers, at n passes and n judgements of each reply. For scores without
ties, F their distribution function under π_ref (methods.md A19): density ratio n F^(n−1); KL from π_ref log n − (n−1)/n
nats (a bound where scores tie); it beats a reply of π_ref with probability n/(n+1).

Source: the sampling of WebGPT (Nakano et al. 2021, arXiv 2112.09332) and of reward-model overoptimisation (Gao et al.
2022, arXiv 2210.10760), with a weighted reward. Differs from the papers:
1. The reward is a weighted sum, each objective in units of its spread σ_k over replies of the reference (`scale`).
2. Target scores may be asked for as well: the candidate closest to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.methods.contract import Facts
from pluralign.methods.steps.searching import Searching
from pluralign.steering.search import SearchSteering


@dataclass(frozen=True, kw_only=True)
class Bon(Searching):
    """The best of n replies."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2112.09332", "a scorer when it answers", "weights or target scores", "0", "n, and n judgements"
    )

    steering: SearchSteering = field(default_factory=SearchSteering)
    """how many candidates (n = 16)"""
