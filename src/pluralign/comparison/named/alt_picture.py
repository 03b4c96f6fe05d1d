"""The picture of ALT's rounds: how the categories' shares go from round to round, and the share of replies cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pluralign.evaluation.canvas import GREY, INK, bare, new_figure, png
from pluralign.evaluation.palette import colour


def rounds_picture(rounds: Mapping[str, tuple[Sequence[str], Sequence[Mapping[str, Any]]]]) -> bytes:
    """A PNG: of each row by title, its words (the best first) and its rounds, a panel with a line per word."""
    figure = new_figure(1 + 3.6 * len(rounds), 3.2)
    panels = figure.subplots(1, len(rounds), squeeze=False)[0]
    for axes, (title, (words, told)) in zip(panels, rounds.items(), strict=True):
        bare(axes)
        across = np.arange(1, len(told) + 1)
        for level, word in enumerate(words):
            shares = [100 * row["shares"][level] for row in told]
            axes.plot(across, shares, "o-", color=colour(level), lw=1.6, ms=4, label=word)
        cut_off = [100 * row["truncated"] for row in told]
        axes.plot(across, cut_off, color=GREY, lw=1.2, ls=(0, (4, 3)), label="cut off")
        axes.set_xticks(across if len(told) <= 12 else across[::2])
        axes.set_ylim(-3, 103)
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_xlabel("round", fontsize=9, color=INK)
        axes.set_ylabel("share of the replies drawn (%)", fontsize=9, color=INK)
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return png(figure)
