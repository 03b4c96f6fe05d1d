"""Recipes of Chain of Hindsight: every number set.

default     two templates, half of the chains with one reply, LoRA on attention
lab         for the lab's model and words
paper       every chain has two replies, all weights trained (GPT-J in the paper; the rest of its numbers is not known to us)
"""

from __future__ import annotations

from pluralign.methods.hindsight import Hindsight
from pluralign.steering.prompt.words import PromptWords
from pluralign.training.optim import Optim


def default() -> Hindsight:
    """Both kinds of chains."""
    return Hindsight()


def lab() -> Hindsight:
    """For the lab's model and words: one objective at a time, the pairs that differ most, one word for the better reply,
    mostly single replies, and nothing hidden, since these have nothing to copy from. On validation prompts, seed 0, 400
    steps gained .51 (utility .19, fluency .92, KL 1.0, 136 CPU seconds) and were still rising; with half the rate and
    batch .22, with "more {}" .1. A chain says one thing of a reply, where a rating string says six: many are needed."""
    return Hindsight(
        optim=Optim(steps=680, batch_size=64, lr=4e-3, warmup=10, schedule="linear", min_lr_ratio=0.1),
        epochs=None,
        chains=16,
        together=1,
        pairs="widest",
        alone=0.9,
        forget=0.0,
        better=("{}",),
        worse=("less {}",),
        steering=PromptWords(shared_where=None),
    )


def paper() -> Hindsight:
    """Pairs only, nothing learnt without feedback."""
    return Hindsight(
        optim=Optim(lr=1e-5, batch_size=512, betas=(0.9, 0.999)),
        alone=0.0,
        unasked=0.0,
        steering=PromptWords(shared_where=None),
    )
