"""Recipes of RAHF.

default   the paper's numbers (six blocks of a model of 32)
lab       the two-block model of the lab: its first block
paper     Liu et al. 2023: rank 8, a = 5, blocks 10, 12 .. 20, the last 64 tokens; steps stand for its epochs
"""

from __future__ import annotations

from pluralign.methods.rahf import Rahf
from pluralign.training.optim import Optim


def default() -> Rahf:
    """As `paper`."""
    return paper()


def lab() -> Rahf:
    """Tuned on the lab's validation prompts."""
    sides = Optim(steps=60, lr=3e-3, head_lr=3e-3, weight_decay=0.0)
    return Rahf(sides=sides, optim=sides, layers=(0,), amount=2.0)


def paper() -> Rahf:
    """The learning rate is ours: the source at hand does not say."""
    return Rahf()
