"""RAD: reward-augmented data, every pair twice: each reply wins when its own scores are the goal.

    R(x, y, g) = − ‖g − s(y)‖²,     L = − log σ(β [ρ(y_w | g) − ρ(y_l | g)]),     g = s(y_w), then g = s(y_l) with places changed

Source: Zhang et al. 2024, arXiv 2410.08067 (methods.md A17). 1. Write the goal into the prompt. 2. Two examples per pair.
3. DPO. 4. At inference ask for the best scores: here for those that serve the asked weights best. Differs from the paper:
1. g is a vector, one score per objective (the paper's is one overall score), in whole levels; pairs whose levels are all
   equal are left out. All pairs of a prompt's replies are taken, not the best against one other.
2. The words of the prompt are ours. ρ is measured against the base after the plain prompt.
3. LoRA on attention by default, and the embeddings.
4. A base that cannot read goals may learn it first, by imitation (`first_optim`): from pairs alone it hardly does, since
   every reply wins as often as it loses. The paper's models follow instructions.
5. A share of the prompts has no goal, and so both orders of every pair: their loss is least where ρ(y_w) = ρ(y_l), which
   pulls the unconditioned model, that guidance compares with, towards the base (weakly, for a small β).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pluralign.data.conversions.reward_augmented import reward_augmented
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import DataError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.methods.steps.rated import check_share, imitate, learn_levels, partly_unasked, rated
from pluralign.policy import Policy
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Rad:
    """One model that is asked for goals."""

    facts: ClassVar[Facts] = Facts("arXiv 2410.08067", "ratings per objective", "ratings, or weights", "1", "1")

    loss: DPO | CDPO = field(default_factory=DPO)
    """DPO (β = .1) or cDPO"""
    first_optim: Optim | None = None
    """imitate every reply under its own scores first, for a base that cannot read goals (none, the paper: it can)"""
    optim: Optim = field(default_factory=lambda: Optim(lr=1e-4, steps=250, batch_size=8))
    """the optimisation (batch_size in prompts, all pairs of each)"""
    unasked_share: float = 0.1
    """share of the prompts without a goal, for guidance (paper: 0)"""
    steering: PromptLevels = field(default_factory=lambda: PromptLevels(form="goals"))
    """how goals are written, how weights become goals, and which layers learn to read them"""

    def __post_init__(self) -> None:
        check_share(self.unasked_share)

    def new_steering(self, objectives: Sequence[Objective]) -> PromptLevels:
        """Goals in the prompt."""
        return replace(self.steering)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Relabel, then DPO."""
        policy.keep_reference()
        learn_levels(policy, data.train)
        if self.first_optim is not None:
            imitate(policy, data.train, run.stage("imitation"), SFT(), self.first_optim, self.unasked_share)
        groups = relabelled(policy, data.train)
        if not groups:
            raise DataError("no two replies of a prompt are rated differently; rad compares replies of a prompt")
        held_out = relabelled(policy, data.validation) if data.validation else []
        groups = partly_unasked(groups, self.unasked_share, run.seed)
        source = GroupSource(groups, self.optim.batch_size, run.seed)
        fit(policy, source, self.loss, run.stage("rad"), self.optim, validation_groups(held_out))
        return policy


def relabelled(policy: Policy, records: Sequence[Record]) -> list[Group]:
    """Two preferences for every pair of a record's replies, under goals on the policy's levels."""
    return [group for record in rated(policy, records) for group in reward_augmented(record, policy.objectives)]
