"""Online: what methods share that let the policy answer at every step: rewards in common units, returns, baselines.

    G(y) = R(y) − β ρ(y),   ρ(y) = log π(y|x, c) − log π_ref(y|x),   E_π[ρ] = KL(π ‖ π_ref)
    A(y) = G(y) − b

R is a reward or a weighted sum of standardised ones, (R_j − mean_j) / std_j over replies of the reference: without it the
objective of the widest scale decides under all weights. b is the mean of the other k − 1 returns of the prompt (RLOO,
arXiv 2402.14740; unbiased, and the advantages of a prompt sum to 0), the mean return of the step, or the mean return of
all earlier steps (REINFORCE; methods.md C1, C2). A reply that the scorer left without a score has no return: it counts
in no baseline and is not learnt from.

Letters: N replies of a record, K objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from pluralign.data.evidence import direction_signs, score_row
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.on_policy import Ask, OnPolicySource, View, log_ratios
from pluralign.sampling.pool import rollout
from pluralign.scorers.contract import Scorer
from pluralign.storage import read_json, write_json
from pluralign.training.run import Run, Stage

Array = NDArray[np.float64]
Worth = Callable[[Record, Array, Array], Array]


def rewards(records: Sequence[Record], objectives: Sequence[Objective]) -> list[Array]:
    """What the scorer said of every reply, an array [N, K] for each record: more is better, NaN where it said nothing."""
    signs = direction_signs(objectives)
    rows = [[score_row(reply, objectives) * signs for reply in record.responses] for record in records]
    return [np.array(each, dtype=np.float64).reshape(len(each), len(objectives)) for each in rows]


def weighed(weights: Sequence[float] | Array, values: Array) -> Array:
    """w·R [N] of rewards [N, K]; NaN where a reward that counts is unknown (one of weight 0 does not count)."""
    weights = np.asarray(weights, dtype=np.float64)
    return np.asarray(np.where(weights == 0, 0.0, weights * values).sum(-1))


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation (population) of every objective's reward; an objective that is constant keeps 1."""

    mean: tuple[float, ...]
    """of each objective's rewards, in the scorer's units"""
    spread: tuple[float, ...]
    """their standard deviation, in the same units"""

    @classmethod
    def of(cls, values: Sequence[Array], objectives: Sequence[Objective]) -> Self:
        """Of rewards [N, K] per record. DataError for an objective that no reply has a reward of."""
        table = np.concatenate([*values, np.zeros((0, len(objectives)))])
        for objective, column in zip(objectives, table.T, strict=True):
            if np.isnan(column).all():
                raise DataError(
                    f"no reply has a score of {objective.name!r}, so its rewards have no scale; check the scorer"
                )
        spread = np.nanstd(table, axis=0)
        return cls(tuple(np.nanmean(table, axis=0).tolist()), tuple(np.where(spread > 1e-9, spread, 1.0).tolist()))

    def __call__(self, values: Array) -> Array:
        """Rewards [N, K] in standard deviations from the mean."""
        return (values - np.array(self.mean)) / np.array(self.spread)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How much a step samples and what its returns are measured against. Raises ConfigError outside the ranges."""

    prompts_per_step: int = 16
    """prompts of a step"""
    replies_per_prompt: int = 4
    """replies to each of them, k (RLOO: 2 to 4)"""
    max_new_tokens: int = 128
    """tokens after which a reply is cut off"""
    rows: int = 256
    """replies drawn at a time (memory, not results)"""
    baseline: Literal["rloo", "batch", "running"] = "rloo"
    """rloo: the other replies of the prompt; batch: all replies of the step; running: all earlier steps"""
    standardise: Literal["reference", "pool", "none"] = "reference"
    """rewards in standard deviations over fresh replies of the reference, over the training records' scores, or as scored"""
    num_reference: int = 256
    """fresh replies of the reference (standardise reference)"""

    def __post_init__(self) -> None:
        sizes = (self.prompts_per_step, self.replies_per_prompt, self.max_new_tokens, self.rows, self.num_reference)
        if min(sizes) < 1:
            raise ConfigError(f"sampling: every number must be at least 1, got {self}")
        if self.baseline == "rloo" and self.replies_per_prompt < 2:
            raise ConfigError("sampling: rloo compares the replies of a prompt; set replies_per_prompt to 2 or more")

    @property
    def decoding(self) -> Decoding:
        """At temperature 1: a policy gradient is about the policy's own samples."""
        return Decoding(max_new_tokens=self.max_new_tokens, batch_size=self.rows)

    def source(
        self, policy: Policy, data: TrainingData, scorer: Scorer, stage: Stage, ask: Ask, view: View
    ) -> OnPolicySource:
        """The stage's source: drawn and scored replies stay in its folder."""
        return OnPolicySource(
            policy,
            data.questions(),
            scorer,
            rollouts(stage),
            ask,
            view,
            prompts_per_step=self.prompts_per_step,
            replies_per_prompt=self.replies_per_prompt,
            decoding=self.decoding,
            seed=stage.seed,
        )

    def scale(self, policy: Policy, data: TrainingData, scorer: Scorer, run: Run) -> Scale:
        """The scale of rewards. Call it before the policy is trained, whose replies are then those of the reference."""
        if self.standardise == "none":
            return Scale((0.0,) * len(data.objectives), (1.0,) * len(data.objectives))
        records = data.train if self.standardise == "pool" else self._reference(policy, data, scorer, run)
        return Scale.of(rewards(records, data.objectives), data.objectives)

    def _reference(self, policy: Policy, data: TrainingData, scorer: Scorer, run: Run) -> list[Record]:
        stage = run.stage("reference-replies")
        prompts = data.questions()
        if not prompts:
            raise DataError("there are no prompts to answer; give --prompts, or data with prompts")
        order = np.random.default_rng(stage.seed).permutation(len(prompts))
        asked = [prompts[order[place % len(prompts)]] for place in range(self.num_reference)]
        return rollout(stage.folder, policy, asked, [None] * len(asked), scorer, 1, stage.seed, self.decoding)


