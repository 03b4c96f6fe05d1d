"""How likely a rating is, given a score: the attribute model of SteerLM 2.0 (arXiv 2406.08673; methods.md A10, J5).

    P(a | x, y) = Π_j P(X_j in bin a_j),     X_j ~ Beta(c r_j, c (1 − r_j)),     r_j the score as a part of its range

The bins are as many equal parts of [0, 1] as an objective has levels; r is held in [.001, .999].
"""

from __future__ import annotations

import numpy as np

from pluralign.data.condition import Condition, Targets
from pluralign.data.conversions.rating_strings import level_of, score_of
from pluralign.data.evidence import Array
from pluralign.data.objective import Objective
from pluralign.data.record import Response

LEAST = -60.0


def beta_bins(part: float, bins: int, concentration: float = 24.0) -> Array:
    """P(X in bin n) [bins] for a score that is `part` of its range; `concentration` c says how sure the score is."""
    from scipy.stats import beta

    held = min(max(part, 1e-3), 1 - 1e-3)
    edges = np.linspace(0, 1, bins + 1)
    return np.asarray(np.diff(beta.cdf(edges, concentration * held, concentration * (1 - held))))


def log_odds(
    reply: Response, asked: Condition | None, objectives: tuple[Objective, ...], levels: int, concentration: float
) -> float:
    """log P(a | x, y) in nats of the asked ratings (Targets); objectives without a score say nothing.

    No objective counts less than -60, so that one of them rules a reply out and is still a number.
    """
    assert isinstance(asked, Targets), asked
    total = 0.0
    for objective in objectives:
        score = reply.scores.get(objective.name)
        if score is None or objective.name not in asked.values:
            continue
        low, high = (level_of(end, objective, levels) for end in (objective.low, objective.high))
        first, last = (score_of(level, objective, levels) for level in (low, high))
        place = level_of(asked.values[objective.name], objective, levels) - low
        chance = beta_bins((score - first) / max(last - first, 1e-9), high - low + 1, concentration)[place]
        total += max(float(np.log(max(chance, 1e-300))), LEAST)
    return total
