"""The pictures of an inspection (PNG): score histograms, correlations, conflicts, length, and judgements per rater."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign import storage
from pluralign.data.inspect.inspection import Inspection
from pluralign.data.inspect.spread import Spread
from pluralign.data.objective import Objective
from pluralign.evaluation.canvas import GREY, INK, bare, new_figure, png, whole
from pluralign.evaluation.palette import LIGHT, colour, text_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PANELS, _MOST_NUMBERS, _LEAST_REPLIES = 24, 12, 5


def pictures(seen: Inspection) -> dict[str, bytes]:
    """File name -> PNG of every picture that there are numbers for."""
    drawn: dict[str, Figure] = {}
    if any(spread.scored for spread in seen.spreads):
        drawn["scores.png"] = scores_figure(seen)
    if _known(seen.correlation):
        names = [objective.name for objective in seen.objectives]
        drawn["correlation.png"] = matrix_figure("Correlation of scores", names, seen.correlation, -1.0)
    used = [k for k, row in enumerate(seen.pairs.both) if (row > 0).sum() > 1]
    if used:
        names, conflict = [seen.axes[k] for k in used], seen.pairs.conflict[np.ix_(used, used)]
        drawn["conflict.png"] = matrix_figure("Share of pairs on which two disagree", names, conflict, 0.0)
    if seen.length.at_least or seen.pairs.by_length.any():
        drawn["length.png"] = length_figure(seen)
    if seen.raters.num:
        drawn["raters.png"] = raters_figure(seen.raters.histogram)
    return {name: png(figure) for name, figure in drawn.items()}


def write(seen: Inspection, folder: str | Path) -> list[Path]:
    """Write the pictures into a folder, each whole or not at all; their paths. Raises StorageError."""
    found = []
    for name, content in pictures(seen).items():
        found.append(Path(folder) / name)
        storage.atomic_write(found[-1], content)
    return found


def _known(matrix: Any) -> bool:
    return bool((~np.isnan(matrix) & ~np.eye(len(matrix), dtype=bool)).any())


def scores_figure(seen: Inspection) -> Figure:
    """One histogram per objective over its whole range; the line is the mean."""
    scored = [k for k, spread in enumerate(seen.spreads) if spread.scored][:_MOST_PANELS]
    columns = min(4, len(scored))
    rows = -(-len(scored) // columns)
    figure = new_figure(max(3.2, 2.6 * columns), 2.2 * rows)
    for place, k in enumerate(scored):
        axes = figure.add_subplot(rows, columns, place + 1)
        _histogram(axes, seen.objectives[k], seen.spreads[k], k)
        if place % columns == 0:
            axes.set_ylabel("replies", fontsize=8, color=GREY)
    return figure


def _histogram(axes: Axes, objective: Objective, spread: Spread, k: int) -> None:
    bare(axes)
    whole(axes)
    counts = spread.histogram["counts"]
    span = objective.high - objective.low
    if "values" in spread.histogram:
        values = spread.histogram["values"]
        apart = float(np.diff(values).min()) if len(values) > 1 else span / 10
        axes.bar(values, counts, width=0.8 * min(apart, span / 5), color=colour(k))
    else:
        axes.stairs(counts, spread.histogram["edges"], fill=True, color=colour(k))
    axes.axvline(spread.mean, color=INK, lw=1.1, ls=(0, (4, 3)))
    right = spread.mean < (objective.low + objective.high) / 2
    at = (4 if right else -4, -2)
    axes.annotate(f"mean {spread.mean:.2g}", (spread.mean, 1), at, ("data", "axes fraction"), "offset points",
                  fontsize=7, color=INK, ha="left" if right else "right", va="top")  # fmt: skip
    axes.set_xlim(objective.low - 0.11 * span, objective.high + 0.11 * span)
    wanted = " (lower is better)" if objective.direction == "lower" else ""
    axes.set_title(f"{objective.name}{wanted}", fontsize=9, loc="left", color=text_colour(k))


def matrix_figure(title: str, names: Sequence[str], matrix: Any, low: float) -> Figure:
    """A symmetric matrix as coloured fields, from `low` to 1; the numbers stand in it where there are few."""
    size = len(names)
    side = 0.62 * size if size <= _MOST_NUMBERS else 0.16 * size
    figure = new_figure(max(3.4, 1.8 + side), max(2.4, 1.2 + side))
    axes = figure.add_subplot()
    shown = np.where(np.eye(size, dtype=bool), np.nan, np.asarray(matrix, dtype=float))
    image = axes.imshow(shown, cmap="BrBG" if low < 0 else "YlOrBr", vmin=low, vmax=1.0, aspect="equal")
    if size <= _MOST_NUMBERS:
        _numbers(axes, shown, low)
    else:
        figure.colorbar(image, ax=axes, shrink=0.6)
    small = 8 if size <= _MOST_NUMBERS else 5
    turn, align = (40, "right") if size <= _MOST_NUMBERS else (90, "center")
    axes.set_xticks(range(size), names, fontsize=small, rotation=turn, ha=align)
    axes.set_yticks(range(size), names, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    return figure


def _numbers(axes: Axes, shown: Any, low: float) -> None:
    for row, column in np.ndindex(shown.shape):
        value = shown[row, column]
        if not np.isnan(value):
            strong = abs(value) > 0.6
            ink = "white" if strong else INK
            words = f"{value:.2f}" if low < 0 else f"{100 * value:.0f} %"
            axes.text(column, row, words, ha="center", va="center", fontsize=8, color=ink)


def length_figure(seen: Inspection) -> Figure:
    """Left: mean score, as a part of the range, by the reply's length; right: pairs won by the longer reply."""
    scored = bool(seen.length.at_least)
    judged = [k for k, num in enumerate(seen.pairs.by_length) if num]
    figure = new_figure(4.4 * (scored + bool(judged)), max(2.8, 0.9 + 0.28 * len(judged)))
    panels = iter(range(1, 3))
    if scored:
        _by_length(figure.add_subplot(1, scored + bool(judged), next(panels)), seen)
    if judged:
        _longer_wins(figure.add_subplot(1, scored + bool(judged), next(panels)), seen, judged)
    return figure


