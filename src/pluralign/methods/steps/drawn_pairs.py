"""Drawn pairs: learning from the training data's pairs, each judged under weights that are drawn anew at every step."""

from __future__ import annotations

from dataclasses import dataclass, field

from pluralign.data.conversions.judgements import judgements
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.regression import Regression
from pluralign.methods.contract import TrainingData, validation_groups
from pluralign.methods.steps.preparation import Preparation, Prepared
from pluralign.policy import Policy
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Stage
from pluralign.training.tradeoff import TradeOffSource


@dataclass(frozen=True, kw_only=True)
class DrawnPairs:
    """The loss of pairs, and how many a step judges under how many weights."""

    loss: CDPO | DPO | Regression = field(default_factory=CDPO)
    """cDPO or DPO on who is better under the weights, or the regression on by how much"""
    weights_per_step: int = 1
    """weights under which every pair of a step is judged"""
    responses_per_prompt: int = 2
    """replies of a prompt that a step compares, all pairs"""

    def fit(self, policy: Policy, data: TrainingData, stage: Stage, optim: Optim, checkpoint_every: int = 50) -> None:
        """Train in place on `optim.batch_size` × 2 replies a step; validation records choose the checkpoint."""
        loss, (records, objectives) = self._prepared(policy, data, stage.run.seed)
        train, held_out = records[: len(data.train)], records[len(data.train) :]
        sizes = (2 * optim.batch_size, self.responses_per_prompt, self.weights_per_step)
        source = TradeOffSource(train, objectives, stage.run.seed, *sizes, isinstance(loss, Regression))
        groups = validation_groups(judgements(held_out, objectives, "trade_off"))
        fit(policy, source, loss, stage, optim, groups, checkpoint_every=checkpoint_every)

    def _prepared(self, policy: Policy, data: TrainingData, seed: int) -> tuple[CDPO | DPO | Regression, Prepared]:
        """The loss, and train and validation records in common units."""
        if isinstance(self.loss, Regression):
            loss, records, objectives = Preparation().regression(self.loss, policy, data, seed)
            return loss, (records, objectives)
        return self.loss, Preparation().signs(data)
