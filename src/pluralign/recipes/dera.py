"""Recipes of DeRA.

default   a DPO expert on attention, on any data
lab       the lab: a cDPO expert of all linear layers, 120 steps
"""

from __future__ import annotations

from pluralign.losses.dpo import CDPO
from pluralign.methods.dera import Dera
from pluralign.steering.mixture import MixtureSteering
from pluralign.training.optim import Optim


def default() -> Dera:
    """As the class."""
    return Dera()


def lab() -> Dera:
    """What one expert of `mod` (recipe dpo_experts) is."""
    optim = Optim(steps=120, lr=4e-3, head_lr=4e-3)
    return Dera(loss=CDPO(beta=0.25), optim=optim, steering=MixtureSteering(where="all"))