def rollouts(stage: Stage) -> Path:
    """Where a stage keeps the replies of its steps."""
    return stage.folder / "rollouts"


class Advantages:
    """A = G − b by one of the baselines of `Sampling`. `folder` keeps the running mean, so that a run can go on."""

    def __init__(self, baseline: Literal["rloo", "batch", "running"], folder: Path) -> None:
        self.baseline, self.folder = baseline, folder

    def __call__(self, returns: Sequence[Array], step: int) -> list[Array]:
        """Returns [N] per record -> advantages [N]; NaN where there is no return, or nothing to compare it with."""
        if self.baseline == "rloo":
            return [leave_one_out(each) for each in returns]
        mean = _mean(returns) if self.baseline == "batch" else self._running(returns, step)
        return [each - mean for each in returns]

    def _running(self, returns: Sequence[Array], step: int) -> float:
        """The mean of all earlier steps (the first step: its own)."""
        before = read_json(self._path(step - 1)) if step else {"sum": 0.0, "count": 0}
        own = np.concatenate([*returns, np.zeros(0)])
        own = own[~np.isnan(own)]
        after = {"sum": before["sum"] + float(own.sum()), "count": before["count"] + len(own)}
        write_json(self._path(step), after)
        return float(before["sum"] / before["count"]) if before["count"] else _mean(returns)

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:06d}" / "returns.json"


def leave_one_out(returns: Array) -> Array:
    """RLOO: each return less the mean of the others, [N] -> [N]; they sum to 0. NaN without a return, or without others."""
    known = ~np.isnan(returns)
    num = int(known.sum())
    if num < 2:
        return np.full(returns.shape, np.nan)
    return np.asarray(num / (num - 1) * (returns - returns[known].mean()))


def normalised(values: Sequence[Array]) -> list[Array]:
    """The same less their mean over the step, divided by their standard deviation (1 where they are all equal)."""
    every = np.concatenate([*values, np.zeros(0)])
    spread = float(np.nanstd(every)) if (~np.isnan(every)).any() else 0.0
    return [(each - _mean(values)) / (spread if spread > 1e-9 else 1.0) for each in values]


def _mean(values: Sequence[Array]) -> float:
    every = np.concatenate([*values, np.zeros(0)])
    known = every[~np.isnan(every)]
    return float(known.mean()) if len(known) else float("nan")


def column_means(values: Sequence[Array]) -> Array:
    """[K]: the mean of each column over rewards [N, K] per record, of what is known; NaN where nothing is."""
    table = np.concatenate(values)
    known = ~np.isnan(table)
    total = np.where(known, table, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def weighted_groups(records: Sequence[Record], advantages: Sequence[Array]) -> list[Group]:
    """A group of every record: its replies under the condition they were drawn under, each with its advantage.

    Replies without an advantage are left out. The replies of a record were drawn under one condition.
    """
    found = []
    for record, values in zip(records, advantages, strict=True):
        kept = [place for place, value in enumerate(values) if not np.isnan(value)]
        if kept:
            replies = [record.responses[place] for place in kept]
            group = Group.of(record, replies, (replies[0].condition,))
            found.append(replace(group, values=tuple((float(values[place]),) for place in kept)))
    return found


def view_of_returns(
    policy: Policy, objectives: Sequence[Objective], scale: Scale, worth: Worth, advantages: Advantages
) -> View:
    """The view of an `OnPolicySource` that makes groups of a step's replies: `worth` gives the returns G [N] of a record
    from its rewards [N, K] in common units and its replies' ρ [N]; `advantages` takes off the baseline."""

    def view(records: Sequence[Record], step: int) -> list[Group]:
        rho = log_ratios(policy, records)
        scaled = [scale(each) for each in rewards(records, objectives)]
        returns = [worth(*each) for each in zip(records, scaled, map(np.array, rho), strict=True)]
        return weighted_groups(records, advantages(returns, step))

    return view