def _by_length(axes: Axes, seen: Inspection) -> None:
    """Means of fewer than five replies are left out: they would be the loudest."""
    bare(axes)
    shown = np.flatnonzero((seen.length.num >= _LEAST_REPLIES).any(1))
    for k, objective in enumerate(seen.objectives):
        known = np.flatnonzero(seen.length.num[:, k] >= _LEAST_REPLIES)
        if len(known):
            share = (seen.length.mean[known, k] - objective.low) / (objective.high - objective.low)
            style = "-" if k < len(LIGHT) else (0, (4, 2))  # colours repeat
            axes.plot(known, share, marker="o", ls=style, color=colour(k), lw=1.5, ms=3.5, label=objective.name)
    steps = seen.length.at_least
    axes.set_xticks(range(len(steps)), [f"{step}+" for step in steps])
    if len(shown):
        axes.set_xlim(shown[0] - 0.5, shown[-1] + 0.5)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel("length of the reply (characters)", fontsize=8, color=GREY)
    axes.set_ylabel("mean score, as part of the range", fontsize=8, color=GREY)
    if len(axes.lines) and len(axes.lines) <= _MOST_NUMBERS:
        axes.legend(fontsize=7, frameon=False)


def _longer_wins(axes: Axes, seen: Inspection, judged: Sequence[int]) -> None:
    bare(axes)
    shares = [100 * float(seen.pairs.longer_wins[k]) for k in judged]
    axes.barh(range(len(judged)), shares, color=[colour(k) for k in judged], height=0.6)
    axes.axvline(50, color=INK, lw=1.1, ls=(0, (4, 3)))
    axes.set_yticks(range(len(judged)), [seen.axes[k] for k in judged], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("pairs won by the longer reply (%)", fontsize=8, color=GREY)


def raters_figure(histogram: Sequence[tuple[int, int, int]]) -> Figure:
    """How many raters gave how many judgements."""
    figure = new_figure(4.8, 2.8)
    axes = figure.add_subplot()
    bare(axes)
    labels = [f"{low}" if low == high else f"{low} to {high}" for low, high, _ in histogram]
    bars = axes.bar(range(len(labels)), [raters for _, _, raters in histogram], color=colour(0), width=0.75)
    axes.bar_label(bars, fontsize=8, color=INK)
    turned = max(map(len, labels)) * len(labels) > 50
    axes.set_xticks(
        range(len(labels)), labels, fontsize=7, rotation=40 if turned else 0, ha="right" if turned else "center"
    )
    axes.set_xlim(-max(0.6, 2.5 - len(labels) / 2), len(labels) - 1 + max(0.6, 2.5 - len(labels) / 2))
    axes.set_xlabel("judgements", fontsize=8, color=GREY)
    axes.set_ylabel("raters", fontsize=8, color=GREY)
    whole(axes)
    return figure
