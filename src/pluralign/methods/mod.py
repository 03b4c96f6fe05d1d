"""MOD: multi-objective decoding, one expert per objective, mixed in the logits at every token.

    π_w(v | prefix) ∝ Π_i π_i(v | prefix)^(w_i)           (reverse KL; for other divergences see steering/mixture.py)

Source: Shi et al. 2024, arXiv 2406.18853 (methods.md A7). 1. Train an expert for each objective from the same base.
2. At inference run them all and combine their next-token distributions. Differs from the paper:
1. Experts are DPO models by default (or the regression on scores); the paper also takes PPO models as they are.
2. An expert is a LoRA adapter of one model, not a model of its own: the same numbers, one base in memory.
3. Replies are drawn from the combination; the paper decodes greedily or by beam search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.data.objective import Objective
from pluralign.methods.contract import Facts
from pluralign.methods.steps.experts import Experts
from pluralign.steering.mixture import MixtureSteering


@dataclass(frozen=True, kw_only=True)
class Mod(Experts):
    """Experts that answer together."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2406.18853", "ratings or comparisons per objective", "weights", "one per objective", "one per weighted objective"
    )  # fmt: skip

    steering: MixtureSteering = field(default_factory=lambda: MixtureSteering(where="attention"))
    """where the experts differ from the base, and the divergence that they were trained with"""

    def new_steering(self, objectives: Sequence[Objective]) -> MixtureSteering:
        """A mixture."""
        return self.steering
