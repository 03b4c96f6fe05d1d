"""The lab's results table: every recipe and kind of feedback, on the test prompts, beside base and optimum.

`pluralign results` writes docs/results.md. Its rows are those of a comparison (`comparison/compare.py`): one pool, one
judge and one set of base replies per seed, a process for each row, nothing done twice; with a whole report beside every
row, and the nano world's exact shares. Recipes were tuned on the validation prompts only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pluralign import settings
from pluralign.comparison.compare import Comparison
from pluralign.comparison.entry import Entry, made
from pluralign.comparison.ground import LabGround
from pluralign.comparison.row import DONE
from pluralign.errors import ConfigError
from pluralign.recipes.registry import method_class, recipe
from pluralign.storage import atomic_write, fingerprint, read_json, write_json

log = logging.getLogger("pluralign")
BEGIN, END = "<!-- numbers: pluralign results -->", "<!-- end of numbers -->"
NUMBERS = (
    "gain_mean", "gain_min", "spearman_mean", "utility_gain", "hypervolume",
    "fluency_mean", "fluency_min", "kl_mean", "efficiency", "regret",
)  # fmt: skip
REFERENCES = ("base", "optimum", "optimum_conservative")
NANO = ("default", "thesis_scaled")


class Line(NamedTuple):
    """One training: a recipe of a method on one kind of feedback (`share` of the comparisons)."""

    key: str
    title: str
    recipe: str = "default"
    raters: Literal["noisy", "halo", "comparisons"] = "noisy"
    share: float = 1.0
    method: str = "cmpo"


LINES = (
    Line("default", "default (scores)"),
    Line("thesis_scaled", "thesis_scaled", "thesis_scaled"),
    Line("thesis", "thesis", "thesis"),
    Line("comparisons", "default, comparisons only", raters="comparisons"),
    Line("comparisons_sixth", "default, a sixth of the comparisons", raters="comparisons", share=1 / 6),
    Line("signs", "signs (cDPO), comparisons only", "signs", "comparisons"),
    Line("mod", "MOD, 6 DPO experts, comparisons only", "dpo_experts", "comparisons", method="mod"),
    Line("halo", "default, halo raters (ipsative)", raters="halo"),
    Line("halo_thesis", "thesis_scaled, halo raters", "thesis_scaled", "halo"),
)
TITLES = {line.key: line.title for line in LINES}


def entries(max_steps: int | None = None) -> tuple[Entry, ...]:
    """The rows of the table; `max_steps` shortens every training, for a trial."""
    return tuple(_entry(line, max_steps) for line in LINES)


def _entry(line: Line, max_steps: int | None) -> Entry:
    judged: dict[str, Any] = {"raters": line.raters, "share": line.share, "report": True}
    entry = made(line.key, line.method, lambda: recipe(line.method, line.recipe), max_steps=max_steps, **judged)
    return replace(entry, title=line.title)


def results(
    work: str | Path,
    page: str | Path,
    seeds: Sequence[int] = (0, 1),
    readme: str | Path | None = None,
    ground: LabGround | None = None,
    rows: Sequence[Entry] | None = None,
) -> list[dict[str, Any]]:
    """Do every row that is not done yet; the page is written anew after each. Returns one dictionary per row and seed.

    `readme`: a page whose text between two marks is replaced by the table's columns that matter most. `ground` and
    `rows`: a smaller lab and other rows, for a trial. Raises RunError where the pool cannot be made.
    """
    world = ground or LabGround()
    done = Comparison(entries=tuple(rows or entries()), ground=world, work=Path(work), seeds=tuple(seeds))
    found: list[dict[str, Any]] = []

    def told(rows: Sequence[Mapping[str, Any]]) -> None:
        found[:] = [_flat(row) for row in rows]
        atomic_write(page, render(found, seeds, world))

    told(done.rows(told))
    for seed in seeds:
        found.append(nano(done.folder(seed), seed, world.pool, _nano_recipes(done.entries)))
        atomic_write(page, render(found, seeds, world))
    if readme is not None:
        fill(Path(readme), found)
    return found


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the table shows of a comparison's row; of one that is not done, its error."""
    about = {name: row[name] for name in ("key", "title", "seed")}
    if row["status"] != DONE:
        return {**about, "error": row["error"]}
    tables = {name: {key: row[name][key] for key in NUMBERS} for name in REFERENCES}
    numbers = {key: row["numbers"][key] for key in NUMBERS}
    return {
        **about, **numbers, **tables, "diagonal_right": row["diagonal_right"], "cpu_seconds": row["train_seconds"],
    }  # fmt: skip


