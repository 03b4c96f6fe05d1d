"""From replies to means: per cell, over replies, once as they are and once per bootstrap replicate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.evaluation import text
from pluralign.evaluation.bootstrap import Tally, draws
from pluralign.evaluation.rows import Measured
from pluralign.evaluation.samples import Cell, Samples

Floats = NDArray[np.float64]
DETAILS = ("fluency", "kl", "length", "repetition", "truncated")


@dataclass(frozen=True)
class Means:
    """Means of every feature in every cell of `samples`, [B, C, F]: B = 1 for the estimate.

    Cells: the grid, the base, the extra ones. Features: K scores (more is better), then `DETAILS`.
    """

    samples: Samples
    values: Floats
    pooled_base: Floats

    @property
    def grid(self) -> Floats:
        """The policy's cells: [B, G, F]."""
        return self.values[:, : len(self.samples.cells)]

    @property
    def base(self) -> Floats:
        """The base's cells, repeated to one per weight: [B, G, F]."""
        start, num = len(self.samples.cells), len(self.samples.base)
        cells = self.values[:, start : start + num]
        return np.broadcast_to(cells, self.grid.shape) if num == 1 else cells

    @property
    def extra(self) -> Floats:
        """The further cells: [B, E, F]."""
        return self.values[:, len(self.samples.cells) + len(self.samples.base) :]

    def scores(self, cells: Floats) -> Floats:
        """The scores of `grid`, `base` or `extra`: [B, ., K]."""
        return cells[..., : len(self.samples.objectives)]

    def detail(self, cells: Floats, name: str) -> Floats:
        """One of `DETAILS`: [B, .]."""
        return np.asarray(cells[..., len(self.samples.objectives) + DETAILS.index(name)])

    def measured(self, of_base: bool = False) -> Measured:
        """The policy, or the base as if it had been asked: its KL to itself is 0."""
        cells = self.base if of_base else self.grid
        kl = self.detail(cells, "kl")
        return Measured(
            self.samples.weights,
            self.scores(cells),
            self.pooled_base[:, : len(self.samples.objectives)],
            self.detail(cells, "fluency"),
            np.zeros_like(kl) if of_base else kl,
        )


def both(samples: Samples, num_replicates: int, seed: int) -> tuple[Means, Means | None]:
    """The means as they are, and `num_replicates` times with prompts resampled (None with a single prompt)."""
    cells = (*samples.cells, *samples.base, *samples.extra)
    ids = sorted({prompt for cell in cells for prompt in cell.prompts})
    places = {prompt: place for place, prompt in enumerate(ids)}
    index = [np.array([places[prompt] for prompt in cell.prompts]) for cell in cells]
    tally = Tally.of(index, [_features(samples, cell) for cell in cells], len(ids))
    base = slice(len(samples.cells), len(samples.cells) + len(samples.base))
    pooled = Tally(tally.sums[:, base].sum(1, keepdims=True), tally.counts[:, base].sum(1, keepdims=True))
    estimate = Means(samples, tally.means(), pooled.means()[:, 0])
    if len(ids) < 2 or num_replicates < 1:
        return estimate, None
    drawn = draws(len(ids), num_replicates, seed)
    return estimate, Means(samples, tally.means(drawn), pooled.means(drawn)[:, 0])


def _features(samples: Samples, cell: Cell) -> Floats:
    repetition = [text.repetition(reply) for reply in cell.texts]
    details = np.stack([cell.fluent, cell.logratio, cell.lengths, np.array(repetition), ~cell.finished], axis=1)
    return np.concatenate([samples.oriented(cell.scores), details.astype(np.float64)], axis=1)
