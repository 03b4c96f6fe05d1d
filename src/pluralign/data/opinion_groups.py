"""Opinion groups: people who say alike, found in the matrix of who said what of which item.

In the style of Polis (Small et al. 2021; methods.md D17): a missing entry becomes its column's mean, two principal
components, k-means, k by the largest silhouette (Rousseeuw 1987). "spectral" instead clusters the leading eigenvectors
of the normalised agreement graph (Ng, Jordan and Weiss 2001), which compares two people only on what both answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.data.evidence import Array
from pluralign.errors import ConfigError, DataError

METHODS = ("kmeans", "spectral")
Places = NDArray[np.intp]
_RESTARTS = 10


@dataclass(frozen=True, slots=True)
class Clusters:
    """`group` [R] of each person, 0 the largest group; `silhouette` of the chosen k, and of every k tried."""

    group: Places
    silhouette: float
    tried: dict[int, float]


def cluster(
    answers: Array, ks: Sequence[int] = (2, 3, 4, 5), method: str = "kmeans", components: int = 2, seed: int = 0
) -> Clusters:
    """Groups of the rows of `answers` [R, I] (NaN where a person did not answer).

    Of the numbers of groups `ks` the one with the largest mean silhouette is taken (the smallest of equals); 1 may be
    among them and counts as 0. Where all rows agree, or fewer than 3 rows are there, all are one group. Repeatable
    for a seed. Raises ConfigError for an unknown method or a k below 1, DataError for a matrix without entries.
    """
    if method not in METHODS or not ks or min(ks) < 1 or components < 1:
        raise ConfigError(f"method is one of {', '.join(METHODS)}, ks and components from 1; got {method!r}, {ks}")
    if answers.ndim != 2 or not answers.size or np.isnan(answers).all():
        raise DataError("nobody answered anything, so there are no opinions to group by")
    flat = projected(imputed(answers), components) if method == "kmeans" else None
    vectors = agreement_vectors(answers) if flat is None else flat
    found = {}
    for k in sorted(set(ks)):
        points = on_sphere(vectors[:, :k]) if flat is None else flat
        if 1 < k <= min(len(np.unique(points.round(9), axis=0)), len(points) - 1):
            group = _kmeans(points, k, seed)
            found[k] = (group, silhouette(points, group))
    if not found or (1 in ks and max(value for _, value in found.values()) <= 0):
        return Clusters(np.zeros(len(answers), dtype=np.intp), 0.0, {k: value for k, (_, value) in found.items()})
    best = max(found, key=lambda k: (round(found[k][1], 9), -k))
    return Clusters(_by_size(found[best][0]), found[best][1], {k: value for k, (_, value) in found.items()})


def imputed(answers: Array) -> Array:
    """The matrix with each missing entry as its column's mean; columns nobody answered are 0."""
    known = ~np.isnan(answers)
    mean = np.where(known, answers, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    filled: Array = np.where(known, answers, mean)
    return filled


def projected(filled: Array, components: int = 2) -> Array:
    """The rows on the first principal components [R, components]; signs fixed by the largest loading."""
    centred = filled - filled.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    kept = directions[:components]
    kept = kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(1)])[:, None]
    points: Array = centred @ kept.T
    return points


def agreement_vectors(answers: Array) -> Array:
    """The eigenvectors of D^-½ A D^-½, those of the largest eigenvalues first [R, R].

    A is the agreement of two people on what both answered, 1 - mean |difference| / (largest difference of the item),
    and 0 where they share no item.
    """
    known = (~np.isnan(answers)).astype(np.float64)
    high = np.where(known > 0, answers, -np.inf).max(0)
    width = high - np.where(known > 0, answers, np.inf).min(0)
    width = np.where(np.isfinite(width) & (width > 0), width, 1.0)
    scaled = np.where(known > 0, answers, 0.0) / width
    apart = np.array([(np.abs(scaled - own) * known * mask).sum(1) for own, mask in zip(scaled, known, strict=True)])
    shared = known @ known.T
    affinity = np.where(shared > 0, 1 - apart / np.maximum(shared, 1), 0.0)
    root = np.sqrt(np.maximum(affinity.sum(1), 1e-12))
    vectors: Array = np.linalg.eigh(affinity / root[:, None] / root)[1][:, ::-1]
    return vectors


def on_sphere(points: Array) -> Array:
    """Rows of length 1 (a row of zeros stays)."""
    scaled: Array = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    return scaled


def silhouette(points: Array, group: Places) -> float:
    """The mean over rows of (b - a) / max(a, b): a the mean distance to the row's own group, b to the nearest other.

    A row alone in its group counts 0. Distances are Euclidean; memory is one row of distances at a time.
    """
    inside = np.eye(int(group.max()) + 1)[group]
    sizes = inside.sum(0)
    values = []
    for own, distances in zip(group.tolist(), _distances(points), strict=True):
        total = distances @ inside
        near = total[own] / max(sizes[own] - 1, 1)
        others = np.delete(total / sizes, own)
        far = float(others.min()) if len(others) else 0.0
        values.append(0.0 if sizes[own] == 1 or max(near, far) == 0 else (far - near) / max(near, far))
    return float(np.mean(values))


def _distances(points: Array) -> Iterator[Array]:
    for point in points:
        yield np.linalg.norm(points - point, axis=1)


def _kmeans(points: Array, k: int, seed: int) -> Places:
    """The best of several k-means++ starts; a start that loses a group is left out."""
    from scipy.cluster.vq import ClusterError, kmeans2

    best: tuple[float, Places] | None = None
    for start in range(_RESTARTS):
        try:
            begin = _spread_out(points, k, np.random.default_rng((seed, start)))
            centres, group = kmeans2(points, begin, iter=50, minit="matrix", missing="raise")
        except ClusterError:
            continue
        spread = float(((points - centres[group]) ** 2).sum())
        if best is None or spread < best[0] - 1e-12:
            best = (spread, group.astype(np.intp))
    return np.zeros(len(points), dtype=np.intp) if best is None else best[1]


def _spread_out(points: Array, k: int, rng: np.random.Generator) -> Array:
    """k rows far from each other: k-means++ (Arthur and Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < k:
        nearest = np.min([((points - points[place]) ** 2).sum(1) for place in chosen], axis=0)
        chosen.append(int(rng.choice(len(points), p=nearest / nearest.sum())))
    return points[chosen]


def _by_size(group: Places) -> Places:
    """The same groups, renumbered from the largest to the smallest, ties by the first member."""
    first = {int(name): place for place, name in reversed(list(enumerate(group.tolist())))}
    order = sorted(first, key=lambda name: (-int((group == name).sum()), first[name]))
    rank = {name: place for place, name in enumerate(order)}
    return np.array([rank[int(name)] for name in group], dtype=np.intp)
