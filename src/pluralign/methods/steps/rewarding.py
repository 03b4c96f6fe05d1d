"""Training a reward model, as a part of a method: groups from records, the fit, the units of the scores.

A record is one group, so the responses of a prompt are read together (methods.md D1: all pairs of a prompt in one batch
element).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from pluralign.data.condition import Condition, Targets, one_hot
from pluralign.data.evidence import evidence, score_row
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError, DataError
from pluralign.losses.outputs import Loss
from pluralign.losses.reward import BradleyTerry, CrossEntropy, SquaredError
from pluralign.methods.contract import TrainingData, validation_groups
from pluralign.policy import Policy
from pluralign.reward_model import Kind, Reading, RewardModel
from pluralign.steering.none import NoSteering
from pluralign.storage import read_json, write_json
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Stage
from pluralign.training.source import GroupSource

Trunk = Literal["frozen", "attention", "all", "full"]
CLASSES = 5
SPREAD = 5.0  # a standardised reward is held within ± so many deviations


@dataclass(frozen=True, kw_only=True)
class RewardTraining:
    """What kind of reward model, on what trunk, trained how. Raises ConfigError for numbers that mean nothing."""

    kind: Kind = "regression"
    """bt: from comparisons (or differences of scores); regression: from scores; classes: a 5-way classifier of scores"""
    trunk: Trunk = "attention"
    """what trains below the head: nothing (frozen), a LoRA on attention or all linear layers, or everything (full)"""
    rank: int = 16
    """of the LoRA"""
    optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, head_lr=2e-3, steps=500, batch_size=16))
    """the optimisation (batch_size in prompts; head_lr of the head)"""
    epochs: float | None = None
    """passes over the data; none uses optim.steps"""
    loss: BradleyTerry = field(default_factory=BradleyTerry)
    """margin, scaling and centring (kind=bt only)"""
    reading: Reading = "expectation"
    """score of a distribution over classes: expectation, or argmax (kind=classes only)"""

    def __post_init__(self) -> None:
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise ConfigError(f"epochs must be a finite number above 0 (or None), got {self.epochs}")
        if self.kind != "bt" and self.loss != BradleyTerry():
            raise ConfigError(f"margin, scaled and centring act on kind=bt only, this is kind={self.kind}")
        if self.kind != "classes" and self.reading != "expectation":
            raise ConfigError(f"reading acts on kind=classes only, this is kind={self.kind}")

    def objective_loss(self) -> Loss:
        """The loss of the kind."""
        losses: dict[Kind, Loss] = {"bt": self.loss, "regression": SquaredError(), "classes": CrossEntropy()}
        return losses[self.kind]

    def adapter(self) -> NoSteering:
        """What is put into the trunk before it trains."""
        where = self.trunk if self.trunk == "attention" or self.trunk == "all" else None
        return NoSteering(shared_where=where, shared_rank=self.rank)


def train_reward(
    base: Policy | RewardModel, data: TrainingData, stage: Stage, how: RewardTraining | None = None
) -> RewardModel:
    """Train a reward model on `data.train` (all of `data.objectives`) in `stage`, and return it.

    `base`: a policy, whose unconditioned model is copied and stays as it is; or a fresh reward model of the same kind
    and objectives, which is trained in place. `data.validation` chooses the checkpoint. A finished stage is only
    loaded.

    The result is a scorer in the objectives' own units and ranges for `regression` and `classes` (0.0 to 4.0, say, not
    rounded). For `bt` its objectives run from -5 to 5, higher is better: rewards are standardised to mean 0 and
    deviation 1 over the training replies. Raises DataError where an objective has no score (bt: nothing that tells two
    replies of a prompt apart).
    """
    how = how or RewardTraining()
    reward = base if isinstance(base, RewardModel) else _fresh(base, data, how)
    if reward.kind != how.kind or names(reward.objectives) != names(data.objectives):
        raise ConfigError(
            f"the reward model is of kind {reward.kind} on {', '.join(names(reward.objectives))}; asked for {how.kind} "
            f"on {', '.join(names(data.objectives))}"
        )
    if how.kind == "regression":
        reward.shift, reward.scale = _moments(data.train, data.objectives)
    groups = reward_groups(data.train, data.objectives, reward)
    source = PromptSource(groups, how.optim.batch_size, stage.seed)
    optim = how.optim if how.epochs is None else replace(how.optim, steps=source.steps(how.epochs))
    held_out = validation_groups(list(_groups(data.validation, data.objectives, reward)))
    fit(reward, source, how.objective_loss(), stage, optim, held_out)
    if how.kind == "bt":
        _standardise(reward, groups, stage)
    return reward


def on_policy_model(policy: Policy, objectives: Sequence[Objective], how: RewardTraining) -> RewardModel:
    """A fresh reward model on the policy's own model, which it takes over; the policy has `how.adapter()`."""
    if how.trunk == "frozen":
        policy.model.requires_grad_(False)
    filled = scored_objectives(objectives, how.kind)
    return RewardModel(policy, filled, how.kind, num_classes=CLASSES, reading=how.reading, lineage=policy.lineage)


