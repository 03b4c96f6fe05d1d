"""Scalarised: reinforcement learning on one weighted sum of standardised rewards; what ppo and morlhf share.

    max_π E[ w·R(x, y) ] − β KL(π ‖ π_ref)                      R_i standardised over replies of the reference, or log σ of it

The loss is the algorithm: `PPO` (advantages per token, several passes over a rollout, `proximal.py`), or `PolicyGradient`
(RLOO: a return per reply less the mean of the prompt's other replies, `online.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pluralign.data.condition import Weights, vector
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.losses.ppo import PPO
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.online import Advantages, Array, Sampling, Scale, rollouts, view_of_returns, weighed
from pluralign.methods.steps.proximal import Proximal, Rollouts, Tokens
from pluralign.methods.steps.transforms import LogSigmoid
from pluralign.policy import Policy
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Scalarised:
    """The settings of a method that follows one weighted reward; a method adds its steering and its weights."""

    loss: PPO | PolicyGradient = field(default_factory=PPO)
    """the algorithm: PPO, or the policy gradient with the baseline of `sampling` (rloo)"""
    beta: float = 0.2
    """KL strength β in standard deviations of reward per nat; with a kl_target, where it begins (public code .2)"""
    transform: LogSigmoid | None = None
    """of standardised rewards: log σ, whose sum is a logical AND; none adds the rewards as they are"""
    sampling: Sampling = field(default_factory=lambda: Sampling(prompts_per_step=32, replies_per_prompt=2))
    """what a rollout draws; its baseline is the policy gradient's (PPO has a value function)"""
    proximal: Proximal = field(default_factory=Proximal)
    """passes, GAE and adaptive KL (PPO only)"""
    optim: Optim = field(
        default_factory=lambda: Optim(steps=1000, batch_size=8, lr=1e-5, warmup=0, schedule="constant")
    )
    """PPO: steps of batch_size prompts, epochs times over each rollout; policy gradient: a step for each rollout"""

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise ConfigError(f"beta must be a finite number from 0, got {self.beta}")
        if isinstance(self.loss, PPO):
            if self.sampling.baseline != "rloo" and self.sampling.replies_per_prompt > 1:
                raise ConfigError("PPO has a value function, no baseline of replies: leave sampling.baseline alone")
            if self.proximal.kl_target is not None and self.beta == 0:
                raise ConfigError("a kl_target moves β by shares of it; begin with a beta above 0")
        elif self.proximal != Proximal():
            raise ConfigError("proximal is about PPO; leave it alone, or take --loss PPO")

    def fit_weights(
        self, policy: Policy, data: TrainingData, run: Run, scale: Scale, weights: Weights, name: str
    ) -> None:
        """Train the model that answers `weights` on w·R, in the stage `name`."""
        scorer, stage, w = data.judge(name), run.stage(name), vector(weights, data.objectives)

        def reward(scaled: Array) -> Array:
            return weighed(w, scaled if self.transform is None else self.transform(scaled))

        def worth(record: Record, scaled: Array, rho: Array) -> Array:
            return reward(scaled) - self.beta * rho

        how = (policy, data, scorer, stage, lambda rng: weights)
        if isinstance(self.loss, PPO):
            tokens = Tokens(policy, scale, reward, self.beta, self.proximal, rollouts(stage))
            fit(policy, Rollouts(self.sampling.source(*how, tokens), self.proximal.epochs, self.optim.batch_size), self.loss, stage, self.optim)  # fmt: skip
            return
        advantages = Advantages(self.sampling.baseline, rollouts(stage))
        view = view_of_returns(policy, data.objectives, scale, worth, advantages)
        fit(policy, self.sampling.source(*how, view), self.loss, stage, self.optim)
