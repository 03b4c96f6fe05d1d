"""What a benchmark found: one JSON-able value (docs/bench.md describes it), and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pluralign.bench.flops import least_flops
from pluralign.bench.gate import Equality
from pluralign.bench.parts import Part, RatioOf
from pluralign.bench.timing import Row, Timing, ratio
from pluralign.bench.workbench import Workbench

if TYPE_CHECKING:
    from rich.table import Table

FORMAT_VERSION = 1


@dataclass
class Results:
    """Everything found, part by part; `machine`, `settings` say where and how."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    equality: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    ratios: dict[str, float | bool] = field(default_factory=dict)
    spread: dict[str, list[float]] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)

    def add_equality(self, part: str, found: Sequence[Equality]) -> None:
        """The gate's numbers of a part."""
        self.equality += [{"part": part, **each.to_json()} for each in found]

    def add_part(self, part: Part, bench: Workbench, rows: Sequence[Row], timings: Mapping[str, Timing]) -> None:
        """The rows of a part, and its ratios."""
        peak = float(self.machine["gemm_peak_gflops"]) * 1e9
        self.parts[part.name] = {
            "about": f"{part.about}, {bench.num} pairs (or groups) a step",
            "rows": [_row(row, timings[row.name], bench, peak) for row in rows],
        }
        for asked in part.ratios:
            found = ratio(timings[asked.slow], timings[asked.fast], asked.times)
            self.add_ratio(part.prefix, asked, found.value, (found.low, found.high))

    def told(self, part: Part) -> str:
        """A part's ratios in one line."""
        keys = [part.prefix + asked.key for asked in part.ratios]
        return ", ".join(f"{key} {self.ratios[key]:.2f}" for key in keys)

    def add_ratio(self, prefix: str, asked: RatioOf, value: float, spread: tuple[float, float]) -> None:
        """A number with its target."""
        key = prefix + asked.key
        self.ratios[key] = round(value, 3)
        self.spread[key] = [round(end, 3) for end in spread]
        kind = "at_most" if asked.at_least is None else "at_least"
        if asked.target is not None:
            self.targets[key] = {kind: asked.target, "met": bool(asked.met(value))}

    def to_json(self) -> dict[str, Any]:
        """The file's value: the ratios stand at its top."""
        return {
            "format_version": FORMAT_VERSION,
            "benchmark": "train",
            **self.ratios,
            "spread": self.spread,
            "targets": self.targets,
            "memory_bytes": {row: parts["growth"] for row, parts in self.memory.items()},
            "memory_parts": self.memory,
            "equality": self.equality,
            "parts": self.parts,
            "machine": self.machine,
            "settings": self.settings,
        }


def _row(row: Row, timing: Timing, bench: Workbench, peak: float) -> dict[str, Any]:
    shared, apart, head = bench.done[row.name]
    seconds = timing.median
    return {
        "name": row.name,
        "label": row.label,
        "seconds": round(seconds, 4),
        "spread": [round(end, 4) for end in timing.spread],
        "repeats": [round(each, 4) for each in timing.seconds],
        "tokens_per_second": round(shared.tokens / seconds, 1),
        "flop_utilisation": round(least_flops(bench.shape, apart, head) / seconds / peak, 4),
        "share_of_limit": round(least_flops(bench.shape, shared, head) / seconds / peak, 4),
    }


ROW_COLUMNS = ("seconds", "fastest … slowest", "tokens/s", "FLOP utilisation", "share of limit")


def row_cells(row: Mapping[str, Any]) -> list[str]:
    """A row as texts, in the order of ROW_COLUMNS."""
    low, high = row["spread"]
    return [
        f"{row['seconds']:.3f}",
        f"{low:.3f} … {high:.3f}",
        f"{row['tokens_per_second']:.0f}",
        f"{100 * row['flop_utilisation']:.0f} %",
        f"{100 * row['share_of_limit']:.0f} %",
    ]


def ratio_cells(found: Mapping[str, Any], key: str) -> list[str]:
    """(value, spread, target, met) of a key of `Results.to_json()`."""
    value, ends, target = found[key], found["spread"].get(key), found["targets"].get(key)
    shown = "" if ends is None else f"{ends[0]:.2f} … {ends[1]:.2f}"
    if target is None:
        return [f"{value:.2f}", shown, "", ""]
    bound = f"≥ {target['at_least']:g}" if "at_least" in target else f"≤ {target['at_most']:g}"
    return [f"{value:.2f}", shown, bound, "yes" if target["met"] else "NO"]


def tables(found: Mapping[str, Any]) -> list[Table]:
    """For the terminal: a table per part, and one of the ratios."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = []
    for part in found["parts"].values():
        table = Table("", *ROW_COLUMNS, title=part["about"], box=SIMPLE_HEAD)
        for row in part["rows"]:
            table.add_row(row["label"], *row_cells(row))
        made.append(table)
    numbers = Table("ratio", "value", "spread", "target", "met", title="ratios", box=SIMPLE_HEAD)
    for key in found["spread"]:
        numbers.add_row(key, *ratio_cells(found, key))
    return [*made, numbers]
