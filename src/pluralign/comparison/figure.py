"""The picture of a comparison: how much each method gains at which distance, and every front, beside the exact optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pluralign.comparison import kept_cells, labels
from pluralign.data.objective import Objective
from pluralign.evaluation.canvas import GREY, INK, bare, new_figure, png
from pluralign.evaluation.palette import colour
from pluralign.evaluation.samples import Cell
from pluralign.evaluation.utility import REGRET_BETA, GainCurve, Yardstick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
COLOURED = 8
MAX_PAIRS = 3
PALE = "#c9ccd2"


@dataclass(frozen=True)
class Drawn:
    """A method's replies of every seed, its mean utility gain and KL, and whether it was asked for the whole grid."""

    title: str
    cells: Sequence[Sequence[Cell]]
    gain: float | None
    kl: float | None
    whole: bool = True

    def scores(self, weights: Floats) -> Floats | None:
        """Mean scores [K] under these weights over the seeds; None where it was not asked for them."""
        found = [seed[place] for seed in self.cells if (place := kept_cells.place(seed, weights)) is not None]
        return np.mean([np.nanmean(cell.scores, axis=0) for cell in found], axis=0) if found else None


def picture(
    drawn: Sequence[Drawn], objectives: Sequence[Objective], base: Floats, yardstick: Yardstick | None, grid: Floats
) -> bytes:
    """A PNG. `drawn`: the best first (the first eight have a colour); `base` [K]: mean scores; `grid`: of the report."""
    pairs = [(first, first + 1) for first in range(0, len(objectives) - 1, 2)][:MAX_PAIRS]
    figure = new_figure(6.2 + 3.1 * len(pairs), 5.0)
    columns = figure.add_gridspec(1, 1 + len(pairs), width_ratios=[1.8, *[1.0] * len(pairs)])
    left = figure.add_subplot(columns[0, 0])
    _draw_distance(left, drawn, yardstick, grid)
    for place, pair in enumerate(pairs):
        _draw_pair(figure.add_subplot(columns[0, place + 1]), drawn, objectives, pair, base, yardstick)
    _legend(figure, drawn, yardstick is not None)
    figure.draw_without_rendering()  # only then is it known where things stand
    _number(left, drawn)
    return png(figure)


def _style(place: int) -> tuple[str, int]:
    """Colour and layer of the method at `place`."""
    return (colour(place), 3 + COLOURED - place) if place < COLOURED else (PALE, 2)


def _draw_distance(axes: Axes, drawn: Sequence[Drawn], yardstick: Yardstick | None, grid: Floats) -> None:
    """Utility gained against distance from the base, whose square root is drawn: most methods stay near."""
    bare(axes)
    known = _known(drawn)
    furthest = max([1.0, *(kl for _, kl, _ in known)]) * 1.08
    if yardstick is not None:
        curve = GainCurve.of(yardstick, grid)
        across = np.linspace(0, furthest, 200)
        axes.plot(across, curve.at(across), color=GREY, lw=1.2, zorder=1)
    for place, kl, gain in known:
        hue, layer = _style(place)
        axes.plot(kl, gain, "o", color=hue, mfc=hue if drawn[place].whole else "white", mew=1.6, ms=8, zorder=layer)
    axes.set_xscale("function", functions=(_root, np.square))
    axes.set_xlim(0, furthest)
    axes.set_xticks([tick for tick in (0, 0.25, 1, 2, 4, 8, 16, 32) if tick <= furthest])
    axes.set_xlabel("distance from the base (KL, nats per reply)", fontsize=9, color=INK)
    axes.set_ylabel("utility gained over the base", fontsize=9, color=INK)


def _root(kl: Floats) -> Floats:
    return np.sqrt(np.maximum(kl, 0.0))


def _known(drawn: Sequence[Drawn]) -> list[tuple[int, float, float]]:
    """(place, KL, gain) of the methods that have both; sampled KL may fall a little below 0."""
    return [
        (place, max(each.kl, 0.0), each.gain)
        for place, each in enumerate(drawn)
        if each.gain is not None and each.kl is not None
    ]


def _number(axes: Axes, drawn: Sequence[Drawn]) -> None:
    """The legend's numbers beside the points, each where it covers nothing."""
    known = _known(drawn)
    if not known:
        return
    points = axes.transData.transform([(kl, gain) for _, kl, gain in known]) * 72 / axes.figure.dpi
    texts = [f"{place + 1}" for place, _, _ in known]
    line = {"arrowstyle": "-", "color": GREY, "lw": 0.6, "shrinkA": 0, "shrinkB": 4}
    for text, (_, kl, gain), away in zip(texts, known, labels.places(points, [*map(len, texts)]) - points, strict=True):
        # A label of up to three letters at the nearest distance needs no line.
        far = np.abs(away).max() > labels.MARKER + labels.HEIGHT + labels.GAPS[0]
        axes.annotate(
            text, (kl, gain), tuple(away), textcoords="offset points", ha="center", va="center", fontsize=8, color=INK,
            zorder=20, arrowprops=line if far else None,
        )  # fmt: skip


def _draw_pair(
    axes: Axes,
    drawn: Sequence[Drawn],
    objectives: Sequence[Objective],
    pair: tuple[int, int],
    base: Floats,
    yardstick: Yardstick | None,
) -> None:
    """Mean scores on two objectives when the one, both at .5, or the other is asked for."""
    bare(axes)
    first, second = pair
    shares = np.linspace(0, 1, 21)
    if yardstick is not None:
        best = yardstick.optimum(_between(pair, shares, len(objectives)), REGRET_BETA).scores
        axes.plot(best[:, first], best[:, second], color=GREY, lw=1.2, zorder=1)
    for place, each in reversed(list(enumerate(drawn))):
        hue, layer = _style(place)
        found = [each.scores(weights) for weights in _between(pair, np.array([0.0, 0.5, 1.0]), len(objectives))]
        line = np.array([point for point in found if point is not None])
        if len(line):
            style = "o-" if len(line) == 3 else "o"
            axes.plot(line[:, first], line[:, second], style, color=hue, lw=1.4, ms=4, zorder=layer)
    axes.plot(base[first], base[second], "D", color="white", mec=INK, mew=1.3, ms=6, zorder=20)
    axes.set_xlabel(objectives[first].name, fontsize=9, color=INK)
    axes.set_ylabel(objectives[second].name, fontsize=9, color=INK)


def _between(pair: tuple[int, int], shares: Floats, num: int) -> Floats:
    """Weights [S, K] from all on the second objective to all on the first."""
    rows = np.zeros((len(shares), num))
    rows[:, pair[0]], rows[:, pair[1]] = shares, 1 - shares
    return rows


def _legend(figure: Figure, drawn: Sequence[Drawn], known: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", ls="", color=_style(place)[0], mfc=_style(place)[0] if each.whole else "white")
        for place, each in enumerate(drawn)
    ]
    titles = [f"{place + 1} {each.title}" for place, each in enumerate(drawn)]
    handles.append(Line2D([], [], marker="D", ls="", color="white", mec=INK))
    titles.append("base")
    if known:
        handles.append(Line2D([], [], color=GREY, lw=1.2))
        titles.append("exact optimum (fronts: β = .25)")
    if not all(each.whole for each in drawn):
        handles.append(Line2D([], [], marker="o", ls="", color=GREY, mfc="white"))
        titles.append("hollow: asked for fewer weights")
    figure.legend(
        handles, titles, loc="outside lower center", ncols=min(8, len(titles)), fontsize=8, frameon=False,
        handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip
