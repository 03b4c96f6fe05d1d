"""Recipes of DPO.

default   β = .1, LoRA on attention, on any data
lab       the lab: cDPO of all linear layers, 120 steps, as the experts of MOD and soups there
"""

from __future__ import annotations

from pluralign.losses.dpo import CDPO
from pluralign.methods.dpo import Dpo
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim


def default() -> Dpo:
    """As the class."""
    return Dpo()


def lab() -> Dpo:
    """What one expert of `mod` and `soups` (recipe dpo_experts) is: the default's rate moves the lab's small model too little."""
    optim = Optim(steps=120, lr=4e-3, head_lr=4e-3)
    return Dpo(loss=CDPO(beta=0.25), optim=optim, steering=NoSteering(shared_where="all", shared_alpha=16.0))
