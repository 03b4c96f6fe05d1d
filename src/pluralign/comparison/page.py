"""The page of a comparison (Markdown): how it was run, one line per method, and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pluralign.comparison.compare import STOP_AT, Row
from pluralign.comparison.pairs import Difference
from pluralign.comparison.row import DONE

COLUMNS = {
    "gain_mean": "gain", "gain_min": "min", "utility_gain": "utility", "hypervolume": "HV", "efficiency": "efficiency",
    "regret": "regret", "fluency_mean": "fluency", "kl_mean": "KL",
}  # fmt: skip
OPTIMA = {"base": "*base*", "optimum": "*exact optimum, β = .25*", "optimum_conservative": "*exact optimum, β = .5*"}
NO_NUMBER = "–"


@dataclass(frozen=True)
class Page:
    """What a page says. `titles`: of all rows by key, done or not; `over` says whether a row cost more than the budget;
    `differences` from `baseline`, by key."""

    title: str
    command: str
    about: Sequence[str]
    titles: Mapping[str, str]
    rows: Sequence[Row]
    seeds: Sequence[int]
    budget: float | None
    over: Callable[[Row], bool]
    baseline: str = ""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    picture: str = ""
    sort: bool = True

    def markdown(self) -> str:
        """The whole page."""
        parts = [f"# {self.title}", f"Printed by `{self.command}`.", *self.about, *self._reading()]
        parts.append("\n".join(self._table()))
        if self.picture:
            parts.append(f"![all fronts and the exact optimum]({self.picture})")
        return "\n\n".join([*parts, *self._failures()]) + "\n"

    def best(self) -> str:
        """The key of the row with the largest gain (then utility) among those within the budget; "" without any."""
        fair = [rows for rows in self._done().values() if not any(map(self.over, rows))]
        ranked = sorted(fair, key=_merit)
        return ranked[-1][0]["key"] if ranked and _merit(ranked[-1])[0] > -math.inf else ""

    def _done(self) -> dict[str, list[Row]]:
        """Finished rows by key, in the order of the entries."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if row["status"] == DONE:
                found.setdefault(row["key"], []).append(row)
        return found

    def _reading(self) -> list[str]:
        budget = (
            "no budget was set."
            if self.budget is None
            else f"the budget is {self.budget:g}; ‡ cost more, so that it is not compared as an equal, and "
            f"{STOP_AT:g} times the budget stops a training."
        )
        texts = [
            "Mean of the seeds, then each seed. `train s`: CPU seconds of all models that the method needs, with the "
            f"sampling and scoring in between; {budget} `W`: weights that the row was asked for; rows of fewer than the "
            "rest are on another scale in all columns but gain, KL and train s."
        ]
        if self.baseline:
            texts.append(
                f"Δ: the row less {self.baseline}, on the weights that both were asked for, with its 95 % interval over "
                "prompts (paired; the seeds' own spread is not in it)."
            )
        return texts

    def _table(self) -> list[str]:
        heads = ["method", *COLUMNS.values(), "W", "train s", "models trained", "passes per token"]
        heads += ["Δ gain", "Δ utility"] if self.baseline else []
        done = self._done()
        order = sorted(done, key=lambda key: _merit(done[key]), reverse=True) if self.sort else list(done)
        lines = [_line(heads), _line(["---"] * len(heads))]
        lines += [_line(self._cells(done[key])) for key in order]
        widest = max(done.values(), key=lambda rows: rows[0]["num_weights"], default=[])
        empty = [""] * (len(heads) - 1 - len(COLUMNS))
        for name, title in OPTIMA.items():
            if widest and widest[0][name]["utility_gain"] is not None:
                values = [_mean([row[name][key] for row in widest]) for key in COLUMNS]
                lines.append(_line([title, *values, *empty]))
        return lines

    def _cells(self, rows: Sequence[Row]) -> list[str]:
        first = rows[0]
        title = f"**{first['title']}**" if first["key"] == self.best() else first["title"]
        numbers = [_mean([row["numbers"][key] for row in rows], each=key == "gain_mean") for key in COLUMNS]
        seconds = f"{sum(row['train_seconds'] for row in rows) / len(rows):.0f}" + (
            "‡" if any(map(self.over, rows)) else ""
        )
        facts = first["facts"]
        cells = [title, *numbers, f"{first['num_weights']}", seconds, facts["models"], facts["passes"]]
        return cells + (self._difference(first["key"]) if self.baseline else [])

    def _difference(self, key: str) -> list[str]:
        found = self.differences.get(key)
        return [NO_NUMBER] * 2 if found is None else [_gap(found.gain), _gap(found.utility)]

    def _failures(self) -> list[str]:
        failed = [row for row in self.rows if row["status"] != DONE]
        known = {(row["key"], row["seed"]) for row in self.rows}
        missing = [
            f"{title} (seed {seed})"
            for key, title in self.titles.items()
            for seed in self.seeds
            if (key, seed) not in known
        ]
        lines = [f"- {row['title']}, seed {row['seed']}: {row['error']}" for row in failed]
        parts = ["\n".join(["Not in the table:", "", *lines])] if lines else []
        return parts + ([f"Not run yet: {', '.join(missing)}."] if missing else [])


def _merit(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean gain and mean utility; -inf where there is none."""

    def mean(name: str) -> float:
        known = [row["numbers"][name] for row in rows if row["numbers"][name] is not None]
        return sum(known) / len(known) if known else -math.inf

    return mean("gain_mean"), mean("utility_gain")


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _mean(values: Sequence[float | None], each: bool = False) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NO_NUMBER
    beside = f" ({' / '.join(f'{value:.2f}' for value in known)})" if each and len(known) > 1 else ""
    return f"{sum(known) / len(known):.2f}{beside}"


def _gap(values: tuple[float, float, float] | None) -> str:
    if values is None:
        return NO_NUMBER
    return f"{values[0]:+.2f} [{values[1]:+.2f}, {values[2]:+.2f}]"
