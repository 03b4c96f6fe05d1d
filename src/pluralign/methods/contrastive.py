"""Contrastive decoding: what an expert says more than an amateur, where the expert finds it plausible.

    logits = (1 + β) log p_expert − β log p_amateur          over {v : p_expert(v) ≥ κ max p_expert}

Source: Li et al. 2022, arXiv 2210.15097; the logit form: O'Brien & Lewis 2023 (methods.md A18). The expert is a model
with a change per objective, mixed by the asked weights; the amateur is its reference, the model asked for the opposite
(DExperts' anti-expert, Liu et al. 2021), for other weights, or a model of its own (`steering/contrastive.py`). Differs
from the papers:
1. Nothing is trained there: expert and amateur are a large and a small language model. Here the expert is first trained
   on the objectives (DPO, or the regression on scores), so that there is something to ask for.
2. Replies are drawn; the papers decode greedily or by beam search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.data.objective import Objective
from pluralign.errors import ConfigError
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.experts import Experts
from pluralign.policy import Policy
from pluralign.steering.contrastive import ContrastiveSteering
from pluralign.steering.none import NoSteering
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Contrastive(Experts):
    """An expert that is asked, and an amateur that it is held against."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2210.15097", "ratings or comparisons per objective", "weights", "one per objective", "2"
    )

    amateur_model: str = ""
    """with steering.amateur=model: the amateur's folder or hub id (the same vocabulary as the expert's)"""
    steering: ContrastiveSteering = field(default_factory=ContrastiveSteering)
    """where the experts differ from the base, and the contrast"""

    def __post_init__(self) -> None:
        if bool(self.amateur_model) != (self.steering.amateur == "model"):
            raise ConfigError(
                "amateur_model and steering.amateur=model go together: give both, or neither; got "
                f"{self.amateur_model!r} and {self.steering.amateur!r}"
            )

    def new_steering(self, objectives: Sequence[Objective]) -> ContrastiveSteering:
        """An expert and its amateur."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """The expert's changes, each alone; then the amateur beside it."""
        if self.amateur_model:
            how = policy.encoder.config()
            amateur = Policy.from_base(
                self.amateur_model, NoSteering(), policy.objectives, **how, device=str(policy.device)
            )
            amateur.model.requires_grad_(False)
            policy.assist(amateur)
        return super().train(policy, data, run)
