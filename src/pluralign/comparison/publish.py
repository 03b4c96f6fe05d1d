"""A comparison, done and written down: the page after every row, the paired differences and the picture at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pluralign.comparison import figure, kept_cells
from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.ground import BASE
from pluralign.comparison.page import Page
from pluralign.comparison.pairs import Difference, difference
from pluralign.comparison.row import DONE
from pluralign.errors import ConfigError
from pluralign.storage import atomic_write, write_json


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Where a comparison is written to and what its page says. `baseline`: the key of the row that others are compared
    with ("": none); `notes`: sentences below the heading; `sort`: the best row first."""

    comparison: Comparison
    page: Path
    title: str
    command: str
    baseline: str = ""
    notes: tuple[str, ...] = ()
    sort: bool = True

    def __post_init__(self) -> None:
        keys = [entry.key for entry in self.comparison.entries]
        if self.baseline and self.baseline not in keys:
            raise ConfigError(f"the baseline {self.baseline!r} is no row; the rows are {', '.join(keys)}")

    def publish(self) -> dict[str, Any]:
        """Do what is left to do and write the page and its picture; everything in it as JSON."""
        rows = self.comparison.rows(lambda found: self._write(self._page(found)))
        page = self._page(rows, self._differences(rows), self._draw(rows))
        self._write(page)
        gaps = {key: vars(found) for key, found in page.differences.items()}
        found = {"rows": rows, "baseline": self.baseline, "differences": gaps, "best": page.best()}
        write_json(self.comparison.work / "comparison.json", found)
        return found

    def _write(self, page: Page) -> None:
        atomic_write(self.page, page.markdown())

    def _page(self, rows: Sequence[Row], gaps: dict[str, Difference] | None = None, picture: str = "") -> Page:
        made = self.comparison
        seeds = ", ".join(map(str, made.seeds))
        about = (f"{made.ground.about} Seeds {seeds}.", *self.notes)
        return Page(
            self.title, self.command, about, {entry.key: entry.title for entry in made.entries}, rows, made.seeds, made.budget, made.over, self.baseline, gaps or {}, picture,
            self.sort,
        )  # fmt: skip

    def _cells(self, key: str) -> list[Path]:
        return [self.comparison.folder(seed, key) / "cells.json.gz" for seed in self.comparison.seeds]

    def _whole(self, rows: Sequence[Row]) -> list[str]:
        """Keys of rows that are done for every seed."""
        done = [row["key"] for row in rows if row["status"] == DONE]
        return [key for key in dict.fromkeys(done) if done.count(key) == len(self.comparison.seeds)]

    def _differences(self, rows: Sequence[Row]) -> dict[str, Difference]:
        """Of every finished row from the baseline."""
        whole = self._whole(rows)
        if self.baseline not in whole:
            return {}
        made = self.comparison
        objectives = made.ground.evaluation(made.folder(made.seeds[0]), made.seeds[0]).objectives
        pairs = {
            key: difference(self._cells(key), self._cells(self.baseline), objectives)
            for key in whole
            if key != self.baseline
        }
        return {key: found for key, found in pairs.items() if found is not None}

    def _draw(self, rows: Sequence[Row]) -> str:
        """The picture beside the page; its name, or "" where there is nothing to draw."""
        whole = self._whole(rows)
        if not whole:
            return ""
        made = self.comparison
        world = made.ground.evaluation(made.folder(made.seeds[0]), made.seeds[0])
        base = [cell for seed in made.seeds for cell in kept_cells.read(made.folder(seed) / BASE)]
        means = np.nanmean(np.concatenate([cell.scores for cell in base]), axis=0)
        drawn = [self._drawn(key, [row for row in rows if row["key"] == key], len(world.grid)) for key in whole]
        drawn.sort(key=lambda each: -(each.gain if each.gain is not None else -np.inf))
        path = self.page.with_suffix(".png")
        atomic_write(path, figure.picture(drawn, world.objectives, means, made.ground.yardstick(base), world.grid))
        return path.name

    def _drawn(self, key: str, rows: Sequence[Row], num_weights: int) -> figure.Drawn:
        def mean(name: str) -> float | None:
            known = [row["numbers"][name] for row in rows if row["numbers"][name] is not None]
            return sum(known) / len(known) if known else None

        cells = [kept_cells.read(path) for path in self._cells(key)]
        whole = rows[0]["num_weights"] == num_weights
        return figure.Drawn(rows[0]["title"], cells, mean("utility_gain"), mean("kl_mean"), whole)
