"""Recipes of CPO: every number set.

default   LoRA, drawn controlled objectives
lab       the embedded world: full training
paper     on a real model: ratings of 1 to 5 as in the data, DPO β = .1 as in the paper; learning rates and steps are ours
"""

from __future__ import annotations

from pluralign.losses.dpo import CDPO, DPO
from pluralign.methods.cpo import Cpo
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.optim import Optim


def default() -> Cpo:
    """As the class."""
    return Cpo()


def lab() -> Cpo:
    """What is not controlled is a blank, so that all strings have the same places. DPO at β = .1 soon spoils the lab's small
    model, so cDPO, which caps log-ratios, and few steps. On validation prompts, seed 0: gain 1.03, utility .62, fluency
    .91, KL 2.2, 225 CPU seconds (.79 after 650 steps of imitation; without blanks these
    gained .42 on test prompts)."""
    return Cpo(
        loss=CDPO(beta=0.5, label_smoothing=0.1),
        sft_optim=Optim(steps=950, batch_size=32, lr=2e-3),
        optim=Optim(steps=30, batch_size=12, lr=3e-4, warmup=4),
        steering=PromptLevels(form="tags", blank="-", shared_where=None),
    )


def paper() -> Cpo:
    """Guo et al. 2024: ratings as in the data ("<helpfulness: 5>"); 3 epochs of about 64,000 prompts; learning rates are common ones."""
    return Cpo(
        loss=DPO(beta=0.1),
        sft_optim=Optim(steps=3000, batch_size=64, lr=1e-5, precision="bf16"),
        optim=Optim(steps=3000, batch_size=64, lr=5e-7, precision="bf16"),
        conditions_per_prompt=1,
        unasked_share=0.0,
        steering=PromptLevels(form="tags", levels=0, shared_where=None),
    )
