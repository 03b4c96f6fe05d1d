"""Recipes of RAD: every number set.

default   LoRA
lab       the embedded world: full training, goals in the words that it knows
paper     on a real model: goals in whole points of the data's own scale, as in the paper; DPO's numbers are common ones
"""

from __future__ import annotations

from pluralign.losses.dpo import CDPO, DPO
from pluralign.methods.rad import Rad
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.optim import Optim


def default() -> Rad:
    """As the class."""
    return Rad()


def lab() -> Rad:
    """On the lab's validation prompts, seed 0, after 800 first steps: gain 1.17, utility .78, fluency .89, KL 2.5. From
    pairs alone nothing is learnt (gain −.2 after 120 steps); DPO at β = .1 spoils the text (fluency .22 after 80)."""
    return Rad(
        first_optim=Optim(steps=700, batch_size=32, lr=2e-3),
        loss=CDPO(beta=0.5, label_smoothing=0.1),
        optim=Optim(steps=30, batch_size=6, lr=3e-4, warmup=4),
        steering=PromptLevels(shared_where=None),
    )


def paper() -> Rad:
    """Zhang et al. 2024, for a scale of 1 to 10 (UltraFeedback's overall score); β, lr and an epoch of 64,000 prompts ours."""
    return Rad(
        loss=DPO(beta=0.1),
        unasked_share=0.0,
        optim=Optim(steps=500, batch_size=128, lr=5e-7, precision="bf16"),
        steering=PromptLevels(form="goals", levels=0, shared_where=None),
    )
