"""CLP's own comparison on summaries: 1 − V_w / V_w(RS) at every weight (Wang et al. 2024; methods.md A2, E4).

V_w(π) = (1 − α) E Σ_i w_i R_i − α KL(π ‖ π_ref), the value of the paper's objective at α = .01, with rewards as parts of
their ranges and replies to held-out prompts. CLP stands in all layers, in attention, in the head, and in the prompt.

RS are rewarded soups in the paper's manner: one expert per reward, each trained by the same policy gradient, their weights
averaged. That is full-CLP answered under single objectives alone (`corner` 1): a copy then sees its own reward only, and
all else is frozen. A step has as many prompts for each expert as CLP's has in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.comparison import figure, kept_cells
from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.entry import Entry, made
from pluralign.comparison.ground import BASE
from pluralign.comparison.named import start as begin
from pluralign.comparison.options import CompareOptions
from pluralign.data.objective import Objective, names
from pluralign.evaluation.samples import Cell
from pluralign.recipes.registry import recipe
from pluralign.storage import atomic_write

Floats = NDArray[np.float64]
ALPHA = 0.01
RS = "RS"
ABOUT = """V is the value of the paper's objective at α = .01: (1 − α) times the weighted rewards of a reply, as parts of their
ranges, less α times its log-ratio to the start model, mean over replies and seeds. RS are rewarded soups, an expert per reward
trained by the same policy gradient. 1 − V/V(RS) is negative where a row is better than soups, and only there where V(RS)
is positive."""


def entries(options: CompareOptions, num_objectives: int) -> list[Entry]:
    """Rewarded soups, and CLP in its four places."""

    def clp(chosen: str, prompts: int = 1, **more: Any) -> Any:
        method: Any = recipe("clp", chosen)
        each = method.sampling.prompts_per_step * prompts if options.max_steps is None else 4 * prompts
        sampling = replace(method.sampling, prompts_per_step=each, max_new_tokens=options.max_new_tokens)
        return replace(method, sampling=sampling, **more)

    cut = options.max_steps
    return [
        made(RS, "clp", lambda: clp("full", num_objectives, corner=1.0), cut),
        made("full-CLP", "clp", lambda: clp("full"), cut),
        made("attn-CLP", "clp", lambda: clp("paper"), cut),
        made("logit-CLP", "clp", lambda: clp("logit"), cut),
        made("prompting", "clp", lambda: clp("prompt"), cut),
    ]


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page and its picture."""
    begun = begin.start(options)
    objectives = begun.ground.evaluation(options.work / "start", 0).objectives
    table = begin.comparison(options, begun, entries(options, len(objectives)))
    rows = table.rows()
    cells = _cells(table, begin.done(rows))
    grid = begun.ground.evaluation(options.work / "start", 0).grid
    found = {title: np.mean([value(each, objectives) for each in seeds], axis=0) for title, seeds in cells.items()}
    ratios = {title: ratio(each, found[RS]) for title, each in found.items() if title != RS} if RS in found else {}
    lines = _tables(found, ratios, grid, names(objectives))
    if cells:
        picture = options.page.with_suffix(".png")
        atomic_write(picture, _picture(table, begin.done(rows), cells, objectives, grid))
        lines += [f"![utility and distance, and fronts]({picture.name})", ""]
    numbers = {"weights": grid, "values": found, "ratios": ratios}
    return begin.NamedPage("CLP's comparison on summaries", ABOUT, lines, numbers).write(options, command, begun, rows)


def _cells(table: Comparison, rows: Sequence[Row]) -> dict[str, list[tuple[Cell, ...]]]:
    """Of each row by title, a grid of cells per seed."""
    found: dict[str, list[tuple[Cell, ...]]] = {}
    for row in rows:
        path = table.folder(row["seed"], row["key"]) / "cells.json.gz"
        found.setdefault(row["title"], []).append(kept_cells.read(path))
    return found


def _tables(
    found: Mapping[str, Floats], ratios: Mapping[str, Floats], grid: Floats, objectives: Sequence[str]
) -> list[str]:
    """The ratios, which the paper prints, and the values below them."""
    lines: list[str] = []
    if ratios:
        lines += ["## 1 − V/V(RS)", "", *_by_weights(ratios, grid, objectives)]
    elif found:
        lines += ["1 − V/V(RS) cannot be told without RS.", ""]
    return [*lines, "## V", "", *_by_weights(found, grid, objectives)] if found else lines


def _by_weights(values: Mapping[str, Floats], grid: Floats, objectives: Sequence[str]) -> list[str]:
    """A line per weight, and the mean of all."""
    body = [
        [_told(weights, objectives), *(float(each[place]) for each in values.values())]
        for place, weights in enumerate(grid)
    ]
    means = [float(np.nanmean(each)) if np.isfinite(each).any() else float("nan") for each in values.values()]
    return begin.table(["weights", *values], [*body, ["*mean*", *means]])


def _told(weights: Floats, objectives: Sequence[str]) -> str:
    return ", ".join(f"{name} {share:.2f}" for name, share in zip(objectives, weights, strict=True) if share)


def _picture(
    table: Comparison,
    rows: Sequence[Row],
    cells: Mapping[str, list[tuple[Cell, ...]]],
    objectives: Sequence[Objective],
    grid: Floats,
) -> bytes:
    """Utility against distance, and the fronts, as in a comparison of methods."""

    def mean(title: str, name: str) -> float | None:
        known = [row["numbers"][name] for row in rows if row["title"] == title and row["numbers"][name] is not None]
        return sum(known) / len(known) if known else None

    base = [cell for seed in table.seeds for cell in kept_cells.read(table.folder(seed) / BASE)]
    means = np.nanmean(np.concatenate([cell.scores for cell in base]), axis=0)
    drawn = [
        figure.Drawn(title, seeds, mean(title, "utility_gain"), mean(title, "kl_mean"))
        for title, seeds in cells.items()
    ]
    return figure.picture(drawn, objectives, means, None, grid)


def value(cells: Sequence[Cell], objectives: Sequence[Objective], alpha: float = ALPHA) -> Floats:
    """V_w [G] of one policy: its rewards as parts of their ranges, more being better, less its distance."""
    low, high = (np.array([getattr(objective, end) for objective in objectives]) for end in ("low", "high"))
    lower = np.array([objective.direction == "lower" for objective in objectives])
    shares = np.array([(np.nanmean(cell.scores, axis=0) - low) / (high - low) for cell in cells])
    rewards = np.where(lower, 1 - shares, shares)
    weights, kl = np.array([cell.weights for cell in cells]), np.array([np.nanmean(cell.logratio) for cell in cells])
    return np.asarray((1 - alpha) * (weights * rewards).sum(1) - alpha * kl)


def ratio(values: Floats, soups: Floats) -> Floats:
    """1 − V_w / V_w(RS) [G]; NaN where V_w(RS) is not positive."""
    return np.asarray(1 - values / np.where(soups > 0, soups, np.nan))
