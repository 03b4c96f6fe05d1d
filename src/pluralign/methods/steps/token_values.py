"""Token values: replies read token by token, a linear value function, and the advantages that follow.

    A_t = Σ_l (γλ)^l δ_{t+l},   δ_t = r_t + γ V_{t+1} − V_t,   V = 0 behind the last token

Source: Schulman et al. 2016, arXiv 1506.02438, eq. 16 (GAE; methods.md C3). Letters: T tokens of a reply, d hidden width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.data.group import Group
from pluralign.logprobs import trunk
from pluralign.methods.steps.online import Array
from pluralign.policy import Policy
from pluralign.token_outputs import token_outputs
from pluralign.training.batching import Collator

Owners = NDArray[np.int64]
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


@dataclass(frozen=True)
class TokensRead:
    """Of a reply's tokens: `log_ratio` [T], log π − log π_ref; `logprob` [T], log π; `hidden` [T, d], the reference's states
    before them."""

    log_ratio: Array
    logprob: Array
    hidden: Array


@torch.no_grad()
def read_tokens(policy: Policy, groups: Sequence[Group]) -> list[TokensRead]:
    """Every reply of the groups (one condition each), in order, read by the policy as it stands and by its reference."""
    batch = Collator(policy)(groups).to(policy.device)
    base, num = policy.reference, len(batch.input_ids)
    coefficients = base.reference_coefficients(num)
    plain = dataclasses.replace(batch, coefficients=coefficients[:, None])
    own, reference = token_outputs(policy, batch, False), token_outputs(base, plain, False)
    with base.steering.steered(base.model, coefficients):
        states = trunk(base.model, batch.input_ids)
    places = batch.targets_mask[:, 1:].nonzero(as_tuple=True)
    logprob, hidden = own.token_logprobs.double().cpu().numpy(), states[places].double().cpu().numpy()
    ratio = logprob - reference.token_logprobs.double().cpu().numpy()
    edges = np.cumsum(batch.lengths.cpu().numpy())[:-1]
    parts = [np.split(each, edges) for each in (ratio, logprob, hidden)]
    return [TokensRead(*(part[row] for part in parts)) for row in batch.judgements.chosen.tolist()]


def gae(gains: Array, values: Array, gamma: float = 1.0, lam: float = 0.95) -> Array:
    """Advantages [T] of rewards [T] and values [T]."""
    return to_go(gains + gamma * np.append(values[1:], 0.0) - values, gamma * lam)


def to_go(gains: Array, discount: float) -> Array:
    """Σ_l discount^l gains_{t+l}: [T] -> [T]."""
    found = np.array(gains, dtype=np.float64)
    for place in range(len(found) - 2, -1, -1):
        found[place] += discount * found[place + 1]
    return found


def predicted(hidden: Sequence[Array], returns: Sequence[Array], owners: Owners) -> list[Array]:
    """V [T] of every reply: linear in its states [T, d], fitted to the returns [T] of the other half of the prompts, so that
    no reply is measured against itself. `owners` [N] says which prompt a reply answers; a single prompt gets V = 0.

    The ridge penalty is the one with the smallest error on what it was not fitted to.
    """
    if len(set(owners.tolist())) < 2:
        return [np.zeros(len(each)) for each in returns]
    x, y = np.concatenate(hidden), np.concatenate(returns)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
    half = np.repeat(np.unique(owners, return_inverse=True)[1] % 2, [len(each) for each in returns])
    guesses = np.zeros((len(PENALTIES), len(y)))
    for own in (0, 1):
        guesses[:, half == own] = _ridge(x[half != own], y[half != own], x[half == own])
    best = ((guesses - y) ** 2).mean(1).argmin()
    return np.split(guesses[best], np.cumsum([len(each) for each in returns])[:-1])


def _ridge(x: Array, y: Array, asked: Array) -> Array:
    """Predictions [P, M] at `asked` [M, d] for every penalty; the mean is not penalised."""
    middle, level = x.mean(0), y.mean()
    x = x - middle
    sizes, vectors = np.linalg.eigh(x.T @ x)
    onto, seen = vectors.T @ (x.T @ (y - level)), (asked - middle) @ vectors
    return np.array([level + seen @ (onto / (np.maximum(sizes, 0.0) + penalty)) for penalty in PENALTIES])