def _fresh(base: Policy, data: TrainingData, how: RewardTraining) -> RewardModel:
    """The same on a copy of a policy's unconditioned model."""
    encoder = Encoder(base.encoder.tokenizer, **base.encoder.config())
    lineage = {"base": base.lineage.get("base"), "records": len(data.train)}
    copy = Policy(base.merge(None), encoder, how.adapter(), data.objectives, lineage=lineage)
    return on_policy_model(copy, data.objectives, how)


def scored_objectives(objectives: Sequence[Objective], kind: Kind) -> tuple[Objective, ...]:
    """What a reward model of the kind fills: the objectives, for bt on a scale of its own."""
    if kind != "bt":
        return tuple(objectives)
    return tuple(replace(o, low=-SPREAD, high=SPREAD, direction="higher") for o in objectives)


class PromptSource(GroupSource):
    """Groups whose batches are of `batch_size` records each: all groups of a record (by messages and id) in one step."""

    def __init__(self, groups: Sequence[Group], batch_size: int, seed: int = 0) -> None:
        super().__init__(groups, batch_size, seed)
        self._together: dict[tuple[Any, str], list[Group]] = {}
        for group in self.groups:
            self._together.setdefault((group.messages, group.id), []).append(group)
        self._first = GroupSource([together[0] for together in self._together.values()], batch_size, seed)

    def steps(self, epochs: float) -> int:
        """Optimiser steps that see every record `epochs` times (rounded up)."""
        return self._first.steps(epochs)

    def batch(self, step: int) -> list[Group]:
        """The groups of a step's records."""
        firsts = self._first.batch(step)
        return [group for first in firsts for group in self._together[first.messages, first.id]]


def reward_groups(records: Sequence[Record], objectives: Sequence[Objective], reward: RewardModel) -> list[Group]:
    """The training view of all records. Raises DataError naming an objective that nothing is said about."""
    groups = list(_groups(records, objectives, reward))
    said = {name for group in groups for condition in group.conditions for name in condition.values}  # type: ignore[union-attr]
    silent = [name for name in names(objectives) if name not in said]
    if silent:
        what = "no pair of replies is told apart" if reward.kind == "bt" else "no reply is scored"
        raise DataError(f"{what} on {', '.join(silent)}; leave it out with --objectives, or train another kind")
    return groups


def _groups(records: Sequence[Record], objectives: Sequence[Objective], reward: RewardModel) -> Iterator[Group]:
    make = {"bt": _compared, "regression": _valued, "classes": _classified}[reward.kind]
    for record in records:
        read = tuple(response for response in record.responses if response.text or response.finished)
        yield from make(replace(record, responses=read) if reward.kind != "bt" else record, objectives, reward)


