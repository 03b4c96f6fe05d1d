"""Proximal: what PPO needs besides its loss: rewards of tokens, several passes over what was sampled, a KL strength that
adapts.

    r_t = −β ρ_t (+ R at the last token),   ρ_t = log π_old(y_t|·) − log π_ref(y_t|·)
    β ← β (1 + .1 clip(KL/target − 1, ±.2) n/horizon)                             n replies of a rollout

Source: Schulman et al. 2017, arXiv 1707.06347; Ziegler et al. 2019, arXiv 1909.08593 (methods.md C3). Differs: the value
function is no trained head but a linear model on the frozen reference's hidden states, fitted to each rollout's own
returns (`token_values.py`); so values are not clipped, and their loss, with its c_v, has no place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pluralign.data.group import Group, Text
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.ppo import ADVANTAGE, LOG_RATIO, OLD
from pluralign.methods.steps.online import Array, Scale, normalised, rewards
from pluralign.methods.steps.token_values import Owners, TokensRead, gae, predicted, read_tokens, to_go
from pluralign.policy import Policy
from pluralign.sampling.on_policy import OnPolicySource
from pluralign.storage import read_json, write_json
from pluralign.training.source import check_same

Reward = Callable[[Array], Array]
READ = 16
"""Prompts read at once where no gradient is needed."""


@dataclass(frozen=True, kw_only=True)
class Proximal:
    """PPO's numbers besides the clip. Raises ConfigError outside the ranges."""

    epochs: int = 4
    """passes over what was sampled, each in steps of optim.batch_size prompts"""
    gamma: float = 1.0
    """discount per token, γ"""
    lam: float = 0.95
    """GAE's λ: 1 is the return less the value, 0 looks one step ahead"""
    whiten: bool = True
    """advantages of a rollout to mean 0 and standard deviation 1 over its tokens"""
    kl_target: float | None = None
    """nats per reply that β is led to; none keeps β (public code: 3)"""
    kl_horizon: int = 10_000
    """replies over which β moves by the whole of .1 clip(..)"""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.kl_horizon < 1:
            raise ConfigError(f"ppo: epochs and kl_horizon are at least 1, got {self.epochs} and {self.kl_horizon}")
        if not (0 < self.gamma <= 1 and 0 <= self.lam <= 1):
            raise ConfigError(f"ppo: gamma is in (0, 1] and lam in [0, 1], got {self.gamma} and {self.lam}")
        if self.kl_target is not None and not 0 < self.kl_target < float("inf"):
            raise ConfigError(f"ppo: kl_target is a number of nats above 0, or none; got {self.kl_target}")


