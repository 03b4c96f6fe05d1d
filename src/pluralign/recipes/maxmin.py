"""Recipes of MaxMin-RLHF: every number set.

default   a step for the group with the lowest mean reward
lab       the lab: six objectives as groups, few steps of a high rate
users     two groups of raters, found in what they prefer; for a model of 1B or more
paper     Chakraborty et al. 2024: a step for the worst group (a scorer with a reward model of each)
"""

from __future__ import annotations

from dataclasses import replace

from pluralign.methods.maxmin import Maxmin
from pluralign.methods.steps.online import Sampling
from pluralign.methods.steps.rewarding import RewardTraining
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim


def default() -> Maxmin:
    """As the method's file says."""
    return Maxmin()


def lab() -> Maxmin:
    """A step for the worst of the six objectives. They compete, so that little more can be had for all of them at once; the
    mixture (update=multiplicative) follows too slowly for so few steps, and gives one of them up.
    """
    return Maxmin(
        beta=0.1,
        sampling=Sampling(prompts_per_step=16, replies_per_prompt=4, max_new_tokens=64, num_reference=256),
        optim=Optim(steps=50, lr=5e-3, warmup=2, schedule="constant"),
        steering=NoSteering(shared_where="head", shared_alpha=16.0),
    )


def users() -> Maxmin:
    """No scorer: reward models of the groups (the paper's number of them, two) learn from the raters' comparisons. Whoever
    has more than two kinds of raters asks for more groups; rates and sizes are ours."""
    return replace(paper(), groups=2, reward=RewardTraining(kind="bt", trunk="all", epochs=1.0))


def paper() -> Maxmin:
    """The worst group of each step; batch, learning rate and KL strength are ours, for a model of 1B or more."""
    return Maxmin(
        beta=0.2,
        sampling=Sampling(prompts_per_step=64, replies_per_prompt=4),
        optim=Optim(steps=1000, lr=1e-5, warmup=0, schedule="constant"),
    )
