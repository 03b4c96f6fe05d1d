"""Recipes of ALT: every number set.

default     the paper's numbers for summaries, a word per objective, LoRA on attention
lab         for the lab: the pool's ratings first, then rounds judged exactly
paper       the paper's summaries on a real model: one word for the mean score, quantiles per prompt, the best exemplar
toxicity    the paper's toxicity: global quantiles, an accumulating pool, KL to the base
dialogue    the paper's dialogue: a judge's four categories
"""

from __future__ import annotations

from pluralign.losses.conditional import Conditional
from pluralign.methods.alt import Alt
from pluralign.methods.steps.rounds import Rounds
from pluralign.methods.steps.wording import Wording
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.words import PromptWords
from pluralign.training.optim import Optim

TOXICITY = (
    "Lowest Toxicity",
    "Low-Moderate Toxicity",
    "Moderate Toxicity",
    "High-Moderate Toxicity",
    "Maximum Toxicity",
)
SUMMARIES = ("Excellent", "Good", "Mediocre", "Bad", "Horrible")
_DRAWN = Decoding(max_new_tokens=64, batch_size=512)
DIALOGUE = ("Harmless and very helpful", "Harmless and helpful", "Harmless and not helpful", "Harmful")


def default() -> Alt:
    """A word per objective."""
    return Alt()


def lab() -> Alt:
    """For the lab's model and words, tuned on its validation prompts: everything is said of a reply, each word at its place,
    since a model this small takes long to learn which of several words belongs to which name (seed 0: gain 1.58, utility
    1.04, fluency .88, KL 4.1, 208 CPU seconds; 1.38 without the round; .7 where a phrase speaks of one objective)."""
    return Alt(
        loss=Conditional(),
        optim=Optim(steps=450, batch_size=32, lr=2e-3, warmup=10, schedule="linear", min_lr_ratio=0.1),
        epochs=None,
        rounds=Rounds(num=1, prompts=512, replies=8, drop=0.0, from_data=True, decoding=_DRAWN),
        wording=Wording(scope="global", each=None, spoken=1.0, support=1),
        steering=PromptWords(shared_where=None, levels=("excellent", "good", "fair", "poor", "bad")),
    )


def paper() -> Alt:
    """GPT-J on TL;DR: 10 rounds of 2048 prompts and 96 replies, 2 of each word and prompt, all weights trained."""
    return Alt(
        loss=Conditional(alpha=0.06),
        optim=Optim(lr=2e-5, batch_size=8, betas=(0.9, 0.999), warmup=100, schedule="linear", min_lr_ratio=0.0),
        rounds=Rounds(decoding=Decoding(temperature=0.9, top_p=0.9, max_new_tokens=64)),
        wording=Wording(kind="overall", unasked=0.0),
        exemplars="best",
        steering=PromptWords(shared_where=None, levels=SUMMARIES),
    )


def toxicity() -> Alt:
    """GPT-2 large: 16 rounds, 20 tokens, batch 32, 2000 steps a round, β = .05. Prompts and replies of a round are ours."""
    return Alt(
        loss=Conditional(beta=0.05, alpha=0.06),
        optim=Optim(steps=2000, lr=1e-5, batch_size=32, betas=(0.9, 0.999), warmup=100, schedule="linear"),
        epochs=None,
        rounds=Rounds(num=16, replies=1, drop=0.0, decoding=Decoding(max_new_tokens=20)),
        wording=Wording(kind="overall", scope="global", each=None, unasked=0.0),
        exemplars="best",
        steering=PromptWords(shared_where=None, levels=TOXICITY),
    )


def dialogue() -> Alt:
    """Pythia 2.8B: 20 rounds of 20 replies, 8 kept (2 of each category), batch 32, a judge's categories."""
    return Alt(
        optim=Optim(lr=2e-5, batch_size=32, betas=(0.9, 0.999), warmup=100, schedule="linear", min_lr_ratio=0.0),
        rounds=Rounds(num=20, replies=20, decoding=Decoding(top_p=0.9, max_new_tokens=256)),
        wording=Wording(kind="categories", unasked=0.0),
        exemplars="best",
        steering=PromptWords(shared_where=None, levels=DIALOGUE),
    )
