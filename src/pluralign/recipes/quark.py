"""Recipes of Quark: every number set.

default     the paper's numbers, tokens per objective, LoRA on attention
lab         for the lab: the pool's ratings first, then rounds judged exactly
paper       the paper's toxicity on a real model: one reward, all weights trained
"""

from __future__ import annotations

from pluralign.losses.conditional import Conditional
from pluralign.methods.quark import Quark
from pluralign.methods.steps.rounds import Rounds
from pluralign.methods.steps.wording import Wording
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.quantiles import PromptQuantiles
from pluralign.training.optim import Optim

_DRAWN = Decoding(max_new_tokens=64, batch_size=512)


def default() -> Quark:
    """Tokens per objective."""
    return Quark()


def lab() -> Quark:
    """For the lab's model: all tokens are said of a reply, each at its place, and no entropy term, since the grammar leaves
    a model little to be unsure of. On validation prompts, seed 0: gain 1.63, utility 1.13, fluency .90, KL 4.0, 136 CPU
    seconds (where some tokens are said: 1.13 on test prompts)."""
    return Quark(
        loss=Conditional(beta=0.05, kl="reverse"),
        optim=Optim(steps=250, batch_size=32, lr=4e-3, warmup=10, schedule="linear", min_lr_ratio=0.1),
        rounds=Rounds(num=1, prompts=2048, replies=1, drop=0.0, from_data=True, decoding=_DRAWN),
        wording=Wording(scope="global", each=None, spoken=1.0, support=1),
        steering=PromptQuantiles(shared_where=None),
    )


def paper() -> Quark:
    """GPT-2 large on toxicity: one reward token for the score, nothing learnt without it. Prompts of a round are ours."""
    return Quark(
        optim=Optim(
            steps=500, lr=1e-5, batch_size=128, betas=(0.9, 0.999), warmup=500, schedule="linear", min_lr_ratio=0.0
        ),
        wording=Wording(kind="overall", scope="global", each=None, unasked=0.0),
        steering=PromptQuantiles(shared_where=None),
    )
