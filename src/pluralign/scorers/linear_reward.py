"""A linear reward model on the frozen trunk's hidden states: comparisons in, standardised scores out.

Bradley-Terry per objective, P(y ≻ y') = σ(w·(φ(y) − φ(y'))) (methods.md D1), a tie counting one half, with a ridge
penalty chosen by held-out log-loss. φ(y) = [Σh / mean length, mean h, last h, length / mean length], z-scored over
the pool; h are the trunk's last hidden states at the response's tokens. Cheap enough to be fitted inside a training.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from pluralign.data.evidence import evidence
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response
from pluralign.errors import DataError
from pluralign.logprobs import pad, trunk
from pluralign.packing import batches
from pluralign.policy import Policy
from pluralign.training.progress import Progress

log = logging.getLogger("pluralign")
Array = NDArray[np.float64]
PENALTIES = (10.0, 100.0, 1000.0)
HELD_OUT = 0.2
CLIP = 3.0
CORRUPTED = -2.5


@dataclass(frozen=True)
class Compared:
    """Differences of features [P, F] and the share of voters that preferred the first [P] (1, ½ or 0)."""

    differences: Array
    preferred: Array


@torch.no_grad()
def features(policy: Policy, records: Sequence[Record]) -> list[Array]:
    """φ of every response, a float64 [N, 3d + 1] per record, z-scored over the pool; NaN rows where one does not fit."""
    pairs = [
        policy.encoder.pair(record.messages, response.text, response.finished)
        for record in records
        for response in record.responses
    ]
    width = policy.model.get_input_embeddings().embedding_dim
    raw = np.full((len(pairs), 3 * width + 1), np.nan)
    places = [place for place, pair in enumerate(pairs) if pair is not None]
    if not places:
        raise DataError("no response fits; raise max_length, or shorten the data")
    if len(places) < len(pairs):
        log.warning("%d of %d responses do not fit and are left out", len(pairs) - len(places), len(pairs))
    lengths = [len(pairs[place][0]) + len(pairs[place][1]) for place in places]  # type: ignore[index]
    with Progress("reading the replies", len(places)) as bar:
        for batch in batches(lengths):
            chosen = [places[number] for number in batch]
            raw[chosen] = _states(policy, [pairs[place] for place in chosen])  # type: ignore[misc]
            bar.advance(len(chosen))
    length = np.nanmean(raw[:, -1])
    raw[:, :width] /= length
    raw[:, -1] /= length
    spread = np.nanstd(raw, axis=0)
    scaled = (raw - np.nanmean(raw, axis=0)) / np.where(spread > 0, spread, 1.0)
    edges = np.cumsum([len(record.responses) for record in records])[:-1]
    return np.split(scaled, edges)


def _states(policy: Policy, pairs: Sequence[tuple[list[int], list[int]]]) -> Array:
    """[Σh, mean h, last h, length] of each pair's response, with the base model's states."""
    input_ids, mask = pad(pairs, policy.device)
    with policy.steering.steered(policy.model, policy.reference_coefficients(len(pairs))):
        hidden = trunk(policy.model, input_ids).float()
    lengths = mask.sum(1, keepdim=True)
    total = (hidden * mask[..., None]).sum(1)
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
    rows = torch.arange(len(pairs), device=hidden.device)
    stacked = torch.cat([total, total / lengths, hidden[rows, last], lengths.float()], dim=1)
    return stacked.double().cpu().numpy()


def compared(records: Sequence[Record], pool: Sequence[Array], objectives: Sequence[Objective]) -> list[list[Compared]]:
    """For every objective, the comparisons of each record (records without any left out).

    Replies that do not fit and corrupted ones are compared with nothing.
    """
    found: list[list[Compared]] = [[] for _ in objectives]
    for record, rows in zip(records, pool, strict=True):
        said = evidence(record, objectives)
        corrupted = np.array([bool(response.extra.get("corrupted")) for response in record.responses])
        unusable = np.isnan(rows).any(1) | corrupted
        for k, of_objective in enumerate(found):
            pairs = [(i, j) for i, j in said.pairs() if not np.isnan(said.verdict[i, j, k])]
            pairs = [(i, j) for i, j in pairs if not (unusable[i] or unusable[j])]
            if pairs:
                first, second = np.array(pairs).T
                verdict = said.verdict[first, second, k]
                of_objective.append(Compared(rows[first] - rows[second], (verdict + 1) / 2))
    return found


def _joined(parts: Sequence[Compared]) -> Compared:
    return Compared(np.concatenate([p.differences for p in parts]), np.concatenate([p.preferred for p in parts]))


def fit_ridge(data: Compared, penalty: float) -> Array:
    """w [F] of the logistic regression without intercept: Σ log-loss + penalty/2 |w|²."""

    def objective(w: Array) -> tuple[float, Array]:
        margin = data.differences @ w
        loss = np.logaddexp(0.0, margin) - data.preferred * margin
        slope = expit(margin) - data.preferred
        return float(loss.sum() + penalty / 2 * w @ w), data.differences.T @ slope + penalty * w

    start = np.zeros(data.differences.shape[1])
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 100}).x)


def log_loss(data: Compared, w: Array) -> float:
    """Mean negative log-likelihood per comparison, nats."""
    margin = data.differences @ w
    return float((np.logaddexp(0.0, margin) - data.preferred * margin).mean())


def choose_penalty(parts: Sequence[Compared], seed: int) -> float:
    """The penalty of the lowest log-loss on held-out records (a fifth of them); the largest one with few records."""
    order = np.random.default_rng(seed).permutation(len(parts))
    num = int(HELD_OUT * len(parts))
    if num == 0:
        return PENALTIES[-1]
    held, kept = _joined([parts[i] for i in order[:num]]), _joined([parts[i] for i in order[num:]])
    return min(PENALTIES, key=lambda penalty: log_loss(held, fit_ridge(kept, penalty)))


def reward_scores(
    policy: Policy,
    records: Sequence[Record],
    objectives: Sequence[Objective],
    seed: int = 0,
    share: float | None = None,
    num_fit: int | None = None,
) -> tuple[list[Record], tuple[Objective, ...]]:
    """The records with predicted scores on every objective (range ±3), and the objectives with that range.

    Predictions are standardised over the pool; `share` of a reply's mean over the objectives is then subtracted and
    they are standardised again (None: .9 where predictions correlate above .3, else nothing). Responses with
    `extra["corrupted"]` are kept out of the fit and get -2.5 everywhere by construction. With `num_fit` only the first
    records' comparisons are learnt from. Raises DataError for an
    objective without comparisons.
    """
    pool = features(policy, records)
    columns = []
    for objective, parts in zip(objectives, compared(records[:num_fit], pool[:num_fit], objectives), strict=True):
        if not parts:
            raise DataError(f"nobody compared replies on {objective.name!r}; leave the objective out with --objectives")
        data = _joined(parts)
        columns.append(np.concatenate(pool) @ fit_ridge(data, choose_penalty(parts, seed)))
    usable = np.array([not r.extra.get("corrupted") for record in records for r in record.responses])
    scores = standardised(np.stack(columns, axis=1), usable, share)
    ranged = tuple(dataclasses.replace(o, low=-CLIP, high=CLIP, direction="higher") for o in objectives)
    return list(_with_scores(records, scores, usable, ranged)), ranged


def standardised(predictions: Array, usable: NDArray[np.bool_], share: float | None) -> Array:
    """Predictions [N, K] to mean 0, deviation 1 over the usable rows, less a common part, clipped to ±3."""
    scores = _z(predictions, usable)
    if scores.shape[1] > 1:
        known = scores[usable & ~np.isnan(scores).any(1)]  # z-scores: the mean product is the correlation
        correlation: Array = known.T @ known / max(1, len(known))
        common = correlation[np.triu_indices(len(correlation), 1)].mean()
        taken = share if share is not None else (0.9 if common > 0.3 else 0.0)
        if taken:
            scores = _z(scores - taken * scores.mean(1, keepdims=True), usable)
    return np.clip(scores, -CLIP, CLIP)


def _z(values: Array, usable: NDArray[np.bool_]) -> Array:
    known = values[usable]
    spread = np.nanstd(known, axis=0)
    return np.asarray((values - np.nanmean(known, axis=0)) / np.where(spread > 0, spread, 1.0))


def _with_scores(
    records: Sequence[Record], scores: Array, usable: NDArray[np.bool_], objectives: Sequence[Objective]
) -> Iterator[Record]:
    place = 0
    for record in records:
        responses: list[Response] = []
        for response in record.responses:
            row = scores[place] if usable[place] else np.full(len(objectives), CORRUPTED)
            known = {} if np.isnan(row).any() else dict(zip([o.name for o in objectives], row.tolist(), strict=True))
            responses.append(dataclasses.replace(response, scores=known, ratings=()))
            place += 1
        yield dataclasses.replace(record, responses=tuple(responses), comparisons=(), rankings=())
