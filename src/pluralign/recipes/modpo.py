"""Recipes of MODPO: every number set.

default   the paper's loss and optimiser on a front of each objective, all of them, and two pairs
lab       the lab: scores as margins, few steps of a high rate
paper     Zhou et al. 2023: margins of a DPO model, two objectives, three weights, 3 epochs
"""

from __future__ import annotations

from pluralign.losses.modpo import MODPO
from pluralign.methods.modpo import Modpo
from pluralign.steering.front import FrontSteering
from pluralign.training.optim import Optim


def default() -> Modpo:
    """As the method's file says."""
    return Modpo()


def lab() -> Modpo:
    """The ratings are in the data, so they are the margins: a logit per point, about what a point is to the preferences.

    β = .1 has no cap within reach of 60 steps: a KL of 8 nats, and .62 of the replies fluent.
    """
    return Modpo(
        margins="scores",
        loss=MODPO(beta=0.4),
        optim=Optim(steps=120, lr=5e-3, warmup=5, weight_decay=0.05),
        steering=FrontSteering(where="head"),
    )


def paper() -> Modpo:
    """A 7B model (SFT), two objectives: β .1, LoRA of rank 64, lr 1e-4 cosine, weight decay .05, w_1 in {.1, .5, .9}.

    The paper learns the preferences of one objective at every weight, with the other as the margin: name it with
    --objective. Three epochs: of 10,000 pairs in batches of 16, 1,875 steps; set --optim.steps for other data.
    """
    return Modpo(
        loss=MODPO(beta=0.1),
        optim=Optim(steps=1875, batch_size=16, lr=1e-4, weight_decay=0.05, warmup=50, betas=(0.9, 0.999)),
        steering=FrontSteering(where="attention", rank=64, points=((0.1, 0.9), (0.5, 0.5), (0.9, 0.1))),
    )
