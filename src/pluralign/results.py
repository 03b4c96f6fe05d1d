"""The lab's results table: every recipe and kind of feedback, on the test prompts, beside base and optimum.

`pluralign results` writes docs/results.md. Recipes were tuned on the validation prompts only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.errors import ConfigError
from pluralign.storage import atomic_write, read_json, write_json

if TYPE_CHECKING:
    from pluralign.data.record import Record
    from pluralign.evaluation.samples import Cell

log = logging.getLogger("pluralign")
BEGIN, END = "<!-- numbers: pluralign results -->", "<!-- end of numbers -->"
NUMBERS = (
    "gain_mean", "gain_min", "spearman_mean", "utility_gain", "hypervolume",
    "fluency_mean", "fluency_min", "kl_mean", "efficiency", "regret",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One training: a recipe of CMPO on one kind of feedback (`share` of the comparisons)."""

    key: str
    title: str
    recipe: str = "default"
    raters: str = "noisy"
    share: float = 1.0


ROWS = (
    Row("default", "default (scores)"),
    Row("thesis_scaled", "thesis_scaled", "thesis_scaled"),
    Row("thesis", "thesis", "thesis"),
    Row("comparisons", "default, comparisons only", raters="comparisons"),
    Row("comparisons_sixth", "default, a sixth of the comparisons", raters="comparisons", share=1 / 6),
    Row("signs", "signs (cDPO), comparisons only", "signs", "comparisons"),
    Row("halo", "default, halo raters (ipsative)", raters="halo"),
    Row("halo_thesis", "thesis_scaled, halo raters", "thesis_scaled", "halo"),
)


def results(
    work: str | Path, page: str | Path, seeds: Sequence[int] = (0, 1), readme: str | Path | None = None
) -> list[dict[str, Any]]:
    """Do every row that is not done yet; the page is written anew after each. Returns one dictionary per row and seed.

    `readme`: a page whose text between two marks is replaced by the table's columns that matter most.
    """
    found: list[dict[str, Any]] = []
    for seed in seeds:
        for row in run_seed(Path(work), seed):
            found.append(row)
            atomic_write(page, render(found, seeds))
    if readme is not None:
        fill(Path(readme), found)
    return found