class Rollouts:
    """A source that goes over every rollout of another one several times, `batch_size` prompts a step."""

    live = True

    def __init__(self, inner: OnPolicySource, epochs: int, batch_size: int) -> None:
        self.inner, self.epochs = inner, epochs
        self.parts = -(-inner.prompts_per_step // batch_size)
        self._kept: tuple[int, list[Group]] = (-1, [])

    def batch(self, step: int) -> list[Group]:
        """The groups of a step; the first one of a rollout draws it."""
        rollout, turn = divmod(step, self.epochs * self.parts)
        if self._kept[0] != rollout:
            self._kept = (rollout, self.inner.batch(rollout))
        groups, (epoch, part) = self._kept[1], divmod(turn, self.parts)
        order = np.random.default_rng([self.inner.seed, rollout, epoch]).permutation(len(groups))
        return [groups[place] for place in order[part :: self.parts]]

    def texts(self) -> Sequence[Text]:
        """Nothing is known beforehand."""
        return ()

    def state(self) -> dict[str, Any]:
        """Identity only: the place follows from the step."""
        return {**self.inner.state(), "kind": "rollouts", "passes": [self.epochs, self.parts]}

    def restore(self, state: dict[str, Any]) -> None:
        """RunError unless it is the same source."""
        check_same(state, self.state(), "data")


class Tokens:
    """The view of a rollout: its replies, each token with its advantage and the sampler's log-probability.

    `reward` gives R [N] of a record's rewards [N, K] in common units; a reply without one is left out. `folder` keeps what
    a rollout came to (tokens.json: β, KL in nats per reply, mean reward, series), since the policy that drew it is gone when
    a run goes on.
    """

    def __init__(self, policy: Policy, scale: Scale, reward: Reward, beta: float, how: Proximal, folder: Path) -> None:
        self.policy, self.scale, self.reward = policy, scale, reward
        self.beta, self.how, self.folder = beta, how, folder

    def __call__(self, records: Sequence[Record], step: int) -> list[Group]:
        """A group of every record that has a reply to learn from."""
        groups, worth = self._groups(records)
        if not self._path(step).exists():
            write_json(self._path(step), self._measured(groups, worth, step))
        replies = iter(read_json(self._path(step))["series"])
        found = []
        for group in groups:
            told = [next(replies) for _ in group.responses]
            series = {name: tuple(tuple(each[name]) for each in told) for name in (ADVANTAGE, OLD, LOG_RATIO)}
            found.append(dataclasses.replace(group, series=series))
        return found

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:06d}" / "tokens.json"

    def _groups(self, records: Sequence[Record]) -> tuple[list[Group], list[Array]]:
        """The replies that have a reward and fit, and their rewards R [N]."""
        groups, worth = [], []
        for record, values in zip(records, rewards(records, self.policy.objectives), strict=True):
            found = self.reward(self.scale(values))
            fits = [self.policy.encoder.pair(record.messages, y.text, y.finished) for y in record.responses]
            kept = [n for n, pair in enumerate(fits) if pair is not None and pair[1] and not np.isnan(found[n])]
            if kept:
                replies = [record.responses[n] for n in kept]
                groups.append(Group.of(record, replies, (replies[0].condition,)))
                worth.append(found[kept])
        return groups, worth

    def _measured(self, groups: Sequence[Group], worth: Sequence[Array], step: int) -> dict[str, Any]:
        beta = self._strength(step)
        read = [
            reply for at in range(0, len(groups), READ) for reply in read_tokens(self.policy, groups[at : at + READ])
        ]
        owners = np.repeat(np.arange(len(groups), dtype=np.int64), [len(group.responses) for group in groups])
        ends = np.concatenate([*worth, np.zeros(0)])
        advantages = self._advantages(read, beta, ends, owners)
        series = [
            {ADVANTAGE: each.tolist(), OLD: reply.logprob.tolist(), LOG_RATIO: reply.log_ratio.tolist()}
            for reply, each in zip(read, advantages, strict=True)
        ]
        kl = float(np.mean([reply.log_ratio.sum() for reply in read])) if read else 0.0
        about = {"beta": beta, "kl": kl, "reward": float(ends.mean()) if read else None, "replies": len(read)}
        return {**about, "series": series}

    def _advantages(self, read: Sequence[TokensRead], beta: float, ends: Array, owners: Owners) -> list[Array]:
        """[T] of every reply, from rewards R [N] at their ends."""
        if not read:
            return []
        gains = [-beta * reply.log_ratio for reply in read]
        for gain, reward in zip(gains, ends, strict=True):
            gain[-1] += reward
        returns = [to_go(gain, self.how.gamma) for gain in gains]
        values = predicted([reply.hidden for reply in read], returns, owners)
        found = [gae(gain, value, self.how.gamma, self.how.lam) for gain, value in zip(gains, values, strict=True)]
        return normalised(found) if self.how.whiten else found

    def _strength(self, step: int) -> float:
        """β of a rollout: the first one's, led by the KL of those before."""
        if step == 0 or self.how.kl_target is None:
            return self.beta
        before = read_json(self._path(step - 1))
        return adapted(before["beta"], before["kl"], self.how.kl_target, before["replies"] / self.how.kl_horizon)


def adapted(beta: float, kl: float, target: float, share: float) -> float:
    """The next β after a rollout of this KL; `share`: its replies by the horizon."""
    return beta * (1 + 0.1 * float(np.clip(kl / target - 1, -0.2, 0.2)) * share)
