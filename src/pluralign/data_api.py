"""The verbs of `pluralign data` as Python calls: plain files in, plain files out, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pluralign.errors import ConfigError, DataError


def validate(path: str | Path, reader: str = "auto", on_error: Literal["raise", "skip"] = "skip") -> dict[str, Any]:
    """Read a file to its end: reader, objectives, licence, counts, and whether its ratings share a halo."""
    from pluralign.data.dataset import Tally
    from pluralign.data.halo import halo
    from pluralign.data.readers.registry import read

    dataset = read(path, reader, on_error)
    tally = Tally()
    for _ in dataset.records(tally):
        pass
    if not tally.kept:
        raise DataError(f"holds no usable record: {tally}", path=path)
    return {
        "reader": dataset.reader,
        "objectives": ", ".join(f"{o.name} [{o.low:g}, {o.high:g}]" for o in dataset.objectives) or "none",
        "licence": dataset.licence or "not declared",
        "rows": str(tally),
        "read": tally.read,
        "kept": tally.kept,
        "examples": list(tally.examples),
        "rejected": tally.rejected,
        "halo": halo(dataset, dataset.objectives).advice if len(dataset.objectives) > 1 else "only one objective",
    }


def convert(
    source: str | Path, out: str | Path, to: str = "pluralign", reader: str = "auto", conversational: bool = True
) -> dict[str, Any]:
    """Convert a file to our records or to a TRL format ('trl-preference' ...); what a format cannot hold is counted."""
    from pluralign.data import jsonl
    from pluralign.data.readers import trl
    from pluralign.data.readers.registry import read

    dataset = read(source, reader)
    if to == "pluralign":
        rows = jsonl.write(out, dataset.records(), dataset.objectives, dataset.licence, dataset.source)
        return {"rows": rows, "left_out": {}}
    if not to.startswith("trl-"):
        raise ConfigError(f"cannot convert to {to!r}; write pluralign or trl-FORMAT, e.g. trl-preference")
    written = trl.write(out, dataset.records(), to.removeprefix("trl-").replace("-", "_"), conversational)
    return {"rows": written.num_rows, "left_out": dict(written.left_out)}
