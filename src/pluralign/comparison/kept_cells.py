"""Cells of an evaluation on the disk (JSON, compressed), so that rows of several processes can be compared in pairs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import DataError
from pluralign.evaluation.rows import plain
from pluralign.evaluation.samples import Cell
from pluralign.storage import atomic_write

Floats = NDArray[np.float64]


def write(path: Path, cells: Sequence[Cell]) -> None:
    """Write cells, whole or not at all."""
    rows = [{field.name: plain(getattr(cell, field.name)) for field in fields(Cell)} for cell in cells]
    atomic_write(path, gzip.compress(json.dumps(rows, ensure_ascii=False).encode(), mtime=0))


def read(path: Path) -> tuple[Cell, ...]:
    """The inverse of `write`; DataError for a damaged file."""
    try:
        rows = json.loads(gzip.decompress(path.read_bytes()))
        return tuple(_cell(row) for row in rows)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"holds no cells of an evaluation ({error}); remove it, and it is made again", path=path
        ) from error


def _cell(row: dict[str, Any]) -> Cell:
    numbers = {name: _known(row[name]) for name in ("scores", "fluent", "logratio", "lengths")}
    return Cell.of(row["weights"], row["prompts"], row["texts"], finished=row["finished"], **numbers)


def _known(values: Any) -> Floats:
    """Numbers, null as NaN."""
    return np.array(values, dtype=np.float64)


def merged(cells: Sequence[Cell]) -> Cell:
    """All replies in one cell, under no weight in particular (the uniform one)."""
    num = len(cells[0].weights)
    return Cell(
        np.full(num, 1.0 / num),
        tuple(prompt for cell in cells for prompt in cell.prompts),
        tuple(text for cell in cells for text in cell.texts),
        *(
            np.concatenate([getattr(cell, name) for cell in cells])
            for name in ("scores", "fluent", "logratio", "lengths", "finished")
        ),
    )


def place(cells: Sequence[Cell], weights: Floats) -> int | None:
    """Where the cell of these weights [K] stands; None where there is none."""
    found = [number for number, cell in enumerate(cells) if np.allclose(cell.weights, weights, atol=1e-6)]
    return found[0] if found else None
