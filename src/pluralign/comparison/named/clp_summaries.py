"""CLP's own comparison on summaries: 1 − V_w / V_w(RS) at every weight (Wang et al. 2024; methods.md A2, E4).

V_w(π) = (1 − α) E Σ_i w_i R_i − α KL(π ‖ π_ref), the value of the paper's objective at α = .01, with rewards as parts of
their ranges and replies to held-out prompts. RS are rewarded soups, one expert per reward. Positive is worse than soups,
negative better; only where V_w(RS) is positive. CLP stands in all layers, in attention, in the head, and in the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.comparison import kept_cells
from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.entry import Entry, made
from pluralign.comparison.named import start as begin
from pluralign.comparison.options import CompareOptions
from pluralign.data.objective import Objective, names
from pluralign.evaluation.samples import Cell
from pluralign.recipes.registry import recipe

Floats = NDArray[np.float64]
ALPHA = 0.01


def entries(options: CompareOptions) -> list[Entry]:
    """Rewarded soups, and CLP in its four places."""
    from pluralign.steering.plural import PluralSteering
    from pluralign.steering.prompt.weights import PromptWeights

    def clp(steering: Any) -> Any:
        method: Any = recipe("clp")
        sampling = replace(method.sampling, max_new_tokens=options.max_new_tokens)
        return replace(method, steering=steering, sampling=sampling)

    cut = options.max_steps
    return [
        made("RS", "soups", lambda: recipe("soups"), cut),
        made("full-CLP", "clp", lambda: clp(PluralSteering(where="all")), cut),
        made("attn-CLP", "clp", lambda: clp(PluralSteering(where="attention")), cut),
        made("logit-CLP", "clp", lambda: clp(PluralSteering(where="head")), cut),
        made("prompting", "clp", lambda: clp(PromptWeights()), cut),
    ]


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    begun = begin.start(options)
    table = begin.comparison(options, begun, entries(options))
    rows = table.rows()
    objectives = table.ground.evaluation(table.folder(table.seeds[0]), table.seeds[0]).objectives
    grid, found = _values(table, begin.done(rows), objectives)
    ratios = {title: ratio(values, found["RS"]) for title, values in found.items()} if "RS" in found else {}
    heads = [
        "weights",
        *(f"V, {title}" for title in found),
        *(f"1 − V/V(RS), {title}" for title in ratios if title != "RS"),
    ]
    body = [
        [
            ", ".join(f"{name} {share:.2f}" for name, share in zip(names(objectives), weights, strict=True) if share),
            *(float(values[place]) for values in found.values()),
            *(float(values[place]) for title, values in ratios.items() if title != "RS"),
        ]
        for place, weights in enumerate(grid)
    ]
    numbers = {"weights": grid, "values": found, "ratios": ratios}
    lines = [__doc__ or "", *begin.table(heads, body), *begin.failures(rows)]
    return begin.written(options, "CLP's comparison on summaries", command, lines, numbers)


def _values(
    table: Comparison, rows: Sequence[Row], objectives: Sequence[Objective]
) -> tuple[Floats, dict[str, Floats]]:
    """The grid [G, K], and V_w [G] of every row, mean over its seeds."""
    cells = [(row["title"], kept_cells.read(table.folder(row["seed"], row["key"]) / "cells.json.gz")) for row in rows]
    grid = np.array([cell.weights for cell in cells[0][1]]) if cells else np.zeros((0, len(objectives)))
    titles = dict.fromkeys(title for title, _ in cells)
    return grid, {
        title: np.mean([value(own, objectives) for each, own in cells if each == title], axis=0) for title in titles
    }


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
