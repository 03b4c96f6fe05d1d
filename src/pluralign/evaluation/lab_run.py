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
from pluralign.data.condition import from_vector
from pluralign.data.record import Record, Response
from pluralign.data.simplex import report_grid
from pluralign.evaluation.reference import reference_of
from pluralign.evaluation.report import Report, report
from pluralign.evaluation.samples import Cell, Samples
from pluralign.lab.optimum import sample_reference
from pluralign.logprobs import sequence_logprobs
from pluralign.policy import Policy
from pluralign.sampling.engine import Completion
from pluralign.sampling.local import Decoding, complete
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

    def samples(self, policy: Policy, base: Sequence[Cell] | None = None) -> Samples:
        """Policy and base sampled on the grid (and, with `sweeps`, policy between three pairs of one-hots).

        `base`: cells of an earlier `base_cells` of the same settings, so that several policies share them.
        """
        records = list(lab.prompts(self.split))
        grid = self.grid
        cells = self._cells(policy, records, grid, self.seed, "sampling the policy")
        extra = self._cells(policy, records, _between(), self.seed + 1, "sampling sweeps") if self.sweeps else ()
        base = tuple(base) if base is not None else self.base_cells(policy)
        texts = {record.id: record.messages[-1].content for record in records}
        return Samples(lab.objectives, cells, base, extra, texts)

    def _num_each(self, weights: Array) -> int:
        return self.one_hot_each if np.isclose(weights.max(), 1.0) else self.other_each

    def _cells(self, policy: Policy, records: Sequence[Record], grid: Array, seed: int, title: str) -> tuple[Cell, ...]:
        asked = [(row, record) for row in grid for record in records for _ in range(self._num_each(row))]
        conditions = [from_vector(row, policy.objectives) for row, _ in asked]
        how = Decoding(self.temperature, max_new_tokens=MAX_REPLY, batch_size=512)
        drawn = [c[0] for c in complete(policy, [record for _, record in asked], conditions, 1, seed, how, title)]
        ratios = _log_ratios(policy, drawn)
        return self._split(grid, [record for _, record in asked], drawn, ratios, len(records))

    def base_cells(self, policy: Policy) -> tuple[Cell, ...]:
        """The base sampled anew for every weight of the grid, in the same sizes."""
        records, grid = list(lab.prompts(self.split)), self.grid
        asked = [record for row in grid for record in records for _ in range(self._num_each(row))]
        how = Decoding(self.temperature, max_new_tokens=MAX_REPLY, batch_size=512)
        drawn = [
            c[0]
            for c in complete(
                reference_of(policy), asked, [None] * len(asked), 1, self.seed + 2, how, "sampling the base"
            )
        ]
        return self._split(grid, asked, drawn, np.zeros(len(drawn)), len(records))

    def _split(
        self, grid: Array, asked: Sequence[Record], drawn: Sequence[Completion], ratios: Array, num_prompts: int
    ) -> tuple[Cell, ...]:
        """One cell per weight of what was drawn in the grid's order."""
        cells, start = [], 0
        for row in grid:
            part = slice(start, start + num_prompts * self._num_each(row))
            cells.append(_cell(row, asked[part], drawn[part], ratios[part]))
            start = part.stop
        return tuple(cells)

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


def _log_ratios(policy: Policy, drawn: Sequence[Completion]) -> Array:
    """log π(y|x, λ) − log π_base(y|x) in nats of the replies as drawn."""
    base = reference_of(policy)
    rows = base.reference_coefficients(len(drawn))[:, None]
    pairs = [(completion.prompt_ids, completion.ids) for completion in drawn]
    with Progress("distance to the base", len(pairs)) as bar:
        reference = sequence_logprobs(base, pairs, rows, bar.advance)[:, 0].double().numpy()
    return np.array([completion.logprob for completion in drawn]) - reference


def _cell(weights: Array, asked: Sequence[Record], drawn: Sequence[Completion], ratios: Array) -> Cell:
    replied = [
        Record(r.messages, (Response(c.text, finished=c.finished),), id=r.id) for r, c in zip(asked, drawn, strict=True)
    ]
    scored = list(lab.ExactScorer().score(replied))
    return Cell.of(
        weights,
        prompts=[record.id for record in asked],
        texts=[completion.text for completion in drawn],
        scores=lab.score_vectors(scored),
        fluent=np.array([_fluent(record) for record in scored], dtype=float),
        logratio=ratios,
        lengths=np.array([len(completion.ids) for completion in drawn], dtype=float),
        finished=np.array([completion.finished for completion in drawn]),
    )


def _fluent(record: Record) -> bool:
    topic = lab.topic_of(record.messages)
    reply = record.responses[0]
    return topic is not None and reply.finished and lab.grammatical(topic, reply.text)
