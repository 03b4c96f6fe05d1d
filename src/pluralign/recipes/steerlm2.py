"""Recipes of SteerLM 2.0: every number set.

default   LoRA, an attribute model by regression, 2 iterations
lab       the embedded world: full training, the exact scorer as attribute model, tempered weights
paper     the paper's numbers on a real model: 10 replies at temperature .7, lr 1e-7, batch 128, 2 epochs of 20,000 prompts
"""

from __future__ import annotations

from pluralign.losses.steerlm2 import PosteriorKL
from pluralign.methods.steerlm2 import Steerlm2
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.optim import Optim


def default() -> Steerlm2:
    """As the class."""
    return Steerlm2()


def lab() -> Steerlm2:
    """On the lab's validation prompts, seed 0, after 800 first steps: gain 1.90, utility 1.14, fluency .90 (SteerLM: 1.85,
    1.04, .87); the iterations take 43 CPU seconds, so that here the first steps are fewer. Of 8 samples, 4 to 5 count."""
    return Steerlm2(
        attribute_model="none",
        first_optim=Optim(steps=550, batch_size=32, lr=2e-3),
        loss=PosteriorKL(temper=8.0),
        replies_per_prompt=8,
        decoding=Decoding(max_new_tokens=64, batch_size=512),
        optim=Optim(steps=40, batch_size=8, lr=3e-4, warmup=5),
        steering=PromptLevels(shared_where=None),
    )


def paper() -> Steerlm2:
    """Wang et al. 2024; an epoch of 20,000 prompts is 156 steps. SteerLM's own numbers are those of its paper."""
    full = Optim(steps=4000, batch_size=128, lr=5e-6, precision="bf16")
    return Steerlm2(
        attribute_trunk="full",
        attribute_optim=Optim(steps=1000, batch_size=128, lr=5e-6, head_lr=5e-6, precision="bf16"),
        first_optim=full,
        unasked_share=0.0,
        decoding=Decoding(temperature=0.7, top_p=0.9, max_new_tokens=1024),
        optim=Optim(steps=312, batch_size=128, lr=1e-7, schedule="constant", precision="bf16"),
        steering=PromptLevels(shared_where=None),
    )
