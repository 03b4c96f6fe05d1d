"""The pictures of a report (PNG, matplotlib without its global state): front, fronts, sweeps, cross matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign.data.objective import Objective
from pluralign.evaluation.canvas import GREY, INK, bare, new_figure, png
from pluralign.evaluation.palette import colour, text_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pluralign.evaluation.report import Report


def pictures(report: Report) -> dict[str, bytes]:
    """File name -> PNG of every picture that this report has the numbers for."""
    drawn: dict[str, Figure] = {}
    sweeps = report.card.tables["sweeps"]
    if sweeps:
        best = max(sweeps, key=lambda sweep: (len(sweep["share"]), _spread(sweep)))
        drawn["front.png"] = front_figure(best, report.objectives)
        drawn["fronts.png"] = _panels(sweeps, report.objectives, draw_front, 2.3, 2.3, 0.1)
        drawn["sweeps.png"] = _panels(finest(sweeps), report.objectives, draw_sweep, 3.6, 2.4, 0.6)
    if report.card.tables["cross_matrix"] and len(report.objectives) > 1:
        drawn["cross_matrix.png"] = cross_figure(report.card.tables["cross_matrix"])
    return {name: png(figure) for name, figure in drawn.items()}


def finest(sweeps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The sweeps with the most points: those that were drawn as sweeps, or all where none was."""
    most = max(len(sweep["share"]) for sweep in sweeps)
    return [sweep for sweep in sweeps if len(sweep["share"]) == most]


def _spread(sweep: Mapping[str, Any]) -> float:
    return float(sum(shape["range"] for shape in sweep["shape"].values()))


def _panels(
    sweeps: Sequence[Mapping[str, Any]],
    objectives: Sequence[Objective],
    draw: Callable[[Axes, Mapping[str, Any], Sequence[Objective]], None],
    width: float,
    height: float,
    room: float,
) -> Figure:
    columns = min(5 if width < 3 else 3, len(sweeps))
    rows = -(-len(sweeps) // columns)
    # Fixed margins (inches): finding them by drawing takes seconds for fifteen panels.
    figure = new_figure(columns * width, rows * height, layout=None)
    figure.subplots_adjust(
        left=0.45 / (columns * width),
        right=1 - room / (columns * width),
        bottom=0.42 / (rows * height),
        top=1 - 0.1 / (rows * height),
        wspace=(0.45 + room) / (width - 0.45 - room),
        hspace=0.52 / (height - 0.52),
    )
    for place, sweep in enumerate(sweeps):
        draw(figure.add_subplot(rows, columns, place + 1), sweep, objectives)
    return figure


def _range(objectives: Sequence[Objective], name: str) -> tuple[tuple[float, float], str, str]:
    """The axis of an objective, its colour, and its colour for words."""
    place, objective = next((j, item) for j, item in enumerate(objectives) if item.name == name)
    margin = 0.05 * (objective.high - objective.low)
    return (objective.low - margin, objective.high + margin), colour(place), text_colour(place)


def draw_front(axes: Axes, sweep: Mapping[str, Any], objectives: Sequence[Objective], size: float = 4.0) -> None:
    """One pair of objectives: the policy's curve, the optimum's, and the base's point."""
    first, second = sweep["objectives"]
    (across, hue_x, word_x), (up, hue_y, word_y) = _range(objectives, first), _range(objectives, second)
    bare(axes)
    for name, style in (("optimum", "-"), ("optimum_conservative", (0, (4, 3)))):
        if name in sweep:
            axes.plot(sweep[name][first], sweep[name][second], color=GREY, lw=1.1, ls=style, zorder=1)
    axes.plot(sweep["scores"][first], sweep["scores"][second], "o-", color=INK, lw=1.6, ms=size, zorder=3)
    axes.plot(sweep["scores"][first][-1], sweep["scores"][second][-1], "o", color=hue_x, ms=size + 2.5, zorder=4)
    axes.plot(sweep["scores"][first][0], sweep["scores"][second][0], "o", color=hue_y, ms=size + 2.5, zorder=4)
    axes.plot(sweep["base"][first], sweep["base"][second], "D", color="white", mec=GREY, mew=1.4, ms=size, zorder=2)
    axes.set(xlim=across, ylim=up)
    axes.set_xlabel(first, color=word_x, fontsize=9)
    axes.set_ylabel(second, color=word_y, fontsize=9)


def front_figure(sweep: Mapping[str, Any], objectives: Sequence[Objective]) -> Figure:
    """One front, large enough to be read alone, every mark labelled where it stands."""
    figure = new_figure(5.2, 3.9)
    axes = figure.add_subplot()
    draw_front(axes, sweep, objectives, size=6.0)
    first, second = sweep["objectives"]
    _label(axes, "base", (sweep["base"][first], sweep["base"][second]), (8, -4), GREY)
    for name, end, beside, align in ((first, -1, (-7, -14), "right"), (second, 0, (-6, -46), "left")):
        word = _range(objectives, name)[2]
        point = (sweep["scores"][first][end], sweep["scores"][second][end])
        _label(axes, f"asked for{' ' if end else chr(10)}{name}", point, beside, word, align)
    for key, words, share, beside in (
        ("optimum", "exact optimum, β = .25", 0.5, (6, 6)),
        ("optimum_conservative", "β = .5", 1.0, (2, -13)),
    ):
        if key in sweep:
            curve = sweep[key]
            place = int(np.argmin(np.abs(np.array(curve["share"]) - share)))
            _label(axes, words, (curve[first][place], curve[second][place]), beside, GREY)
    axes.set_title("One model, asked for different trade-offs", fontsize=11, loc="left", color=INK)
    return figure


def _label(
    axes: Axes, words: str, point: tuple[float, float], beside: tuple[float, float], hue: str, align: str = "left"
) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]
    axes.annotate(
        words, point, beside, textcoords="offset points", fontsize=9, color=hue, ha=align, path_effects=halo, zorder=5
    )


