"""Recipes of RLOO: every number set; give the objective or fixed weights beside them.

default   LoRA on attention, four replies a prompt, β = .05
lab       the lab: all objectives alike, few steps of a high rate
paper     a 7B model and one reward: full training, k = 4 as in the paper; rate, batch and β are our choices
"""

from __future__ import annotations

from pluralign.lab import objectives
from pluralign.methods.rloo import Rloo
from pluralign.methods.steps.online import Sampling
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim


def default() -> Rloo:
    """As the method's file says."""
    return Rloo()


def lab() -> Rloo:
    """One compromise between the six objectives, all of the same weight."""
    share = 1 / len(objectives)
    return Rloo(
        objective=",".join(f"{objective.name}={share!r}" for objective in objectives),
        beta=0.1,
        sampling=Sampling(prompts_per_step=16, replies_per_prompt=4, max_new_tokens=64, rows=512),
        optim=Optim(steps=100, lr=1.5e-3, warmup=5),
        checkpoint_every=50,
    )


def paper() -> Rloo:
    """One reward, 10,000 steps of 128 prompts with four replies each."""
    return Rloo(
        beta=0.03,
        sampling=Sampling(prompts_per_step=128, replies_per_prompt=4, max_new_tokens=128, standardise="none"),
        optim=Optim(steps=10_000, lr=1e-6, betas=(0.9, 0.999), weight_decay=0.0, warmup=100),
        steering=NoSteering(shared_where=None),
    )
