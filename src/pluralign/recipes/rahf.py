"""Recipes of RAHF.

default   the paper's numbers (six blocks of a model of 32)
lab       the two-block model of the lab: both blocks, changes in all linear layers
paper     Liu et al. 2023: rank 8, a = 5, blocks 10, 12 .. 20, the last 64 tokens; steps stand for its epochs
"""

from __future__ import annotations

from pluralign.methods.rahf import Rahf
from pluralign.steering.contrast import ContrastSteering
from pluralign.training.optim import Optim


def default() -> Rahf:
    """As `paper`."""
    return paper()


def lab() -> Rahf:
    """On validation prompts, seed 0: gain .50, utility .20, fluency .93, KL .24, 217 CPU seconds for 18 trainings. a = 3 gains
    .51 at four times the distance and .88 fluency, a = 5 spoils the model; the first block and attention alone gain .14."""
    short = Optim(steps=35, lr=4e-3, head_lr=4e-3, weight_decay=0.0)
    return Rahf(sides=short, optim=short, layers=(0, 1), amount=1.5, steering=ContrastSteering(where="all"))


def paper() -> Rahf:
    """The learning rate is ours: the source at hand does not say."""
    return Rahf()
