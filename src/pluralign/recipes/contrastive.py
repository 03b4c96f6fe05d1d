"""Recipes of contrastive decoding: every number set.

default     heads against their reference, β = .5, κ = .1
paper       a small model of the same family as the amateur: the difference alone, κ = .1 (Li et al. 2022)
lab         the lab's: heads by the regression on scores
"""

from __future__ import annotations

from pluralign.losses.regression import Regression
from pluralign.methods.contrastive import Contrastive
from pluralign.steering.contrastive import ContrastiveSteering
from pluralign.training.optim import Optim


def default() -> Contrastive:
    """For any model."""
    return Contrastive()


def paper() -> Contrastive:
    """Li et al. 2022: GPT-2 XL as the expert (--model openai-community/gpt2-xl), GPT-2 as the amateur."""
    return Contrastive(
        amateur_model="openai-community/gpt2",
        steering=ContrastiveSteering(form="ratio", amateur="model", plausibility=0.1),
    )


def lab() -> Contrastive:
    """Tuned on the lab's validation prompts."""
    return Contrastive(
        loss=Regression(tau=0.25),
        optim=Optim(steps=60, lr=5e-3, head_lr=5e-3),
        steering=ContrastiveSteering(beta=0.25, plausibility=0.01),
    )
