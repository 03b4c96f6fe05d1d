"""Robust recalibration: scores from comparisons of which many are missing and some are simply wrong.

The question of CURATRON (Nguyen et al. 2024, arXiv 2403.02745): observed win shares P_ij of a Bradley-Terry model are
incomplete and partly corrupted; recover the model, and with it every missing entry. There logit P is split into a
low-rank and a sparse part by robust PCA and completion. Under Bradley-Terry the low-rank part is s_i - s_j (rank 2), so
we impose that form outright, which makes the problem convex and exact:

    min over s, S   Σ_observed ½ c_ij (logit P_ij - (s_i - s_j) - S_ij)² + τ c_ij |S_ij|  +  ½ κ ‖s‖²

Minimising over S leaves Huber's loss of width τ (in log-odds), solved by reweighted least squares. S names the pairs
that were corrupted: those off by more than τ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pluralign.data.evidence import Array, aggregate, direction_signs, evidence
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError

CLIP = 0.02  # win shares are kept inside [CLIP, 1 - CLIP], as logits must be finite


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """`scores` [N] in log-odds, centred; `shares` [N, N] completed win shares σ(s_i - s_j); `corruption` [N, N] is S,
    0 where an entry is credible or was not observed."""

    scores: Array
    shares: Array
    corruption: Array


def recalibrate(
    shares: ArrayLike, counts: ArrayLike | None = None, width: float = 1.0, shrinkage: float = 1e-3, steps: int = 200
) -> Recalibrated:
    """The model behind win shares [N, N] (entry i, j: how often i beat j; NaN: not observed; the diagonal is unused).

    An entry that is given on one side only counts for both; where both are given they are averaged. `counts` [N, N]
    weigh entries (1 by default). `width` is τ > 0 in log-odds, `shrinkage` κ > 0 centres items that nothing links.
    Raises ConfigError for other shapes or numbers that are no shares.
    """
    p = np.asarray(shares, dtype=np.float64)
    c = np.ones_like(p) if counts is None else np.asarray(counts, dtype=np.float64)
    if p.ndim != 2 or p.shape[0] != p.shape[1] or c.shape != p.shape or not (width > 0 and shrinkage > 0):
        raise ConfigError(
            f"recalibration needs shares [N, N], counts alike, width and shrinkage above 0; got {p.shape}"
        )
    if ((p < 0) | (p > 1)).any() or not (c >= 0).all():
        raise ConfigError("win shares lie between 0 and 1, counts from 0")
    known = ~np.isnan(p) & ~np.eye(len(p), dtype=bool) & (c > 0)
    clipped = np.clip(np.where(known, p, 0.5), CLIP, 1 - CLIP)
    weight = np.where(known, c, 0.0)
    both = weight + weight.T
    signed = weight * np.log(clipped / (1 - clipped))
    logit = (signed - signed.T) / np.where(both > 0, both, 1.0)  # antisymmetric, weighed over both sides
    scores = _huber(logit, both / 2, width, shrinkage, steps)
    difference = scores[:, None] - scores
    left = np.where(both > 0, logit - difference, 0.0)
    corruption = np.sign(left) * np.maximum(np.abs(left) - width, 0.0)
    return Recalibrated(scores, 1 / (1 + np.exp(-difference)), corruption)


def recalibrated(record: Record, objectives: Sequence[Objective], width: float = 1.0, strength: float = 0.9) -> Record:
    """The record with a score, in log-odds, for every reply that is linked to another, on each objective where some
    reply lacks one: what is known of pairs (scores, comparisons, rankings) fills what is missing.

    A pair's win share is `strength` for the better reply and ½ for a tie. Replies that nothing links stay unscored,
    objectives that are scored throughout (or not at all) stay as they are; ratings of filled objectives go, being in
    other units. Scores of a 'lower' objective have the opposite sign. Raises ConfigError for a strength not in (½, 1).
    """
    if not 0.5 < strength < 1:
        raise ConfigError(f"the better reply wins with a share between .5 and 1, got {strength}")
    verdict = evidence(record, objectives).verdict
    signs = direction_signs(objectives)
    replies = list(record.responses)
    for k, objective in enumerate(objectives):
        own = verdict[:, :, k].copy()
        np.fill_diagonal(own, np.nan)
        linked = np.flatnonzero(~np.isnan(own).all(axis=1))
        if all(aggregate(reply).get(objective.name) is not None for reply in replies) or not len(linked):
            continue
        scores = recalibrate(0.5 + own * (strength - 0.5), width=width).scores * signs[k]
        for place in linked.tolist():
            replies[place] = _filled(replies[place], objective.name, float(scores[place]))
    return dataclasses.replace(record, responses=tuple(replies))


def _filled(reply: Response, name: str, score: float) -> Response:
    ratings = tuple(
        dataclasses.replace(each, scores={key: value for key, value in each.scores.items() if key != name})
        for each in reply.ratings
    )
    return dataclasses.replace(reply, ratings=ratings, scores={**reply.scores, name: score})


def _huber(logit: Array, weight: Array, width: float, shrinkage: float, steps: int) -> Array:
    """Scores [N] of the smallest Huber loss of antisymmetric differences, by reweighted least squares."""
    scores = np.zeros(len(logit))
    ridge = shrinkage * np.eye(len(logit))
    for _ in range(steps):
        left = np.abs(logit - (scores[:, None] - scores))
        now = weight * np.minimum(1.0, width / np.maximum(left, width))
        laplacian = np.diag(now.sum(1)) - now
        new = np.linalg.solve(laplacian + ridge, (now * logit).sum(1))
        if np.abs(new - scores).max(initial=0.0) < 1e-12:
            return new
        scores = new
    return scores