def _nano_recipes(rows: Sequence[Entry]) -> dict[str, Mapping[str, Any]]:
    """The settings of the rows that the nano world is for too, by key."""
    return {entry.key: entry.settings for entry in rows if entry.key in NANO and not entry.error}


def nano(folder: Path, seed: int, num_prompts: int, recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Recipes of CMPO (settings by name) in the nano world, exactly: trained and measured once, kept in `folder`."""
    import shutil

    from pluralign.evaluation.nano_run import nano_report
    from pluralign.recipes.lab_job import make_pool, rate, train_in_lab

    path, mark = folder / "nano" / "row.json", fingerprint(num_prompts, dict(recipes))
    if path.exists() and read_json(path).get("of") == mark:
        return dict(read_json(path))
    shutil.rmtree(path.parent, ignore_errors=True)
    records = rate(make_pool(seed, num_prompts, world="nano"), "noisy", seed)
    shares = {}
    for name, plain in recipes.items():
        method = settings.from_json(method_class("cmpo"), dict(plain))
        report = nano_report(train_in_lab(method, records, path.parent / name, seed, "nano"))
        shares[name] = {"share": report.share, "kl": float(report.kl.mean()), "mass": float(report.mass.mean())}
    row = {"key": "nano", "title": "nano world, exact", "seed": seed, "of": mark, **shares}
    write_json(path, row)
    log.info("nano world, seed %d: done", seed)
    return row


def fill(readme: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Put the short table between the marks of a page. Raises ConfigError where it has none."""
    text = readme.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ConfigError(f"{readme} has no place for the numbers: it needs the lines {BEGIN} and {END}")
    shown = {"default": "pluralign (CMPO, default)", "thesis_scaled": "CMPO as published, learning rate scaled"}
    lines = [
        "| mean of the seeds, test prompts | gain | utility | hypervolume | fluency | KL | efficiency |",
        "|---" * 7 + "|",
    ]
    done = _done(rows)
    lines += [_short(title, done[key]) for key, title in shown.items() if key in done]
    lines += [_short(name, [row[name] for row in done.get("default", [])]) for name in ("base", "optimum")]
    atomic_write(readme, "\n".join([before + mark, *lines, end]) + after)


def _done(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Finished rows by key."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "error" not in row:
            found.setdefault(row["key"], []).append(row)
    return found


def _short(title: str, rows: Sequence[dict[str, Any]]) -> str:
    names = ("gain_mean", "utility_gain", "hypervolume", "fluency_mean", "kl_mean", "efficiency")
    known = [[row[name] for row in rows if row[name] is not None] for name in names]
    return "| " + " | ".join([title, *(f"{sum(v) / len(v):.2f}" if v else "-" for v in known)]) + " |"


HEAD = (
    "recipe", "gain", "min", "spearman", "utility", "HV", "fluency", "min", "KL", "efficiency", "regret", "diagonal",
    "train s",
)  # fmt: skip


def render(rows: Sequence[dict[str, Any]], seeds: Sequence[int], ground: LabGround) -> str:
    """The page: mean over the seeds, the seeds' own values behind it."""
    from pluralign import lab

    num = len(list(lab.prompts(ground.split)))
    lines = [
        "# Results in the lab",
        "",
        f"Printed by `pluralign results` (seeds {', '.join(map(str, seeds))}). {ground.split.capitalize()} prompts, T = 1, "
        f"{num * ground.one_hot_each} replies per one-hot and {num * ground.other_each} per other weight; definitions in "
        "report.md. Recipes were tuned on the validation prompts. The mean over "
        "the seeds, then each seed. `train s` is CPU time of one process. The optimum stands on the base's own replies.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
    ]
    done, failed = _done(rows), [row for row in rows if "error" in row]
    lines += [_line(title, done[key]) for key, title in TITLES.items() if key in done]
    reference = done.get("default", [])
    lines += [_line(name.replace("_", ", "), [r[name] for r in reference]) for name in REFERENCES if reference]
    missing = [title for key, title in TITLES.items() if key not in {row["key"] for row in rows}]
    lines += ["", f"Not run yet: {'; '.join(missing)}."] if missing else []
    lines += ["", *(f"Failed: {row['title']}, seed {row['seed']}: {row['error']}" for row in failed)] if failed else []
    return "\n".join([*lines, "", *_nano_lines(done.get("nano", []))]) + "\n"


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
    for name in (name for name in NANO if name in rows[0]):
        cells = [_cell([row[name][key] for row in rows]) for key in ("share", "kl", "mass")]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines
