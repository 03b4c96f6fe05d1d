"""Multipliers: how much each constraint counts, and how that follows whether it holds (methods.md C6).

    at_least   μ = σ(m)      A = (N − Σ μ_i) A_0 + Σ μ_i A_i        v ← momentum v + μ'(m) (R̂ − θ),  m ← m − lr v
    equal      μ = tanh(m)   the same; below 0 it pushes back down
    safe       μ = exp(m)    A = (A_0 + Σ μ_i A_i) / (1 + Σ μ_i)    m ← m − lr μ (R̂ − θ),  μ at most 5

Source: Moskovitz et al. 2023, arXiv 2310.04373; safe: Dai et al. 2023, arXiv 2310.12773. m begins at 0. N constraints.
The cap is that of Safe RLHF's public code: μ feeds on itself, and would be infinite after finitely many violations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import expit

from pluralign.methods.steps.online import Array
from pluralign.storage import read_json, write_json

Form = Literal["at_least", "equal", "safe"]
MOST = 5.0


def multipliers(form: Form, m: Array) -> Array:
    """μ of the free parameters m, one for each constraint."""
    return np.asarray({"at_least": expit, "equal": np.tanh, "safe": np.exp}[form](m))


def moved(form: Form, m: Array, velocity: Array, slack: Array, lr: float, momentum: float) -> tuple[Array, Array]:
    """(m, v) after a step with R̂ − θ = `slack`; a slack that nobody knows (NaN) moves nothing."""
    mu, slack = multipliers(form, m), np.nan_to_num(slack)
    slope = {"at_least": mu * (1 - mu), "equal": 1 - mu**2, "safe": mu}[form]
    velocity = slope * slack + (0.0 if form == "safe" else momentum) * velocity
    m = m - lr * velocity
    return (np.minimum(m, np.log(MOST)) if form == "safe" else m), velocity


def mixed(form: Form, own: Sequence[Array], others: Sequence[Sequence[Array]], mu: Array) -> list[Array]:
    """Advantages [N] of every record: `own` is A_0, `others` those of the constraints, weighed by mu."""
    total = float(mu.sum())
    share, scale = (1.0, 1.0 + total) if form == "safe" else (len(mu) - total, 1.0)
    return [
        (share * each + sum(m * other[n] for m, other in zip(mu, others, strict=True))) / scale
        for n, each in enumerate(own)
    ]


@dataclass(frozen=True)
class Multipliers:
    """m and v of every step, kept in `folder`, so that a run can go on: step s has what step s − 1 left.

    `form` as above; `num` constraints; `lr` and `momentum` of m.
    """

    form: Form
    num: int
    lr: float
    momentum: float
    folder: Path

    def __call__(self, step: int) -> Array:
        """μ of a step."""
        return multipliers(self.form, self._before(step)[0])

    def move(self, step: int, slack: Array) -> None:
        """The step's own R̂ − θ, for those after it."""
        m, velocity = moved(self.form, *self._before(step), slack, self.lr, self.momentum)
        about = {"m": m.tolist(), "v": velocity.tolist(), "slack": np.nan_to_num(slack).tolist()}
        write_json(self._path(step), about)

    def _before(self, step: int) -> tuple[Array, Array]:
        if step == 0:
            return np.zeros(self.num), np.zeros(self.num)
        kept = read_json(self._path(step - 1))
        return np.array(kept["m"]), np.array(kept["v"])

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:06d}" / "multipliers.json"
