"""Where labels stand beside points, so that one can be told from another: greedy, the first point first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GAPS = (0.5, 6.5, 13.5, 21.5)
"""Between mark and label; all lengths are points of print."""
MARKER = 5.0
"""Half the width of a point's mark."""
HEIGHT, LETTER = 9.0, 5.5
"""Of a label, and the width of a letter."""
SIDES = np.array([(1, 1), (0, 1), (1, 0), (-1, 1), (-1, 0), (1, -1), (0, -1), (-1, -1)], dtype=np.float64)


def places(points: Floats, letters: Sequence[int]) -> Floats:
    """The middle of each label [N, 2], for points [N, 2] and the numbers of their letters [N].

    Of eight sides at a few distances each label takes the nearest where it covers no mark and no label that stands
    already, the upper right first; where there is none, the one that covers least.
    """
    halves = np.array([[LETTER * num / 2, HEIGHT / 2] for num in letters]).reshape(-1, 2)
    marks = np.full((len(points), 2), MARKER)
    middles = np.zeros((0, 2))
    for point, half, before in zip(points, halves, range(len(points)), strict=True):
        tried = np.concatenate([point + SIDES * (MARKER + gap + half) for gap in GAPS])
        covered = [
            _shared(middle, half, points, marks) + _shared(middle, half, middles, halves[:before]) for middle in tried
        ]
        middles = np.vstack([middles, tried[int(np.argmin(np.round(covered, 6)))]])
    return middles


def _shared(middle: Floats, half: Floats, others: Floats, halves: Floats) -> float:
    """The area that a box shares with other boxes."""
    sides = np.minimum(middle + half, others + halves) - np.maximum(middle - half, others - halves)
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())
