"""Proxy tuning: a big model steered by what tuning changed in small ones; the big one is never trained.

    logits = big + a s Σ_i w_i (small_i − small_0)

Source: Liu et al. 2024, arXiv 2401.08565 (methods.md A18). 1. Tune a small model of the same vocabulary. 2. Add the
difference that tuning made in its logits to those of the big one, at every token (`steering/proxy.py`). Differs from the
paper:
1. One small expert per objective, with share a w_i, since people ask for trade-offs; the paper has one tuned model.
2. Experts are trained here, by DPO or the regression on scores, unless `tuned` names models that were tuned already (the
   paper's way: a chat model and its base).
3. A plausibility mask is an option (`steering.plausibility`), since large amounts make rare tokens win (A25).
Without `small`, the small model is a copy of the big one: then, with a = 1, the policy is MOD of the same experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pluralign.base_model import plain_model
from pluralign.data.objective import Objective
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.experts import Experts
from pluralign.policy import Policy
from pluralign.steering.contract import Steering
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.none import NoSteering
from pluralign.steering.proxy import ProxySteering
from pluralign.steering.surgery import base_state
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Proxy(Experts):
    """Small experts that steer a big model."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2401.08565", "ratings or comparisons per objective", "weights", "one small one per objective",
        "1, and of the small model one per weighted objective and one",
    )  # fmt: skip

    small: str = ""
    """the small model: a folder or hub id with the big one's vocabulary; empty: a copy of the big one"""
    tuned: tuple[str, ...] = ()
    """models tuned already, one per objective in their order, instead of training them (needs `small`)"""
    experts: MixtureSteering = field(default_factory=lambda: MixtureSteering(where="attention"))
    """where the trained experts differ from the small model"""
    steering: ProxySteering = field(default_factory=ProxySteering)
    """the amount that is added (a), and the mask"""

    def __post_init__(self) -> None:
        if self.tuned and not self.small:
            raise ConfigError("tuned models are compared with the small model that they come from; name it with small")

    def new_steering(self, objectives: Sequence[Objective]) -> ProxySteering:
        """The big model, left alone. Raises ConfigError where another number of tuned models is named."""
        if self.tuned and len(self.tuned) != len(objectives):
            raise ConfigError(f"{len(self.tuned)} tuned models for {len(objectives)} objectives; name one for each")
        return replace(self.steering, separate=bool(self.tuned))

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """1. The small experts; 2. beside the big model."""
        if self.tuned:
            models = [self._small(policy, NoSteering(shared_where=None), name) for name in (self.small, *self.tuned)]
            for model in models:
                model.model.requires_grad_(False)
            policy.assist(*models)
            return policy
        small = self._small(policy, replace(self.experts), self.small)
        policy.assist(small)  # refuses another vocabulary before anything is trained
        super().train(small, data, run)
        return policy

    def _small(self, policy: Policy, steering: Steering, source: str) -> Policy:
        """A policy on the small model, which reads prompts as the big one does."""
        how = policy.encoder.config()
        if source:
            return Policy.from_base(source, steering, policy.objectives, **how, device=str(policy.device))
        copy = plain_model(policy.model, base_state(policy.model))
        return Policy(copy, Encoder(policy.encoder.tokenizer, **how), steering, policy.objectives)
