"""Recipes of constrained RLHF: every number set.

default   every objective half a standard deviation above the reference, μ by σ
lab       the lab: helpful and cautious to 2.5 points, few steps of a high rate
paper     Moskovitz et al. 2023: equality constraints at proxy points (give them with --thresholds), multiplier step 1e-2
safe      Dai et al. 2023 (Safe RLHF): the best of one objective (--maximise) where another keeps its level (--thresholds)
"""

from __future__ import annotations

from pluralign.methods.constrained import Constrained
from pluralign.methods.steps.online import Sampling
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim


def default() -> Constrained:
    """As the method's file says."""
    return Constrained()


def lab() -> Constrained:
    """Two objectives that compete for the same sentences, each to 2.5 of 4 points (the base has 1.6 and 1)."""
    return Constrained(
        thresholds="helpful:2.5,cautious:2.5",
        multiplier_lr=0.3,
        sampling=Sampling(prompts_per_step=16, replies_per_prompt=4, max_new_tokens=64, num_reference=256),
        optim=Optim(steps=50, lr=5e-3, warmup=2),
        steering=NoSteering(shared_where="head", shared_alpha=16.0),
    )


def paper() -> Constrained:
    """Equality constraints, multiplier step 1e-2 with momentum .1; batch and learning rate are ours, for a model of 1B or more."""
    return Constrained(
        form="equal",
        sampling=Sampling(prompts_per_step=64, replies_per_prompt=4, max_new_tokens=64),
        optim=Optim(steps=1000, lr=1e-6, warmup=0, schedule="constant"),
    )


def safe(maximise: str = "helpful") -> Constrained:
    """The form is the paper's; its numbers here are ours, for a model of 1B or more."""
    return Constrained(
        form="safe",
        maximise=maximise,
        beta=0.1,
        multiplier_lr=0.1,
        sampling=Sampling(prompts_per_step=64, replies_per_prompt=4),
        optim=Optim(steps=500, lr=1e-5, warmup=15),
    )