def fill(readme: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Put the short table between the marks of a page. Raises ConfigError where it has none."""
    text = readme.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ConfigError(f"{readme} has no place for the numbers: it needs the lines {BEGIN} and {END}")
    shown = [("default", "pluralign (CMPO, default)"), ("thesis_scaled", "CMPO as published, learning rate scaled")]
    lines = [
        "| mean of the seeds, test prompts | gain | utility | hypervolume | fluency | KL | efficiency |",
        "|---" * 7 + "|",
    ]
    done = {row["key"] for row in rows}
    lines += [_short(title, [row for row in rows if row["key"] == key]) for key, title in shown if key in done]
    first = [row for row in rows if row["key"] == "default"]
    lines += [_short(name, [row[name] for row in first]) for name in ("base", "optimum")]
    atomic_write(readme, "\n".join([before + mark, *lines, end]) + after)


def _short(title: str, rows: Sequence[dict[str, Any]]) -> str:
    names = ("gain_mean", "utility_gain", "hypervolume", "fluency_mean", "kl_mean", "efficiency")
    known = [[row[name] for row in rows if row[name] is not None] for name in names]
    return "| " + " | ".join([title, *(f"{sum(v) / len(v):.2f}" if v else "-" for v in known)]) + " |"


def run_seed(work: Path, seed: int) -> Iterator[dict[str, Any]]:
    """All rows of one seed: one pool, one set of base samples, a training each, and the nano world."""
    shared = _Shared(work, seed)
    yield shared.done("default") or shared.do(ROWS[0])
    yield shared.done("nano") or shared.nano()
    for row in ROWS[1:]:
        yield shared.done(row.key) or shared.do(row)


class _Shared:
    """What the rows of a seed have in common; made when first needed."""

    def __init__(self, work: Path, seed: int) -> None:
        self.folder, self.seed = work / f"seed-{seed}", seed
        self._pool: list[Record] | None = None
        self._base: tuple[Cell, ...] | None = None

    def done(self, key: str) -> dict[str, Any] | None:
        """A row that an earlier call finished."""
        path = self.folder / key / "row.json"
        return read_json(path) if path.exists() else None

    def do(self, row: Row) -> dict[str, Any]:
        """Rate, train, evaluate, and keep the row."""
        from pluralign.api import recipe
        from pluralign.evaluation.lab_run import LabEvaluation
        from pluralign.recipes.lab_job import make_pool, rate, train_in_lab

        self._pool = self._pool or make_pool(self.seed)
        records = rate(self._pool, row.raters, self.seed, row.share)  # type: ignore[arg-type]
        began = time.process_time()
        policy = train_in_lab(recipe("cmpo", row.recipe), records, self._fresh(row.key), self.seed)
        seconds = time.process_time() - began
        measure = LabEvaluation(seed=self.seed + 1, sweeps=False)
        self._base = self._base or measure.base_cells(policy)
        about = {"recipe": row.recipe, "raters": row.raters, "share": row.share, "seed": self.seed}
        report = measure.report(policy, row.title, about, self._base)
        report.write(self.folder / row.key)
        card = report.to_json()
        tables = {name: _numbers(card[name]) for name in ("base", "optimum", "optimum_conservative")}
        right = card["cross_matrix"]["num_right"]
        return self._keep(
            row.key, row.title, {**_numbers(card), **tables, "diagonal_right": right, "cpu_seconds": seconds}
        )

    def nano(self) -> dict[str, Any]:
        """The default and the scaled thesis recipe in the nano world, exactly."""
        from pluralign.api import recipe
        from pluralign.evaluation.nano_run import nano_report
        from pluralign.recipes.lab_job import make_pool, rate, train_in_lab

        records = rate(make_pool(self.seed, world="nano"), "noisy", self.seed)
        shares = {}
        for name in ("default", "thesis_scaled"):
            policy = train_in_lab(recipe("cmpo", name), records, self._fresh(f"nano-{name}"), self.seed, "nano")
            report = nano_report(policy)
            shares[name] = {"share": report.share, "kl": float(report.kl.mean()), "mass": float(report.mass.mean())}
        return self._keep("nano", "nano world, exact", shares)

    def _fresh(self, key: str) -> Path:
        """The run folder of a row; one that was broken off is begun again."""
        import shutil

        shutil.rmtree(self.folder / key, ignore_errors=True)
        return self.folder / key / "run"

    def _keep(self, key: str, title: str, values: dict[str, Any]) -> dict[str, Any]:
        row = {"key": key, "title": title, "seed": self.seed, **values}
        write_json(self.folder / key / "row.json", row)
        log.info("results: %s, seed %d done", title, self.seed)
        return row


def _numbers(card: dict[str, Any]) -> dict[str, Any]:
    return {name: card[name] for name in NUMBERS}


def render(rows: Sequence[dict[str, Any]], seeds: Sequence[int]) -> str:
    """The page: mean over the seeds, the seeds' own values behind it."""
    head = [
        "recipe",
        "gain",
        "min",
        "spearman",
        "utility",
        "HV",
        "fluency",
        "min",
        "KL",
        "efficiency",
        "regret",
        "diagonal",
        "train s",
    ]
    lines = [
        "# Results in the lab",
        "",
        f"Printed by `pluralign results` (seeds {', '.join(map(str, seeds))}). Test prompts, T = 1, 304 replies per one-hot "
        "and 152 per other weight; definitions in report.md. Recipes were tuned on the validation prompts. The mean over "
        "the seeds, then each seed. `train s` is CPU time of one process. The optimum stands on the base's own replies.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    done = {row["key"] for row in rows}
    lines += [_line(row.title, [r for r in rows if r["key"] == row.key]) for row in ROWS if row.key in done]
    missing = [row.title for row in ROWS if row.key not in done]
    reference = [r for r in rows if r["key"] == "default"]
    lines += [
        _line(name.replace("_", ", "), [r[name] for r in reference])
        for name in ("base", "optimum", "optimum_conservative")
    ]
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    return "\n".join([*lines, "", *_nano_lines([r for r in rows if r["key"] == "nano"])]) + "\n"


def _line(title: str, rows: Sequence[dict[str, Any]]) -> str:
    cells = [_cell([row.get(name) for row in rows]) for name in NUMBERS]
    right = "/".join(f"{row['diagonal_right']:g}" for row in rows if "diagonal_right" in row)
    seconds = "/".join(f"{row['cpu_seconds']:.0f}" for row in rows if "cpu_seconds" in row)
    return "| " + " | ".join([title, *cells, right or "-", seconds or "-"]) + " |"


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    each = " / ".join(f"{value:.2f}" for value in known)
    return f"{sum(known) / len(known):.2f} ({each})" if len(known) > 1 else each


def _nano_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "Nano world, exact: share of the achievable value at β_r = .25 (base 0, optimum 1).",
        "",
        "| recipe | share | KL | mass |",
        "|---|---|---|---|",
    ]
    for name in ("default", "thesis_scaled"):
        cells = [_cell([row[name][key] for row in rows]) for key in ("share", "kl", "mass")]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines
