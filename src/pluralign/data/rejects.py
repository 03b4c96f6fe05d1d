"""Rejected rows, written beside the result with their reasons, so that in = kept + rejected can be checked by anyone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pluralign.data import lines
from pluralign.data.dataset import Tally
from pluralign.storage import atomic_file


def rejects_path(out: str | Path) -> Path:
    """Where the rejected rows of a result go: `records.jsonl.gz` has `records.rejected.jsonl` beside it."""
    path = Path(out)
    return path.with_name(path.name.split(".")[0] + ".rejected.jsonl")


@contextlib.contextmanager
def rejects(path: str | Path) -> Iterator[Tally]:
    """A tally whose rejected rows go to a side file: one JSON line each with file, line, reason and the row's text.

    The file is written whole or not at all, and only if a row was rejected; an old one is taken away then.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:

        def write(rejected: dict[str, Any]) -> None:
            file.write(lines.dump(rejected))

        tally = Tally(sink=write)
        yield tally
    if not tally.rejected:
        Path(path).unlink()
