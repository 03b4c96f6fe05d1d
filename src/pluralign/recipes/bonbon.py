"""Recipes of BoNBoN: every number set.

default     n = 8 drawn from the reference, low-rank heads on a frozen trunk
lab         the same, in points of the lab's scores, on replies of at most 64 tokens; imitation weighs a = .95: with the
            paper's .005 nothing holds the best reply's own probability up, and the text decays (KL 5 nats, fluency .85;
            on the nano lab a = .005, .5, .9, .97 give gains of .73, .81, 1.09, 1.13 at 12.7, 10.3, 2.8, 2.0 nats)
paper       n = 8, a = .005, all attention layers, on a real model; the learning rate is ours
"""

from __future__ import annotations

from pluralign.losses.bonbon import BonBon
from pluralign.methods.bonbon import Bonbon
from pluralign.sampling.local import Decoding
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim


def default() -> Bonbon:
    """The defaults."""
    return Bonbon()


def lab() -> Bonbon:
    """All objectives of the lab have the range 0..4."""
    return Bonbon(
        loss=BonBon(num=8, share=0.95),
        scale="range",
        num_prompts=1500,
        decoding=Decoding(max_new_tokens=64, batch_size=512),
        optim=Optim(steps=300, lr=3e-4, head_lr=5e-3, weight_decay=0.5, batch_size=128),
    )


def paper() -> Bonbon:
    """One model for all weights, LoRA on attention for each objective."""
    return Bonbon(
        loss=BonBon(num=8, share=0.005),
        decoding=Decoding(max_new_tokens=256),
        steering=PluralSteering(where="attention"),
        optim=Optim(steps=1000, lr=5e-5, head_lr=5e-5, batch_size=32, warmup=50),
    )
