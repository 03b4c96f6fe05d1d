"""Recipes of proxy tuning: every number set.

default     experts on a copy of the big model
paper       a 7B model tunes the 70B one, as in the paper: chat model and base, one objective, a = 1
lab         the lab's: experts of the lab's base on itself, by the regression on scores
nano        the same with the nano world's base as the small model: another model, the same vocabulary
"""

from __future__ import annotations

from pluralign.losses.regression import Regression
from pluralign.methods.proxy import Proxy
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.proxy import ProxySteering
from pluralign.training.optim import Optim


def default() -> Proxy:
    """For any model."""
    return Proxy()


def paper() -> Proxy:
    """Liu et al. 2024: --model meta-llama/Llama-2-70b-hf, one objective (--objectives helpful)."""
    return Proxy(small="meta-llama/Llama-2-7b-hf", tuned=("meta-llama/Llama-2-7b-chat-hf",))


def lab() -> Proxy:
    """Tuned on the lab's validation prompts; the small model is the lab's base, and so is the big one."""
    return Proxy(
        loss=Regression(tau=0.25),
        optim=Optim(steps=60, lr=5e-3, head_lr=5e-3),
        experts=MixtureSteering(where="head", rank=16),
        steering=ProxySteering(amount=1.0),
    )


def nano() -> Proxy:
    """As `lab`, with the nano world's base as the small model."""
    from pluralign.lab.shipped import base_path

    return Proxy(
        small=str(base_path("nano")),
        loss=Regression(tau=0.25),
        optim=Optim(steps=60, lr=5e-3, head_lr=5e-3),
        experts=MixtureSteering(where="head", rank=16),
        steering=ProxySteering(amount=1.0, plausibility=0.01),
    )
