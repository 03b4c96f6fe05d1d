"""Recipes of MaxMin-RLHF: every number set.

default   a step for the group with the lowest mean reward
lab       the lab: six objectives as groups, few steps of a high rate
paper     Chakraborty et al. 2024: a step for the worst group (a scorer with a reward model of each)
"""

from __future__ import annotations

from pluralign.methods.maxmin import Maxmin
from pluralign.methods.online import Sampling
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim


def default() -> Maxmin:
    """As the method's file says."""
    return Maxmin()


def lab() -> Maxmin:
    """A mixture over the six objectives, since the worst of them changes from one small sample to the next."""
    return Maxmin(
        update="multiplicative",
        eta=0.3,
        beta=0.05,
        sampling=Sampling(prompts_per_step=16, replies_per_prompt=4, max_new_tokens=64, num_reference=256),
        optim=Optim(steps=120, lr=4e-3, warmup=5),
        steering=NoSteering(shared_alpha=16.0),
    )


def paper() -> Maxmin:
    """The worst group of each step; batch, learning rate and KL strength are ours, for a model of 1B or more."""
    return Maxmin(
        beta=0.2,
        sampling=Sampling(prompts_per_step=64, replies_per_prompt=4),
        optim=Optim(steps=1000, lr=1e-5, warmup=0, schedule="constant"),
    )
