"""Bradley-Terry with ties: a score for each item from who beat whom.

With d = s_i - s_j, in log-odds (Bradley and Terry 1952; without ties P(i beats j) = σ(d)):

    Davidson (1970)        P(win) ∝ e^{d/2},  P(loss) ∝ e^{-d/2},  P(tie) ∝ ν
    Rao and Kupper (1967)  P(win) = σ(d - a),  P(loss) = σ(-d - a),  a > 0; the rest is the tie (methods.md B8)

The penalty `prior`/2 · ‖s‖² (a normal prior of deviation 1/√prior) makes scores finite where an item won every time and
comparable where groups of items never met; it centres them at 0. The tie parameter is fitted too, on a log scale with
a weak prior (deviation 10); data without a tie have none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.data.evidence import Array
from pluralign.errors import ConfigError, DataError

MODELS = ("davidson", "rao_kupper")
_TIE_PRIOR = 0.01
_Terms = tuple[Array, Array, Array]  # log P, its derivatives by d and by the logarithm of the tie parameter


@dataclass(frozen=True, slots=True)
class Fit:
    """`scores` [N] in log-odds; `tie` is ν or a, None where the data have no tie; `loglikelihood` without the prior."""

    scores: Array
    tie: float | None
    loglikelihood: float


def fit(
    first: ArrayLike, second: ArrayLike, outcome: ArrayLike, num_items: int, model: str = "davidson", prior: float = 1.0
) -> Fit:
    """The scores that fit comparisons [L]: items `first` and `second`, `outcome` 1 (first won), -1 or 0 (tie).

    A convex problem (Davidson) or nearly so, by L-BFGS-B; linear in L per step. Raises ConfigError for an unknown
    model or a prior that is not positive, DataError for an item compared with itself or another outcome.
    """
    from scipy.optimize import minimize

    if model not in MODELS or not prior > 0:
        raise ConfigError(f"the model is one of {', '.join(MODELS)}, the prior above 0; got {model!r} and {prior}")
    i, j = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    sign = np.asarray(outcome, dtype=np.float64)
    if (i == j).any() or not np.isin(sign, (-1, 0, 1)).all():
        raise DataError("a comparison needs two different items and an outcome of 1, -1 or 0")
    ties = bool((sign == 0).any())

    def loss(parameters: Array) -> tuple[float, Array]:
        scores, level = parameters[:num_items], parameters[num_items] if ties else None
        log_p, slope, by_level = log_probability(scores[i] - scores[j], sign, model, level)
        pull = np.bincount(i, slope, num_items) - np.bincount(j, slope, num_items) - prior * scores
        value = log_p.sum() - prior / 2 * (scores**2).sum()
        if level is None:
            return -float(value), -pull
        last = by_level.sum() - _TIE_PRIOR * level
        return -float(value - _TIE_PRIOR / 2 * level**2), -np.append(pull, last)

    start = np.zeros(num_items + ties)
    options = {"maxiter": 2000, "maxfun": 10000, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    scores, level = found.x[:num_items], float(found.x[num_items]) if ties else None
    told = log_probability(scores[i] - scores[j], sign, model, level)[0].sum()
    return Fit(scores, None if level is None else float(np.exp(level)), float(told))


def log_probability(difference: Array, outcome: Array, model: str, level: float | None) -> _Terms:
    """log P [L] of outcomes under score differences, and its derivatives; `level` is log ν, log a, or None (no ties)."""
    if level is None:
        margin = outcome * difference
        return _log_sigmoid(margin), outcome * _sigmoid(-margin), np.zeros_like(margin)
    return (_davidson if model == "davidson" else _rao_kupper)(difference, outcome, level)


def probabilities(difference: ArrayLike, model: str = "davidson", tie: float | None = None) -> Array:
    """(win, loss, tie) probabilities [L, 3] of score differences [L] under a fitted tie parameter."""
    values = np.atleast_1d(np.asarray(difference, dtype=np.float64))
    level = None if tie is None else float(np.log(tie))
    signs = (1.0, -1.0) if level is None else (1.0, -1.0, 0.0)
    found = [np.exp(log_probability(values, np.full_like(values, sign), model, level)[0]) for sign in signs]
    return np.stack(found if level is not None else [*found, np.zeros_like(values)], axis=1)


def _davidson(difference: Array, outcome: Array, level: float) -> _Terms:
    logits = np.stack([difference / 2, -difference / 2, np.full_like(difference, level)])
    top = logits.max(0, initial=-np.inf)
    total = np.log(np.exp(logits - top).sum(0)) + top
    win, loss, tie = np.exp(logits - total)
    is_tie = outcome == 0
    log_p = np.where(is_tie, level, outcome * difference / 2) - total
    return log_p, (outcome - win + loss) / 2, np.where(is_tie, 1.0, 0.0) - tie


def _rao_kupper(difference: Array, outcome: Array, level: float) -> _Terms:
    a = float(np.exp(level))
    # a tie loses on both sides; σ(x) below is the chance to miss the win of either side
    miss_first, miss_second = _sigmoid(a - difference), _sigmoid(a + difference)
    is_tie = outcome == 0
    decided = _log_sigmoid(np.where(is_tie, 0.0, outcome) * difference - a)
    tied = np.log(np.expm1(2 * a)) if a < 300 else 2 * a  # log(e^{2a} - 1)
    tied = tied - np.logaddexp(0, a + difference) - np.logaddexp(0, a - difference)
    slope = np.where(outcome > 0, miss_first, np.where(outcome < 0, -miss_second, miss_first - miss_second))
    by_a = np.where(outcome > 0, -miss_first, -miss_second)
    by_a = np.where(is_tie, -2 / np.expm1(-2 * a) - miss_first - miss_second, by_a)
    return np.where(is_tie, tied, decided), slope, by_a * a


def _log_sigmoid(x: Array) -> Array:
    return -np.logaddexp(0, -x)


def _sigmoid(x: Array) -> NDArray[np.float64]:
    return np.exp(_log_sigmoid(x))
