"""Where labels stand beside points, so that one can be told from another: greedy, the first point first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DISTANCES = (10.0, 16.0, 23.0, 31.0)
MARKER = 5.0
"""Half the width of a point's mark."""
HEIGHT, LETTER = 9.0, 5.5
"""Of a label, and the width of a letter; all lengths are points of print."""


def places(points: Floats, letters: list[int]) -> Floats:
    """The middle of each label [N, 2], for points [N, 2] and the numbers of their letters [N].

    Of eight sides at a few distances each label takes the nearest where it covers no mark and no label that stands
    already; where there is none, the one that covers least.
    """
    angles = np.arange(8) * np.pi / 4 + np.pi / 4  # the upper right first
    around = np.stack([np.cos(angles), np.sin(angles)], -1)
    tried = np.concatenate([distance * around for distance in DISTANCES])
    halves = np.array([[LETTER * num / 2, HEIGHT / 2] for num in letters])
    middles: list[Floats] = []
    for place, point in enumerate(points):
        covered = [
            _overlap(point + offset, halves[place], points, np.full((len(points), 2), MARKER))
            + (_overlap(point + offset, halves[place], np.array(middles), halves[:place]) if middles else 0.0)
            for offset in tried
        ]
        middles.append(point + tried[int(np.argmin(np.round(covered, 6)))])
    return np.array(middles).reshape(-1, 2)


def _overlap(middle: Floats, half: Floats, others: Floats, halves: Floats) -> float:
    """The area that a box shares with other boxes."""
    shared = np.minimum(middle + half, others + halves) - np.maximum(middle - half, others - halves)
    return float(np.prod(np.maximum(shared, 0.0), axis=1).sum())
