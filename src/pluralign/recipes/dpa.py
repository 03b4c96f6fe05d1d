"""Recipes of DPA: every number set.

default     directions without negative components, 16 replies
paper       the paper's cone: 45 degrees about helpfulness, 80 replies, its words (for data with helpful and verbosity)
lab         the lab's: full training, fewer steps, numbers of one width
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
    """Tuned on the lab's validation prompts."""
    return Dpa(
        optim=Optim(steps=250, lr=2e-3, batch_size=32),
        online=Optim(steps=80, lr=1e-3, batch_size=32, schedule="constant", warmup=5),
        rounds=2,
        samples=600,
        replies=8,
        decoding=Decoding(max_new_tokens=64, batch_size=512),
        steering=PromptDirections(shared_where=None, padded=True),
    )
