"""Whose labels can be trusted, without knowing the truth: one accuracy per worker (a rater, a labelling function).

The estimate of Dawid and Skene (1979) in its one-coin form: an item has a true class; a worker names it with
probability a_w, and each other class with (1 - a_w) / (C - 1). Expectation-maximisation from the vote shares; every
worker gets `right` and `wrong` pseudo-labels (a Beta prior), so that one who said little stays near right / (right +
wrong) = .8 by default. Where every item has one label, nothing can be learnt and all stay there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.data.evidence import Array
from pluralign.errors import ConfigError

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Truth:
    """`posterior` [N, C] of each item's class (rows of items without a label are the prior); `accuracy` [W] and number
    of labels `counts` [W] of each worker; `prior` [C]; `objective` after each step, which never falls."""

    posterior: Array
    accuracy: Array
    counts: Array
    prior: Array
    objective: tuple[float, ...]


def estimate(
    items: Places,
    workers: Places,
    labels: Places,
    shape: tuple[int, int, int],
    balanced: bool = True,
    right: float = 4.0,
    wrong: float = 1.0,
    steps: int = 500,
    tolerance: float = 1e-9,
) -> Truth:
    """The estimate from triplets [L] (item, worker, class); `shape` is (items N, workers W, classes C).

    `balanced` keeps all classes equally likely (where the order of a pair is arbitrary), else their shares are
    estimated too, with one pseudo-item each. Stops when the objective gains less than `tolerance` per label.
    Raises ConfigError for pseudo-labels that are not positive, or fewer than two classes.
    """
    num_items, num_workers, num_classes = shape
    if not (right > 0 and wrong > 0) or num_classes < 2:
        raise ConfigError(f"pseudo-labels must be above 0 and classes at least 2, got {right}, {wrong}, {num_classes}")
    counts = np.bincount(workers, minlength=num_workers).astype(np.float64)
    posterior = _shares(items, labels, num_items, num_classes)
    accuracy, prior, trail = np.zeros(num_workers), np.full(num_classes, 1 / num_classes), [-np.inf]
    for _ in range(steps):
        agreed = np.bincount(workers, weights=posterior[items, labels], minlength=num_workers)
        accuracy = (agreed + right) / (counts + right + wrong)
        if not balanced:
            prior = (posterior.sum(0) + 1) / (num_items + num_classes)
        log_joint = _log_joint(items, workers, labels, accuracy, prior, num_items)
        top = log_joint.max(axis=1, keepdims=True, initial=-np.inf)
        total = np.log(np.exp(log_joint - top).sum(1, keepdims=True)) + top
        posterior = np.exp(log_joint - total)
        beta = float((right * np.log(accuracy) + wrong * np.log1p(-accuracy)).sum())
        trail.append(float(total.sum()) + beta + (0.0 if balanced else float(np.log(prior).sum())))
        if trail[-1] - trail[-2] < tolerance * max(len(labels), 1):
            break
    return Truth(posterior, accuracy, counts, prior, tuple(trail[1:]))


def _shares(items: Places, labels: Places, num_items: int, num_classes: int) -> Array:
    votes = np.zeros((num_items, num_classes))
    np.add.at(votes, (items, labels), 1.0)
    total = votes.sum(1, keepdims=True)
    shares: Array = np.where(total > 0, votes / np.maximum(total, 1), 1 / num_classes)
    return shares


def _log_joint(items: Places, workers: Places, labels: Places, accuracy: Array, prior: Array, num_items: int) -> Array:
    """log P(class) + Σ log P(label | class), [N, C]: each label lifts its own class over all others."""
    off = np.log1p(-accuracy) - np.log(len(prior) - 1)
    lift = np.log(accuracy) - off
    log_joint: Array = np.log(prior) + np.bincount(items, weights=off[workers], minlength=num_items)[:, None]
    np.add.at(log_joint, (items, labels), lift[workers])
    return log_joint
