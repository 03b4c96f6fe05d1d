"""Recipes of MOD.

default       DPO experts on attention, on any data
lab           the lab: experts of the head, the regression on scores that CMPO learns from too
dpo_experts   the lab: cDPO experts on all linear layers, 120 steps each
paper         DPO experts (β = .1) of Shi et al. 2024; numbers of steps and rates are ours
"""

from __future__ import annotations

from pluralign.losses.dpo import CDPO
from pluralign.losses.regression import Regression
from pluralign.methods.mod import Mod
from pluralign.steering.mixture import MixtureSteering
from pluralign.training.optim import Optim


def default() -> Mod:
    """As the class."""
    return Mod()


def lab() -> Mod:
    """The best found on the lab's validation prompts: six experts of the head, 120 steps each."""
    optim = Optim(steps=120, lr=5e-3, head_lr=5e-3, weight_decay=0.5)
    return Mod(loss=Regression(tau=0.2), steering=MixtureSteering(where="head"), optim=optim)


def dpo_experts() -> Mod:
    """Six preference-only experts, 120 steps each, on the widest pair of each record."""
    optim = Optim(steps=120, lr=4e-3, head_lr=4e-3)
    return Mod(loss=CDPO(beta=0.25), pairs="widest", steering=MixtureSteering(where="all"), optim=optim)


def paper() -> Mod:
    """Plain DPO."""
    return Mod(optim=Optim(steps=2000, lr=1e-5, head_lr=1e-5))
