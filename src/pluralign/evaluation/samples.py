"""What an evaluation draws: replies under every weight of a grid, and the same for the unsteered base.

Letters: G weights, K objectives, n replies of one cell. A value that is not known is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pluralign.data.objective import Objective, unique
from pluralign.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cell:
    """n replies drawn under one weight.

    weights [K]; prompts: the id of each reply's prompt [n]; texts [n]; scores [n, K] in the objectives' units; fluent
    [n], 1 where the reply is well formed, 0 where not; logratio [n]: log π(y|x, λ) - log π_ref(y|x) in nats; lengths
    [n] in tokens; finished [n]: False where a length limit cut the reply off. Raises DataError for uneven lengths.
    """

    weights: Floats
    prompts: tuple[str, ...]
    texts: tuple[str, ...]
    scores: Floats
    fluent: Floats
    logratio: Floats
    lengths: Floats
    finished: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        weights: Sequence[float] | Floats,
        prompts: Sequence[str],
        texts: Sequence[str],
        scores: Floats,
        fluent: Sequence[float] | Floats | None = None,
        logratio: Sequence[float] | Floats | None = None,
        lengths: Sequence[float] | Floats | None = None,
        finished: Sequence[bool] | NDArray[np.bool_] | None = None,
    ) -> Cell:
        """A cell from plain sequences; what is left out is unknown (NaN), and every reply counts as finished."""

        def known(values: Sequence[float] | Floats | None) -> Floats:
            return np.full(len(texts), np.nan) if values is None else np.asarray(values, dtype=np.float64)

        return cls(
            np.asarray(weights, dtype=np.float64),
            tuple(map(str, prompts)),
            tuple(texts),
            np.asarray(scores, dtype=np.float64),
            known(fluent),
            known(logratio),
            known(lengths),
            np.ones(len(texts), dtype=bool) if finished is None else np.asarray(finished, dtype=bool),
        )

    def __post_init__(self) -> None:
        num = len(self.texts)
        sizes = {name: len(getattr(self, name)) for name in self.__dataclass_fields__ if name != "weights"}
        if self.weights.ndim != 1 or not np.isfinite(self.weights).all():
            raise DataError(f"a cell needs finite weights [K], got {self.weights}")
        wrong = {name: size for name, size in sizes.items() if size != num}
        if wrong or not num:
            raise DataError(f"a cell needs at least one reply and as many values as replies ({num}), got {wrong}")
        if self.scores.shape != (num, len(self.weights)):
            raise DataError(
                f"a cell with weights {self.weights} needs scores [{num}, {len(self.weights)}], got {self.scores.shape}"
            )


@dataclass(frozen=True, slots=True)
class Samples:
    """An evaluation before any number is computed.

    `cells`: one per weight of the grid, one-hots of all objectives included. `base`: the unsteered base, drawn anew
    for every weight (G cells, in the same order: its row then shows what sampling alone does), or one cell for all.
    `extra`: further weights, only for sweep curves. `prompt_texts`: id -> text, to show sample replies.
    """

    objectives: tuple[Objective, ...]
    cells: tuple[Cell, ...]
    base: tuple[Cell, ...]
    extra: tuple[Cell, ...] = ()
    prompt_texts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unique(self.objectives)
        if not self.objectives or not self.cells:
            raise DataError("samples need at least one objective and one cell")
        if len(self.base) not in (1, len(self.cells)):
            raise DataError(f"the base needs 1 cell or one per weight ({len(self.cells)}), got {len(self.base)}")
        sizes = {len(cell.weights) for cell in (*self.cells, *self.base, *self.extra)}
        if sizes != {len(self.objectives)}:
            raise DataError(f"{len(self.objectives)} objectives, but cells with {sorted(sizes)} weights")

    @property
    def weights(self) -> Floats:
        """The grid: [G, K]."""
        return np.stack([cell.weights for cell in self.cells])

    @property
    def low(self) -> Floats:
        """The lower end of each objective's range: [K]."""
        return np.array([objective.low for objective in self.objectives])

    @property
    def high(self) -> Floats:
        """The upper end of each objective's range: [K]."""
        return np.array([objective.high for objective in self.objectives])

    def oriented(self, scores: Floats) -> Floats:
        """Scores [..., K] turned so that more is better: low + high - s where people want the lower end."""
        lower = np.array([objective.direction == "lower" for objective in self.objectives])
        return np.where(lower, self.low + self.high - scores, scores)
