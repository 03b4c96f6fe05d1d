"""What to label next: few replies of a prompt that stand for all of them, and pairs that a policy cannot tell apart.

AEPO (Jinnai and Honda 2024, arXiv 2405.13541): of N replies choose k that are representative and unlike each other,

    (1/k) Σ_{y in Y} quality(y)  -  λ / (k(k-1)) Σ_{y != y' in Y} u(y, y'),   quality(y) = 1/(N-1) Σ_{y' != y} u(y, y')

with a similarity u, and label only those. A quality of one's own (a reward) may stand in place of the mean similarity.
The other rule is uncertainty sampling (Lewis and Gale 1994) by the DPO implicit reward (methods.md §1): the pairs whose
margin |β (ρ(y) - ρ(y'))| is smallest are hardest and teach most (Qi, Xu and Jin 2025, arXiv 2508.04149).

Fixed where the paper is silent: up to 20,000 subsets are searched in full, larger problems greedily with swaps; the
similarity by default is the cosine of word counts; the first of equal sets is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, islice
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from pluralign.data.evidence import Array
from pluralign.data.record import Record
from pluralign.errors import ConfigError

MAX_SUBSETS = 20_000
Margins = Callable[[Record], ArrayLike]
"""The implicit rewards [N] of a record's replies, β (log π - log π_ref): the hook to a policy."""


def representative(
    similarity: ArrayLike, num: int, diversity: float = 1.0, quality: ArrayLike | None = None
) -> list[int]:
    """The places of the `num` replies to label, in order, from a similarity [N, N] (symmetric; its diagonal is unused).

    `diversity` is λ >= 0: 0 takes the most typical (or best) replies, large values spread them. All replies where
    there are no more than `num`. Raises ConfigError for other shapes, num below 1, or numbers that are not finite.
    """
    u = np.asarray(similarity, dtype=np.float64)
    size = len(u) if u.ndim == 2 else -1
    if u.shape != (size, size) or num < 1 or not (np.isfinite(u).all() and diversity >= 0):
        raise ConfigError(f"select from a finite similarity [N, N], num >= 1, diversity >= 0; got {u.shape}, {num}")
    if size <= num:
        return list(range(size))
    u = np.where(np.eye(size, dtype=bool), 0.0, (u + u.T) / 2)
    own = u.sum(1) / (size - 1) if quality is None else np.asarray(quality, dtype=np.float64)
    if own.shape != (size,) or not np.isfinite(own).all():
        raise ConfigError(f"quality is one finite number per reply, [{size}]; got shape {own.shape}")

    def value(chosen: Iterable[int]) -> float:
        places = list(chosen)
        alike = u[np.ix_(places, places)].sum() / (num * (num - 1)) if num > 1 else 0.0
        return round(float(own[places].sum() / num - diversity * alike), 12)

    if comb(size, num) <= MAX_SUBSETS:
        return list(max(combinations(range(size), num), key=value))
    return _by_swaps(size, num, value)


def _by_swaps(size: int, num: int, value: Callable[[Iterable[int]], float]) -> list[int]:
    """Greedy growth, then the best single swap as long as one helps."""
    chosen: list[int] = []
    while len(chosen) < num:
        chosen.append(max((n for n in range(size) if n not in chosen), key=lambda n: value([*chosen, n])))
    while True:
        swaps = ([*chosen[:p], n, *chosen[p + 1 :]] for p in range(num) for n in range(size) if n not in chosen)
        best = max(swaps, key=value)
        if value(best) <= value(chosen):
            return sorted(chosen)
        chosen = best


def word_similarity(texts: Sequence[str]) -> Array:
    """The cosine of the texts' word counts [N, N] (lower case, split at white space); a text without words is like none."""
    bags = [Counter(text.lower().split()) for text in texts]
    place = {word: n for n, word in enumerate(dict.fromkeys(word for bag in bags for word in bag))}
    counts = np.zeros((len(bags), len(place)))
    for row, bag in enumerate(bags):
        counts[row, [place[word] for word in bag]] = list(bag.values())
    unit = counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-300)
    cosine: Array = unit @ unit.T
    return cosine


def to_label(record: Record, num: int = 2, diversity: float = 1.0) -> list[int]:
    """The places of a record's replies that are worth labelling, by their words (AEPO)."""
    return representative(word_similarity([response.text for response in record.responses]), num, diversity)


def closest(records: Iterable[Record], margins: Margins, num: int) -> list[tuple[int, int, int, float]]:
    """The `num` pairs with the smallest implicit margin: (place of the record, i, j, margin), smallest first.

    Equal margins keep the order of the file; replies whose implicit reward is NaN are in no pair. Holds every margin
    (not the records). Raises ConfigError for num below 1, or where the hook does not give one number per reply.
    """
    if num < 1:
        raise ConfigError(f"select at least 1 pair, got {num}")
    found = []
    for place, record in enumerate(records):
        rewards = np.asarray(margins(record), dtype=np.float64)
        if rewards.shape != (len(record.responses),):
            raise ConfigError(f"the hook gave shape {rewards.shape} for a record of {len(record.responses)} replies")
        for i, j in combinations(np.flatnonzero(~np.isnan(rewards)).tolist(), 2):
            found.append((place, i, j, abs(float(rewards[i] - rewards[j]))))
    return list(islice(sorted(found, key=lambda pair: pair[3]), num))