def draw_sweep(axes: Axes, sweep: Mapping[str, Any], objectives: Sequence[Objective]) -> None:
    """Two scores while the weight moves from the second objective to the first; dashed: the optimum."""
    bare(axes)
    for name in sweep["objectives"]:
        around, hue, word = _range(objectives, name)
        scores = np.array(sweep["scores"][name])
        if sweep["intervals"]:
            low, high = np.array(sweep["intervals"][name], dtype=float).T
            axes.fill_between(sweep["share"], low, high, color=hue, alpha=0.15, lw=0)
        if "optimum" in sweep:
            axes.plot(sweep["optimum"]["share"], sweep["optimum"][name], color=hue, lw=1, ls=(0, (4, 3)), alpha=0.8)
        axes.plot(sweep["share"], scores, "o-", color=hue, lw=1.8, ms=4)
        _label(axes, name, (sweep["share"][-1], scores[-1]), (8, -3), word)
        axes.set_ylim(around)
    axes.set_xlabel(
        f"weight on {sweep['objectives'][0]} (the rest on {sweep['objectives'][1]})", fontsize=8, color=GREY
    )


def cross_figure(cross: Mapping[str, Any]) -> Figure:
    """Scores on every objective (columns) when one is asked for (rows); colour is the change from the base."""
    names, size = cross["objectives"], len(cross["objectives"])
    figure = new_figure(1.6 + 0.8 * size, 1.2 + 0.6 * size)
    axes = figure.add_subplot()
    gains = np.array(cross["gains"], dtype=float)
    limit = float(np.nanmax(np.abs(gains))) or 1.0
    axes.imshow(gains, cmap="BrBG", vmin=-limit, vmax=limit, aspect="auto")
    for row, column in np.ndindex(size, size):
        strong = abs(gains[row, column]) > 0.6 * limit
        axes.text(column, row, f"{cross['scores'][row][column]:.2f}", ha="center", va="center", fontsize=9,
                  color="white" if strong else INK, fontweight="bold" if row == column else "normal")  # fmt: skip
    axes.set_xticks(range(size), names, fontsize=9)
    axes.set_yticks(range(size), [f"asked: {name}" for name in names], fontsize=9)
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure
