"""Recipes of reward models: every number set.

default   regression, LoRA on attention
lab       the embedded world: regression on all weights
paper     InstructGPT's reward model (arXiv 2203.02155): Bradley-Terry, all weights, one pass, lr 9e-6 down to a tenth by a
          cosine, 64 prompts a step
thesis    the CMPO thesis' attribute model: five classes per attribute, the likeliest one is the score; optimisation ours
"""

from __future__ import annotations

from pluralign.methods.reward import Reward
from pluralign.training.optim import Optim


def default() -> Reward:
    """As the class."""
    return Reward()


def lab() -> Reward:
    """Enough steps for a model of half a million parameters; not tuned."""
    return Reward(trunk="full", optim=Optim(steps=150, batch_size=16, lr=1e-3, head_lr=5e-3))


def paper() -> Reward:
    """Ouyang et al. 2022, appendix C; warm-up and weight decay are ours."""
    optim = Optim(batch_size=64, lr=9e-6, head_lr=9e-6, weight_decay=0.0, warmup=20, precision="bf16")
    return Reward(kind="bt", trunk="full", optim=optim, epochs=1.0)


def thesis() -> Reward:
    """Manyika 2024 (methods.md A9): one 5-way classifier per attribute, argmax."""
    optim = Optim(batch_size=32, lr=5e-6, head_lr=5e-6, precision="bf16")
    return Reward(kind="classes", trunk="full", reading="argmax", optim=optim, epochs=1.0)
