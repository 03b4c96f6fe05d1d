"""The lab's job, from prompts to a trained policy: sample replies, let raters rate them, train."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pluralign import lab
from pluralign.data.record import Record
from pluralign.lab import pool
from pluralign.methods.contract import Method, TrainingData, as_policy
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding, sample
from pluralign.steering.none import NoSteering
from pluralign.training.run import Run

Raters = Literal["noisy", "halo", "comparisons"]
World = Literal["base", "nano"]
DECODING = Decoding(max_new_tokens=64, batch_size=512)


def make_pool(seed: int = 0, num_prompts: int = pool.NUM_PROMPTS, world: World = "base") -> list[Record]:
    """Train prompts with four replies of the base each, and a corrupted fifth to half of them."""
    base = Policy.from_base(lab.base_path(world), NoSteering(shared_where=None), lab.objectives)
    asked = pool.draw_prompts(num_prompts, seed)
    sampled = sample(base, asked, None, pool.NUM_REPLIES, seed, DECODING, "sampling replies to rate")
    return list(pool.add_corrupted(sampled, seed))


def rate(records: list[Record], raters: Raters = "noisy", seed: int = 0, share: float = 1.0) -> list[Record]:
    """The pool as people would have judged it; `share` of the comparisons only."""
    if raters == "comparisons":
        return list(lab.Comparisons(lab.NoisyRater(), seed, share).score(records))
    rater = lab.NoisyRater() if raters == "noisy" else lab.HaloRater()
    return list(lab.Ratings(rater, seed).score(records))


def train_in_lab(method: Method, records: list[Record], folder: Path, seed: int = 0, world: World = "base") -> Policy:
    """Train a method on rated replies, starting from the shipped base; the run stays in `folder`.

    On-policy methods have their replies judged by the exact scorer: no reward model could serve them better.
    """
    about = {
        "method": type(method).__name__.lower(),
        "data": [{"source": "lab", "licence": "Apache-2.0", "records": len(records)}],
    }
    policy = Policy.from_base(lab.base_path(world), method.new_steering(lab.objectives), lab.objectives, lineage=about)
    with Run(folder, seed=seed) as run:
        judge = lab.ExactScorer()
        given = TrainingData(records, lab.objectives, scorer=judge, scorer_name="lab")
        return as_policy(method.train(policy, given, run))
