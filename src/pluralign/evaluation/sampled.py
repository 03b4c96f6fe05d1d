"""Replies of any policy under every weight of a grid, scored by one judge, beside the replies of its base.

A policy that reads something else than weights is asked through its own `translate` (a rating string, words, ...); one
that cannot be asked at all answers every weight the same way. Letters: G weights, K objectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pluralign.data.condition import Condition, from_vector
from pluralign.data.evidence import aggregate
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response
from pluralign.errors import DataError
from pluralign.evaluation.reference import reference_of
from pluralign.evaluation.samples import Cell, Samples
from pluralign.logprobs import sequence_logprobs
from pluralign.policy import Policy
from pluralign.sampling.engine import Completion
from pluralign.sampling.local import Decoding, complete
from pluralign.scorers.contract import Scorer
from pluralign.training.progress import Progress

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SampledEvaluation:
    """What is asked, how often, and who judges.

    `records`: the prompts; `scorer` fills `objectives` of every reply; `fluent` says of a scored record with one reply
    whether it is well formed (None: nobody knows); `one_hot_each` and `other_each`: replies per prompt under a weight;
    `ask` puts a weight [K] to a policy (`question`, unless a paper does it in another way).
    """

    records: Sequence[Record]
    objectives: tuple[Objective, ...]
    scorer: Scorer
    grid: Array
    fluent: Callable[[Record], bool] | None = None
    one_hot_each: int = 8
    other_each: int = 4
    seed: int = 0
    decoding: Decoding = field(default_factory=Decoding)
    ask: Callable[[Policy, Array], Condition | None] | None = None

    def samples(self, policy: Policy, base: Sequence[Cell] | None = None, extra: Array | None = None) -> Samples:
        """Policy and base on the grid, and the policy at `extra` weights.

        `base`: cells of an earlier `base_cells` of the same settings, so that several policies share them.
        """
        cells = self.cells(policy)
        more = () if extra is None else self._drawn(policy, extra, self.seed + 1, "sampling sweeps")
        found = tuple(base) if base is not None else self.base_cells(policy)
        texts = dict(zip(self._ids, (record.messages[-1].content for record in self.records), strict=True))
        return Samples(self.objectives, cells, found, more, texts)

    def cells(self, policy: Policy) -> tuple[Cell, ...]:
        """One per weight of the grid. Raises ConditionError for a weight that the policy cannot be asked for."""
        return self._drawn(policy, self.grid, self.seed, "sampling the policy")

    def base_cells(self, policy: Policy) -> tuple[Cell, ...]:
        """The base sampled anew for every weight of the grid, in the same sizes."""
        asked = self._asked(self.grid)
        replies = self._complete(reference_of(policy), asked, [None] * len(asked), self.seed + 2, "sampling the base")
        return self._split(self.grid, asked, replies, np.zeros(len(replies)))

    def answers(self, policy: Policy, condition: Condition | None, num_each: int = 1) -> Cell:
        """`num_each` replies to every prompt under one condition of any kind, as a cell of the uniform weight."""
        asked = [place for place in range(len(self.records)) for _ in range(num_each)]
        replies = self._complete(policy, asked, [condition] * len(asked), self.seed, "sampling the policy")
        uniform = np.full(len(self.objectives), 1.0 / len(self.objectives))
        return self._cell(uniform, asked, replies, self._log_ratios(policy, asked, replies))

    def _num_each(self, weights: Array) -> int:
        return self.one_hot_each if np.isclose(weights.max(), 1.0) else self.other_each

    def _asked(self, grid: Array) -> list[int]:
        """Which record each reply answers, weight after weight."""
        places = range(len(self.records))
        return [place for row in grid for place in places for _ in range(self._num_each(row))]

    @property
    def _ids(self) -> list[str]:
        return [record.id or f"prompt {place}" for place, record in enumerate(self.records)]

    def _drawn(self, policy: Policy, grid: Array, seed: int, title: str) -> tuple[Cell, ...]:
        asked, ask = self._asked(grid), self.ask or question
        conditions = [
            condition for row in grid for condition in [ask(policy, row)] * (len(self.records) * self._num_each(row))
        ]
        replies = self._complete(policy, asked, conditions, seed, title)
        return self._split(grid, asked, replies, self._log_ratios(policy, asked, replies))

    def _complete(
        self, policy: Policy, asked: Sequence[int], conditions: Sequence[Condition | None], seed: int, title: str
    ) -> list[Completion]:
        records = [self.records[place] for place in asked]
        return [each[0] for each in complete(policy, records, conditions, 1, seed, self.decoding, title)]

    def _log_ratios(self, policy: Policy, asked: Sequence[int], replies: Sequence[Completion]) -> Array:
        """log π(y|x, λ) − log π_base(y|x) in nats of the replies as drawn; the base reads the prompt alone.

        NaN for a reply with a token that was added to the policy's vocabulary: the base cannot say it.
        """
        base = reference_of(policy)
        plain = [self._plain_prompt(base, record) for record in self.records]
        room = base.model.get_input_embeddings().num_embeddings
        sayable = [place for place, reply in enumerate(replies) if max(reply.ids, default=0) < room]
        pairs = [(plain[asked[place]], replies[place].ids) for place in sayable]
        rows = base.reference_coefficients(len(pairs))[:, None]
        reference = np.full(len(replies), np.nan)
        with Progress("distance to the base", len(pairs)) as bar:
            reference[sayable] = sequence_logprobs(base, pairs, rows, bar.advance)[:, 0].double().cpu().numpy()
        return np.array([reply.logprob for reply in replies]) - reference

    def _plain_prompt(self, base: Policy, record: Record) -> tuple[int, ...]:
        fitted = base.encoder.fit(base.encoder.prompt(record.messages), self.decoding.max_new_tokens)
        if fitted is None:
            raise DataError(f"a prompt does not fit max_length={base.encoder.max_length}; leave it out")
        return fitted.ids

    def _split(
        self, grid: Array, asked: Sequence[int], replies: Sequence[Completion], ratios: Array
    ) -> tuple[Cell, ...]:
        """One cell per weight of what was drawn in the grid's order."""
        cells, start = [], 0
        for row in grid:
            part = slice(start, start + len(self.records) * self._num_each(row))
            cells.append(self._cell(row, asked[part], replies[part], ratios[part]))
            start = part.stop
        return tuple(cells)

    def _cell(self, weights: Array, asked: Sequence[int], replies: Sequence[Completion], ratios: Array) -> Cell:
        answered = [
            Record(self.records[place].messages, (Response(reply.text, finished=reply.finished),), id=self._ids[place])
            for place, reply in zip(asked, replies, strict=True)
        ]
        scored = list(self.scorer.score(answered))
        return Cell.of(
            weights,
            prompts=[record.id or "" for record in scored],
            texts=[reply.text for reply in replies],
            scores=scores_of(scored, self.objectives),
            fluent=None if self.fluent is None else [float(self.fluent(record)) for record in scored],
            logratio=ratios,
            lengths=np.array([len(reply.ids) for reply in replies], dtype=float),
            finished=np.array([reply.finished for reply in replies]),
        )


def question(policy: Policy, weights: Array) -> Condition | None:
    """A trade-off [K] as a condition for this policy; None for one that cannot be asked."""
    return from_vector(weights, policy.objectives) if policy.steering.accepts else None


def scores_of(records: Sequence[Record], objectives: Sequence[Objective]) -> Array:
    """[N, K] of records with one reply each; a score that is absent is NaN."""
    rows = [aggregate(record.responses[0]) for record in records]
    found = [[row.get(name) for name in names(objectives)] for row in rows]
    return np.array([[math.nan if value is None else value for value in row] for row in found], dtype=np.float64)
