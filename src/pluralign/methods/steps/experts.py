"""Experts: one model per objective, each trained alone from the same base, kept as the changes of one policy.

Under a one-hot weight a plural policy is the base with that objective's change alone, and no other change moves: so an
expert trained in its own place is the expert that a model of its own would be. What mixes them afterwards names the
paper: their weights, rewarded soups (arXiv 2306.04488); their logits, MOD (arXiv 2406.18853).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor

from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.conversions.power_set import power_set
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.outputs import Loss
from pluralign.losses.regression import Regression
from pluralign.methods.contract import TrainingData, validation_groups
from pluralign.methods.steps.preparation import Preparation
from pluralign.policy import Policy
from pluralign.steering.weighted import WeightedSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource, Source


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The settings of a method that trains one expert per objective; a method adds its steering, which mixes them."""

    loss: DPO | CDPO | Regression = field(default_factory=DPO)
    """of every expert: DPO (β = .1), cDPO, or the regression on scores"""
    optim: Optim = field(default_factory=lambda: Optim(steps=120, lr=3e-4, head_lr=3e-3))
    """of every expert (batch_size in pairs)"""
    feedback: Literal["auto", "scores", "comparisons"] = "auto"
    """regression only: learn from scores, or from comparisons through a linear reward model"""
    kappa: float = 4.4
    """log-ratio in nats per standard deviation of a learnt reward (regression on comparisons only)"""
    pairs: Literal["all", "widest"] = "all"
    """all that an objective tells apart, or the widest of each record alone (the net-margin filter of the CMPO thesis)"""

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Step 1 of the paper, an expert for each objective; step 2 is the steering's."""
        preparation = Preparation(self.feedback, kappa=self.kappa)
        return train_experts(policy, data, run, self.loss, self.optim, preparation, self.pairs)


def train_experts(
    policy: Policy,
    data: TrainingData,
    run: Run,
    loss: DPO | CDPO | Regression,
    optim: Optim,
    preparation: Preparation,
    pairs: Literal["all", "widest"] = "all",
) -> Policy:
    """Train every objective's change on the pairs that the objective tells apart, `optim` for each, in place.

    A regression learns from scores in common units (see `Preparation`), DPO from who is better. Raises DataError for an
    objective that tells no pair apart, ConfigError where something besides the objectives' changes would train.
    """
    if not isinstance(loss, Regression) and preparation != Preparation():
        raise ConfigError(
            f"{type(loss).__name__} learns who is better, not by how much: leave feedback and kappa alone"
        )
    records: Sequence[Record] = [*data.train, *data.validation]
    objectives = data.objectives
    if isinstance(loss, Regression):
        loss, records, objectives = preparation.regression(loss, policy, data, run.seed)
    experts = []
    for place, objective in enumerate(objectives):
        train, held_out = (
            pairs_of(part, objective, pairs) for part in (records[: len(data.train)], records[len(data.train) :])
        )
        if not train:
            raise DataError(f"no pair of replies differs on {objective.name!r}; check its scores or comparisons")
        source = GroupSource(train, optim.batch_size, run.seed)
        experts.append(Expert(objective.name, place, source, loss, validation_groups(held_out)))
    return train_apart(policy, experts, optim, run)


class Expert(NamedTuple):
    """One expert: a name, the place of its change, what it learns from, and how."""

    name: str
    place: int
    source: Source
    loss: Loss
    held_out: Sequence[Group] = ()


def train_apart(policy: Policy, experts: Iterable[Expert], optim: Optim, run: Run) -> Policy:
    """Train every expert's change from the same start and keep it alone, `optim` for each, in place.

    What an expert learns from must ask for its change alone. Raises ConfigError where something besides the experts'
    changes would train.
    """
    if not isinstance(policy.steering, WeightedSteering) or policy.steering.shared_where is not None:
        raise ConfigError("experts share the base and nothing else; leave steering.shared_where at none")
    start = {name: tensor.clone() for name, tensor in policy.steering_state().items()}
    trained = {name: tensor.clone() for name, tensor in start.items()}
    for expert in experts:
        policy.load_steering_state(start)
        fit(policy, expert.source, expert.loss, run.stage(f"expert-{expert.name}"), optim, expert.held_out)
        _keep(trained, policy.steering_state(), expert.place)
    policy.load_steering_state(trained)
    return policy


def _keep(trained: dict[str, Tensor], now: dict[str, Tensor], place: int) -> None:
    """The expert's part; weight decay has moved the others, which had no gradient."""
    for name, tensor in now.items():
        trained[name][place] = tensor[place]


def pairs_of(records: Sequence[Record], objective: Objective, which: Literal["all", "widest"] = "all") -> list[Group]:
    """Pairs that the objective tells apart, judged under the objective alone; ConfigError for another word."""
    if which not in ("all", "widest"):
        raise ConfigError(f"pairs are all or widest, got {which!r}")
    view = one_hot if which == "all" else power_set  # of one objective: its net margin is the difference
    return [pair for record in records for group in view(record, [objective]) for pair in explode(group)]