def _compared(record: Record, objectives: Sequence[Objective], reward: RewardModel) -> Iterator[Group]:
    """Every pair that an objective compares, ties (margin 0) included."""
    found = evidence(record, objectives)
    usable = [bool(response.text or response.finished) for response in record.responses]
    said = [
        (i, j, k)
        for i, j in found.pairs()
        for k in range(len(objectives))
        if found.verdict[i, j, k] == found.verdict[i, j, k] and usable[i] and usable[j]
    ]
    used = sorted({k for _, _, k in said})
    preferences = []
    for i, j, k in said:
        won, lost = (i, j) if found.verdict[i, j, k] >= 0 else (j, i)
        size = 0.0 if found.verdict[i, j, k] == 0 else float(found.size[won, lost, k])
        preferences.append(Preference(used.index(k), won, lost, None if math.isnan(size) else size))
    if preferences:
        conditions = tuple(one_hot(objectives[k].name) for k in used)
        yield Group.of(record, record.responses, conditions, tuple(preferences))


def _valued(record: Record, objectives: Sequence[Objective], reward: RewardModel) -> Iterator[Group]:
    """Replies with the same labelled objectives together; values are standardised scores."""
    shift, scale = torch.tensor(reward.shift).double(), torch.tensor(reward.scale).double()
    together: dict[tuple[int, ...], list[tuple[Response, tuple[float, ...]]]] = {}
    for response in record.responses:
        row = (torch.from_numpy(score_row(response, objectives)) - shift) / scale
        labelled = tuple(k for k in range(len(objectives)) if not math.isnan(row[k]))
        together.setdefault(labelled, []).append((response, tuple(float(row[k]) for k in labelled)))
    for labelled, found in together.items():
        if labelled:
            replies, values = zip(*found, strict=True)
            conditions = tuple(one_hot(objectives[k].name) for k in labelled)
            yield replace(Group.of(record, replies, conditions), values=values)


def _classified(record: Record, objectives: Sequence[Objective], reward: RewardModel) -> Iterator[Group]:
    """A reply with the class of each of its scores; a score between two classes belongs to both, in part."""
    values = reward.class_values().tolist()
    for response in record.responses:
        shares: dict[Condition | None, float] = {}
        for objective, classes, score in zip(objectives, values, score_row(response, objectives), strict=True):
            shares |= {Targets({objective.name: at}): share for at, share in _shares(classes, float(score))}
        if shares:
            yield replace(Group.of(record, [response], tuple(shares)), values=(tuple(shares.values()),))


def _shares(classes: Sequence[float], score: float) -> list[tuple[float, float]]:
    """(class, share) of the one or two classes that a score lies on or between; none of NaN."""
    if math.isnan(score):
        return []
    place = (score - classes[0]) / (classes[1] - classes[0])
    low = min(max(int(place), 0), len(classes) - 2)
    return [(classes[at], 1 - abs(place - at)) for at in (low, low + 1) if abs(place - at) < 1 - 1e-6]


def _moments(records: Sequence[Record], objectives: Sequence[Objective]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each objective's scores, so that the head learns numbers of size 1."""
    rows = [torch.from_numpy(score_row(y, objectives)) for record in records for y in record.responses]
    table = torch.stack(rows) if rows else torch.full((1, len(objectives)), math.nan)
    known = [column[~column.isnan()] for column in table.T]
    means = [float(column.mean()) if len(column) else 0.0 for column in known]
    spreads = [float(column.std(correction=0)) if len(column) else 1.0 for column in known]
    return means, [spread if spread > 0 else 1.0 for spread in spreads]


def _standardise(reward: RewardModel, groups: Sequence[Group], stage: Stage) -> None:
    """Mean 0 and deviation 1 over the training replies; kept with the stage."""
    path = stage.folder / "units.json"
    if not path.exists():
        raw = reward.raw([text for group in groups for text in group.texts()]).double()
        raw = raw[~raw.isnan().any(1)]
        scale = [1 / max(float(spread), 1e-6) for spread in raw.std(0, correction=0)]
        shift = [-float(mean) * each for mean, each in zip(raw.mean(0), scale, strict=True)]
        write_json(path, {"shift": shift, "scale": scale})
    units = read_json(path)
    reward.shift, reward.scale = units["shift"], units["scale"]
