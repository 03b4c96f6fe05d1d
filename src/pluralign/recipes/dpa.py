"""Recipes of DPA: every number set.

default     directions without negative components, 16 replies
paper       the paper's cone: 45 degrees about helpfulness, 80 replies, its words (for data with helpful and verbosity)
lab         the lab's: full training, one long round, one digit for each component
"""

from __future__ import annotations

from pluralign.methods.dpa import Dpa
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.directions import PromptDirections
from pluralign.training.optim import Optim


def default() -> Dpa:
    """For any objectives."""
    return Dpa()


def paper() -> Dpa:
    """H. Wang et al. 2024, on HelpSteer's helpfulness and verbosity (--objectives helpfulness verbosity); the number of
    replies is recalled, not checked."""
    return Dpa(
        replies=80,
        directions_per_prompt=1,
        unasked=0.0,
        decoding=Decoding(max_new_tokens=1024),
        steering=PromptDirections(form="paper", axis="helpfulness", angle=45.0, shared_where=None),
    )


def lab() -> Dpa:
    """One long round, each prompt's replies judged in eight directions, which are written with one digit each: a model this
    small hardly learns to read three. On validation prompts, seed 0: gain .86, utility .54, fluency .96, KL 1.6, 265 CPU
    seconds on a busy machine (.54 after 600 steps; .2 to .3 in hundredths, with two rounds)."""
    return Dpa(
        optim=Optim(steps=100, lr=2e-3, batch_size=32),
        online=Optim(steps=800, lr=2e-3, batch_size=32, schedule="cosine", warmup=10),
        rounds=1,
        samples=1000,
        replies=16,
        directions_per_prompt=8,
        decoding=Decoding(max_new_tokens=64, batch_size=512),
        steering=PromptDirections(shared_where=None, whole=9, padded=True),
    )
