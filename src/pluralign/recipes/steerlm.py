"""Recipes of SteerLM: every number set.

default   LoRA, an attribute model by regression, no bootstrapping
lab       the embedded world: full training from scratch of the condition's words, the raters' own ratings
paper     the paper's lr 5e-6 and full training on a real model, one bootstrapping round; batches and steps are ours
thesis    the CMPO thesis' run: a 5-way attribute model, 46,000 steps of batch 4, "attribute j only" is j:4 and others 0
"""

from __future__ import annotations

from pluralign.methods.steerlm import Steerlm
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.optim import Optim


def default() -> Steerlm:
    """As the class."""
    return Steerlm()


def lab() -> Steerlm:
    """On the lab's validation prompts, seed 0: gain 1.85, utility 1.04, fluency .87, 158 CPU seconds."""
    return Steerlm(
        attribute_model="none",
        optim=Optim(steps=800, batch_size=32, lr=2e-3),
        steering=PromptLevels(shared_where=None),
    )


def paper() -> Steerlm:
    """Dong et al. 2023; steps, batches and decoding, which we could not check, for a few billion parameters."""
    full = Optim(steps=4000, batch_size=128, lr=5e-6, betas=(0.9, 0.98), weight_decay=0.01, precision="bf16")
    return Steerlm(
        attribute_trunk="full",
        attribute_optim=Optim(steps=1000, batch_size=128, lr=5e-6, head_lr=5e-6, precision="bf16"),
        optim=full,
        unasked_share=0.0,
        rounds=1,
        decoding=Decoding(temperature=0.7, top_p=0.9, max_new_tokens=1024),
        round_optim=full,
        steering=PromptLevels(shared_where=None),
    )


def thesis() -> Steerlm:
    """Manyika 2024: one 5-way classifier per attribute, then 46,000 steps of batch 4 from the base model."""
    return Steerlm(
        attribute_model="classes",
        optim=Optim(steps=46_000, batch_size=4, lr=5e-6, schedule="constant", precision="bf16"),
        unasked_share=0.0,
        steering=PromptLevels(rule="share", shared_where=None),
    )
