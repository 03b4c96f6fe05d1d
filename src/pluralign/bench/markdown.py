"""The results as a Markdown page, written by the command that measured them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pluralign.bench.results import ROW_COLUMNS, ratio_cells, row_cells
from pluralign.storage import atomic_write

_HEAD = """# Training speed

Written by `{command}`; do not edit. `bench.md` says what is measured and how.

{machine}

An entry of a ratio is how many times as long the first takes as the second for the same work. A TRL user trains CMPO
with one step per pair and weight vector: 7 (15) λ are counted as 7 (15) measured plain steps of TRL.
"""


def write(found: Mapping[str, Any], path: Path, command: str) -> None:
    """Write the page atomically."""
    parts = [_HEAD.format(command=command, machine=_machine(found)), *_equality(found), *_parts(found), *_ratios(found)]
    atomic_write(path, "\n".join(parts).rstrip() + "\n")


def _machine(found: Mapping[str, Any]) -> str:
    about, settings = found["machine"], found["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    where = about.get("gpu") or about["processor"]
    return (
        f"{where}, {about['threads']} of {about['cores']} cores used, {about['system']}; {about['gemm']}, fastest product "
        f"{about['gemm_peak_gflops']:g} GFLOP/s (tuned TRL multiplies by "
        f"{'oneDNN' if about['trl_tuned_uses_onednn'] else about['gemm']}). Python {about['python']}; {versions}.\n\n"
        f"{settings['clock']}, median of {settings['repeats']} interleaved repeats (fastest … slowest); the whole took "
        f"{settings['wall_seconds'] / 60:.0f} minutes."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, an empty one last."""
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""


def _equality(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Equality\n\nRelative differences from our step, in float64 norms.\n"
    rows = [
        [each["part"], each["ours"], each["against"], f"{each['loss']:.1e}", f"{each['worst']:.1e}"]
        for each in found["equality"]
    ]
    yield from table(("part", "step", "against", "loss", "worst gradient"), rows)


def _parts(found: Mapping[str, Any]) -> Iterator[str]:
    for part in found["parts"].values():
        yield f"## {part['about']}\n"
        if part["rows"]:
            yield from table(("row", *ROW_COLUMNS), [[row["label"], *row_cells(row)] for row in part["rows"]])
        if "choices" in part:
            yield from _choices(part["choices"])


def _choices(choices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = sorted({name for choice in choices for name in choice["seconds"]})
    rows = [
        [choice["about"], *(f"{choice['seconds'][n]:.3f}" if n in choice["seconds"] else "" for n in names)]
        for choice in choices
    ]
    yield from table(("work", *(f"{name}, s" for name in names)), rows)


def _ratios(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Ratios\n"
    yield from table(
        ("key", "value", "spread", "target", "met"), [[f"`{key}`", *ratio_cells(found, key)] for key in found["spread"]]
    )
    if found["memory_parts"]:
        yield "Growth of peak memory over three steps (S, 4 pairs), in GB; what comes and goes within a step is transient.\n"
        rows = [
            [row, *(f"{size / 1e9:.2f}" for size in sizes.values())] for row, sizes in found["memory_parts"].items()
        ]
        yield from table(("row", *next(iter(found["memory_parts"].values()))), rows)
