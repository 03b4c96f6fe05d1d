"""Recipes of personalised soups: every number set.

default      DPO experts for both ends of every objective, merged in equal shares
lab          the lab: the regression on scores that CMPO learns from too, on all linear layers, poles merged by weights
dpo_experts  the lab: cDPO experts on all linear layers, on the widest pair of each record
lab_replies  the lab: experts that learn from their own replies (RLOO)
prompted     a 7B model: the paper's baseline P-MORL, one policy that reads the poles in its prompt
paper        a 7B model: RLOO experts on LoRA of the attention, equal shares (the paper: PPO)
"""

from __future__ import annotations

from dataclasses import replace

from pluralign.losses.dpo import CDPO
from pluralign.losses.regression import Regression
from pluralign.methods.psoups import Psoups
from pluralign.methods.steps.online import Sampling
from pluralign.steering.poles import PolesSteering
from pluralign.steering.prompt.poles import PromptPoles
from pluralign.training.optim import Optim


def default() -> Psoups:
    """As the method's file says."""
    return Psoups()


def lab() -> Psoups:
    """Eleven experts (safety has no low end), 55 steps each. On the lab's validation prompts, seed 0: gain 1.95, utility
    1.00, fluency .87, KL 2.3. On attention alone, by cDPO on all pairs, 40 steps hardly move (gain .24)."""
    return Psoups(
        loss=Regression(tau=0.2),
        optim=Optim(steps=55, lr=4e-3, head_lr=4e-3, warmup=5),
        steering=PolesSteering(where="all", merge="weighted"),
    )


def dpo_experts() -> Psoups:
    """Eleven preference-only experts, 70 steps each. On the lab's validation prompts, seed 0: gain 1.54, utility .81,
    fluency .89, KL 1.6."""
    return Psoups(
        loss=CDPO(beta=0.25),
        pairs="widest",
        optim=Optim(steps=70, lr=4e-3, head_lr=4e-3, warmup=5),
        steering=PolesSteering(where="all", merge="weighted"),
    )


def lab_replies() -> Psoups:
    """Eleven experts on 25 steps of 48 replies each."""
    return Psoups(
        expert="replies",
        beta=0.1,
        sampling=Sampling(prompts_per_step=12, replies_per_prompt=4, max_new_tokens=64, rows=512),
        optim=Optim(steps=25, lr=3e-3, head_lr=3e-3, warmup=2),
        steering=PolesSteering(where="attention", rank=8, merge="weighted"),
    )


def prompted() -> Psoups:
    """The numbers of `paper`; twice the steps, since one policy learns all poles and their mixtures."""
    return replace(
        paper(),
        optim=Optim(steps=1000, lr=1e-5, head_lr=1e-5, warmup=20),
        steering=PromptPoles(high="more {}", low="less {}"),
    )


def paper() -> Psoups:
    """Rank, learning rate and KL coefficient are our choices, for RLOO in the place of PPO."""
    return Psoups(
        expert="replies",
        beta=0.05,
        sampling=Sampling(prompts_per_step=32, replies_per_prompt=4, max_new_tokens=512),
        optim=Optim(steps=500, lr=1e-5, head_lr=1e-5, warmup=20),
        steering=PolesSteering(where="attention", rank=16),
    )
