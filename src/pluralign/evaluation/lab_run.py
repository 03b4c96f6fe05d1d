"""The lab's report card: a policy sampled over the grid of weights, scored exactly, beside the base and the optimum.

Definitions and sample sizes are the lab's (docs/report.md): 304 replies per one-hot and 152 per other weight on the 38
test prompts. Seeds of policy and base differ; the optimum stands on the histogram of all base replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pluralign import lab
from pluralign.data.record import Record
from pluralign.data.simplex import report_grid
from pluralign.evaluation.report import Report, report
from pluralign.evaluation.sampled import SampledEvaluation
from pluralign.evaluation.samples import Cell, Samples
from pluralign.lab.optimum import sample_reference
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.training.progress import Progress

MAX_REPLY = 64
"""Tokens: the longest reply of the grammar and its end token."""
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LabEvaluation:
    """How the card is measured. `one_hot_each` and `other_each`: replies per prompt (8 and 4 give 304 and 152)."""

    split: Literal["train", "validation", "test"] = "test"
    one_hot_each: int = 8
    other_each: int = 4
    seed: int = 0
    temperature: float = 1.0
    resamples: int = 500
    sweeps: bool = True
    weights: tuple[tuple[float, ...], ...] = ()
    """the grid, one-hots of all objectives included (a Front has few weights); none means the lab's 32"""

    @property
    def grid(self) -> Array:
        """[G, K]."""
        return np.array(self.weights) if self.weights else report_grid(len(lab.objectives))

    def sampled(self) -> SampledEvaluation:
        """The same settings without the lab: prompts, judge, grid and sizes."""
        return SampledEvaluation(
            records=list(lab.prompts(self.split)),
            objectives=lab.objectives,
            scorer=lab.ExactScorer(),
            grid=self.grid,
            fluent=_fluent,
            one_hot_each=self.one_hot_each,
            other_each=self.other_each,
            seed=self.seed,
            decoding=Decoding(self.temperature, max_new_tokens=MAX_REPLY, batch_size=512),
        )

    def samples(self, policy: Policy, base: Sequence[Cell] | None = None) -> Samples:
        """Policy and base sampled on the grid (and, with `sweeps`, policy between three pairs of one-hots).

        `base`: cells of an earlier `base_cells` of the same settings, so that several policies share them.
        """
        return self.sampled().samples(policy, base, _between() if self.sweeps else None)

    def base_cells(self, policy: Policy) -> tuple[Cell, ...]:
        """The base sampled anew for every weight of the grid, in the same sizes."""
        return self.sampled().base_cells(policy)

    def report(
        self, policy: Policy, title: str, about: dict[str, Any] | None = None, base: Sequence[Cell] | None = None
    ) -> Report:
        """The report card with every table and reply."""
        samples = self.samples(policy, base)
        yardstick = sample_reference(np.concatenate([cell.scores for cell in samples.base]))
        known = {"split": self.split, "seed": self.seed, "temperature": self.temperature, **(about or {})}
        with Progress("report card", 1):
            return report(samples, title, yardstick, known, resamples=self.resamples, seed=self.seed)


def _between() -> Array:
    """Steps of .2 from one one-hot to another: helpful to concise, funny to formal, warm to cautious."""
    place = {objective.name: k for k, objective in enumerate(lab.objectives)}
    rows = []
    for first, second in (("helpful", "concise"), ("funny", "formal"), ("warm", "cautious")):
        for share in (0.2, 0.4, 0.6, 0.8):
            row = np.zeros(len(place))
            row[place[first]], row[place[second]] = share, 1 - share
            rows.append(row)
    return np.array(rows)


def _fluent(record: Record) -> bool:
    topic = lab.topic_of(record.messages)
    reply = record.responses[0]
    return topic is not None and reply.finished and lab.grammatical(topic, reply.text)
