"""MODPO: multi-objective DPO, one model per weight, trained on one objective's preferences with the others as a margin.

    L_w = −log σ( (1/w_k) [ β δ − w_−k · ( r_−k(y_w) − r_−k(y_l) ) ] )                     (losses/modpo.py)

Source: Zhou et al. 2023, arXiv 2310.03708 (methods.md A6). 1. Train the margin rewards r_i. 2. For every weight w train
a model on the pairs of objective k. Its optimum is the one of Σ w_i r_i with KL strength β. Differs from the paper:
1. k is the objective of the largest weight (the first of equals), unless `objective` names one for all mixed weights.
   A weight of one objective alone gets that objective's DPO model (w_k = 1 is DPO).
2. Margin rewards are by default the implicit rewards β ρ_i of one DPO model per objective, as in the paper's recipe, with
   the β of h. They are the front's own models of one objective, so that they cost nothing extra.
3. Models are LoRA adapters of one base, kept in one policy, which answers the trained weights only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from pluralign.data import condition
from pluralign.data.condition import Weights, vector
from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.group import Group, Handicap
from pluralign.data.objective import Objective, known, names
from pluralign.data.record import Record
from pluralign.data.scaling import rescaled
from pluralign.errors import ConfigError, DataError
from pluralign.losses.modpo import MODPO
from pluralign.losses.outputs import check_positive
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.methods.steps.fronts import equal_start, train_points, with_points
from pluralign.methods.steps.online import Array, rewards, weighed
from pluralign.policy import Policy
from pluralign.sampling.on_policy import log_ratios
from pluralign.sampling.pool import scored
from pluralign.steering.front import FrontSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource

SPAN = 4.0


@dataclass(frozen=True, kw_only=True)
class Modpo:
    """One model per weight."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2310.03708", "ratings or comparisons per objective", "weights (trained ones)", "one per weight", "1"
    )

    margins: Literal["experts", "scores", "scorer"] = "experts"
    """where margin rewards come from: DPO models, the data's scores, or the scorer's scores of the data's replies"""
    unit: float = 1.0
    """logits of a preference per score point, every range being scaled to 0..4 (scores and scorer only)"""
    objective: str = ""
    """whose preferences are learnt; none: at each weight the objective that weighs most (paper: one for all weights)"""
    loss: MODPO = field(default_factory=MODPO)
    """β (paper .1) and the floor of w_k; its weight is the point's"""
    optim: Optim = field(default_factory=lambda: Optim(steps=500, batch_size=16, lr=1e-4, weight_decay=0.05))
    """of every model (batch_size in pairs; paper: lr 1e-4, cosine, weight decay .05, 3 epochs)"""
    steering: FrontSteering = field(default_factory=lambda: FrontSteering(where="attention", rank=64))
    """the weights that get a model, and where it differs from the base (paper: LoRA of rank 64 on attention)"""

    def __post_init__(self) -> None:
        if self.loss.weight != 1.0:
            raise ConfigError("modpo sets loss.weight at every point; leave it at 1")
        check_positive("modpo", unit=self.unit)
        if self.unit != 1.0 and self.margins == "experts":
            raise ConfigError("unit makes rewards of scores, and margins=experts has rewards already: leave it at 1")

    def new_steering(self, objectives: Sequence[Objective]) -> FrontSteering:
        """A front of the asked points. Raises ConditionError for an objective that there is not."""
        known([self.objective] if self.objective else [], objectives)
        return with_points(self.steering, objectives)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Step 1, the margin rewards; step 2, a model for every point."""
        start = equal_start(policy)
        margins = self._margin_rewards(policy, data, run, start)

        def train(weights: Weights, name: str) -> None:
            self._fit(policy, data, run, weights, vector(weights, data.objectives), margins, name)

        return train_points(policy, start, train)

    def _margin_rewards(self, policy: Policy, data: TrainingData, run: Run, start: dict[str, Tensor]) -> list[Array]:
        """r [N, K] of every record, train and validation, in the units of h."""
        records: list[Record] = [*data.train, *data.validation]
        if self.margins == "experts":
            return self._implicit(policy, data, run, start, records)
        if self.margins == "scorer":
            path = run.stage("margins").folder / "scored.jsonl"
            records = scored(path, records, data.judge("modpo with margins=scorer"), data.objectives)
        return [self.unit * each for each in rewards(*rescaled(records, data.objectives, SPAN))]

    def _implicit(
        self, policy: Policy, data: TrainingData, run: Run, start: dict[str, Tensor], records: list[Record]
    ) -> list[Array]:
        """β ρ of a DPO model for every objective that some mixed point counts; 0 for the others."""
        found = [np.zeros((len(record.responses), len(data.objectives))) for record in records]
        steering = policy.steering
        assert isinstance(steering, FrontSteering), "the method's own steering"
        points = np.array([point for point in steering.points if np.count_nonzero(point) > 1])
        for i in np.flatnonzero(points.any(0)) if len(points) else ():
            alone, trained = np.eye(len(data.objectives))[i], steering.trained(data.objectives)
            own = condition.one_hot(data.objectives[i].name)
            asked = own if own in trained else trained[0]  # a model that the front does not keep needs a place too
            policy.load_steering_state(start)
            self._fit(policy, data, run, asked, alone, found, "")
            said = [replace(r, responses=tuple(replace(y, condition=asked) for y in r.responses)) for r in records]
            for values, rho in zip(found, log_ratios(policy, said), strict=True):
                values[:, i] = self.loss.beta * np.array(rho)
        return found

    def _fit(
        self, policy: Policy, data: TrainingData, run: Run, asked: Weights, w: Array, margins: Sequence[Array], name: str
    ) -> None:  # fmt: skip
        """The model of the weights w [K] in the place of `asked`."""
        alone = np.count_nonzero(w) == 1
        k = names(data.objectives).index(self.objective) if self.objective and not alone else int(w.argmax())
        chosen = data.objectives[k]
        others = np.where(np.arange(len(w)) == k, 0.0, w)
        both = [*data.train, *data.validation]
        pairs = [_pairs(r, chosen, asked, weighed(others, values)) for r, values in zip(both, margins, strict=True)]
        train, held_out = (list(chain(*part)) for part in (pairs[: len(data.train)], pairs[len(data.train) :]))
        if not train:
            raise DataError(f"no pair of replies differs on {chosen.name!r}; check its scores or comparisons")
        stage = run.stage(f"expert-{chosen.name}" if alone else name)
        source = GroupSource(train, self.optim.batch_size, run.seed)
        fit(policy, source, replace(self.loss, weight=float(w[k])), stage, self.optim, validation_groups(held_out))


def _pairs(record: Record, objective: Objective, asked: Weights, worth: Array) -> list[Group]:
    """The pairs that the objective tells apart, with what the others say, worth [N]; none where it is unknown."""
    found = []
    for group in one_hot(record, [objective]):
        judged = tuple(
            Handicap(0, p.chosen, p.rejected, margin)
            for p in group.preferences
            if not np.isnan(margin := float(worth[p.chosen] - worth[p.rejected]))
        )
        found += explode(replace(group, conditions=(asked,), preferences=judged))
    return found
