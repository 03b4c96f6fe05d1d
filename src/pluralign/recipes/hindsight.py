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
    """For the lab's model and words: one objective at a time, the pairs that differ most, short words, more single replies.
    It moves little there all the same (a gain of .1): which of two replies is better says little about how good it is."""
    return Hindsight(
        optim=Optim(steps=400, batch_size=32, lr=4e-3, warmup=10, schedule="linear", min_lr_ratio=0.1),
        epochs=None,
        together=1,
        pairs="widest",
        alone=0.7,
        better=("more {}",),
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
