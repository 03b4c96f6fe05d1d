"""Our records as Parquet, the twin of the record file (see pluralign.data.parquet)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pluralign.data import parquet
from pluralign.data.dataset import Dataset, OnError
from pluralign.data.objective import Objective

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = None
SOURCE = None
HUB = None
COLUMNS = ", ".join(parquet.COLUMNS)


def recognise(row: dict[str, Any]) -> int:
    """All columns of a record in a table."""
    return len(row) if {"messages", "extra_json"} <= set(row) <= set(parquet.COLUMNS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset, with the objectives of its header."""
    return parquet.open_dataset(path, on_error)
