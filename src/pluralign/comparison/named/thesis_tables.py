"""The tables and the picture of the CMPO thesis' comparison: what `thesis.py` measured, by row and attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pluralign.comparison.named import start as begin
from pluralign.comparison.named.measures import win_picture
from pluralign.storage import atomic_write

Measures = Mapping[str, Mapping[str, Any]]


def likelihoods(found: Mapping[str, Measures], attributes: Sequence[str]) -> list[str]:
    """A table per measure: rows by attributes; a measure that the data has nothing for is left out, with the reason."""
    first = found["SFT"]
    lines = [
        "## Preference accuracy",
        "",
        "Share of held-out pairs whose preferred reply is likelier when the attribute is asked for; a tie counts as wrong.",
        "",
    ]
    rows = [
        [row, *(begin.with_interval(by[name]["likelihood"], by[name]["likelihood_interval"]) for name in attributes)]
        for row, by in found.items()
    ]
    rows += [["*length alone*", *(first[name]["length_only"] for name in attributes)]]
    rows += [["*pairs*", *(f"{first[name]['num_pairs']:.0f}" for name in attributes)]]
    lines += begin.table(["", *attributes], rows)
    lines += [
        "The same of log-probability per token, and of the implicit reward (the log-probability less the reference's):",
        "",
    ]
    both = [
        [
            row,
            *(
                f"{begin.number(by[name]['per_token'])}, {begin.number(by[name]['implicit_reward'])}"
                for name in attributes
            ),
        ]
        for row, by in found.items()
    ]
    lines += begin.table(["", *attributes], both)
    lines += ["## Correlation with the scores", ""]
    if any(np.isfinite(by[name]["kendall"]) for by in found.values() for name in attributes):
        lines += [
            "Within a prompt, of log-probability and score: Kendall's tau-b (of log-probability per token), Spearman's.",
            "",
        ]
        told = [[row, *(_correlations(by[name]) for name in attributes)] for row, by in found.items()]
        lines += begin.table(["", *attributes], told)
    else:
        lines += ["None: it needs scores of at least two replies to a held-out prompt, and the data has none.", ""]
    return lines


def wins(page: Path, found: Mapping[str, Measures], attributes: Sequence[str]) -> list[str]:
    """The win rates, and their picture beside the page; nothing without any."""
    rates = {title: by for title, by in found.items() if all("win" in by[name] for name in attributes)}
    if not rates:
        return []
    lines = [
        "## Win rate",
        "",
        "Replies against the SFT model's to the same prompts: +1 a win, 0 a tie, −1 a loss; then the shares of wins, ties and losses.",
        "",
    ]
    rows = [
        [row, *(begin.with_interval(by[name]["win"], by[name]["interval"]) for name in attributes)]
        for row, by in rates.items()
    ]
    rows += [[f"{row}: wins / ties / losses", *(_shares(by[name]) for name in attributes)] for row, by in rates.items()]
    lines += begin.table(["", *attributes], rows)
    picture = page.with_suffix(".png")
    atomic_write(picture, win_picture(rates, attributes))
    return [
        *lines,
        "In the picture a tie counts one half; the broken line is the SFT model.",
        "",
        f"![win rates]({picture.name})",
        "",
    ]


def _correlations(by: Mapping[str, Any]) -> str:
    return f"{begin.number(by['kendall'])} ({begin.number(by['kendall_per_token'])}), {begin.number(by['spearman'])}"


def _shares(by: Mapping[str, Any]) -> str:
    return " / ".join(
        f"{100 * by[name]:.0f} %" if np.isfinite(by[name]) else begin.NO_NUMBER for name in ("wins", "ties", "losses")
    )
