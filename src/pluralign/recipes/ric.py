"""Recipes of RiC: every number set.

default     the paper's numbers, rewards written by name
paper       the same, written as the paper does: "<rm1_score> 0.7" (7B models with LoRA)
lab         the lab's: full training, fewer steps, whole rewards of one width
"""

from __future__ import annotations

from pluralign.methods.ric import Ric
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.scores import PromptScores
from pluralign.training.optim import Optim


def default() -> Ric:
    """The paper's, by name."""
    return Ric()


def paper() -> Ric:
    """Yang et al. 2024: LoRA of rank 64, α 128."""
    return Ric(
        steering=PromptScores(form="tagged", shared_where="all", shared_rank=64, shared_alpha=128.0), unasked=0.0
    )


def lab() -> Ric:
    """Tuned on the lab's validation prompts."""
    return Ric(
        optim=Optim(steps=450, lr=2e-3, batch_size=32),
        online=Optim(steps=60, lr=1e-3, batch_size=32, schedule="constant", warmup=5),
        iterations=2,
        samples=1500,
        offline_kept=1500,
        wish="weights",
        decoding=Decoding(temperature=0.7, top_p=0.9, max_new_tokens=64, batch_size=512),
        steering=PromptScores(shared_where=None, decimals=0, padded=True),
    )
