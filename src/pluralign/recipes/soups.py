"""Recipes of rewarded soups.

default       DPO experts on attention, on any data
lab           the lab: experts of all linear layers, the regression on scores that CMPO learns from too
dpo_experts   the lab: cDPO experts on all linear layers, 120 steps each
"""

from __future__ import annotations

from pluralign.losses.dpo import CDPO
from pluralign.losses.regression import Regression
from pluralign.methods.soups import Soups
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim


def default() -> Soups:
    """As the class."""
    return Soups()


def lab() -> Soups:
    """Six experts, 120 steps each. On the head alone, soups would be CMPO's own mixing of heads trained apart."""
    optim = Optim(steps=120, lr=3e-3, head_lr=3e-3)
    return Soups(loss=Regression(tau=0.2), steering=PluralSteering(where="all"), optim=optim)


def dpo_experts() -> Soups:
    """Six preference-only experts, 120 steps each, on the widest pair of each record."""
    optim = Optim(steps=120, lr=4e-3, head_lr=4e-3)
    return Soups(loss=CDPO(beta=0.25), pairs="widest", steering=PluralSteering(where="all"), optim=optim)
