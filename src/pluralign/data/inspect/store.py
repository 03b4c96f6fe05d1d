"""What needs every row at once (duplicates, raters, agreement): kept in a SQLite file of a temporary folder.

Only 64-bit keys, numbers and the raters' own words go there, never a text; memory holds some thousand rows.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pluralign.errors import StorageError

_ROWS = 20_000
_TABLES = {
    "ids": "id INTEGER, line INTEGER",
    "prompts": "prompt INTEGER, rough INTEGER, id INTEGER",
    "replies": "prompt INTEGER, prompt_rough INTEGER, reply INTEGER, rough INTEGER",
    "ratings": "objective INTEGER, unit INTEGER, rater INTEGER, party INTEGER, value REAL",
    "verdicts": "objective INTEGER, unit INTEGER, rater INTEGER, party INTEGER, value REAL",
    "raters": "rater INTEGER, id TEXT, party TEXT, language TEXT, demographics TEXT, num INTEGER",
}


class Store:
    """Tables of one inspection, gone when it ends. Raises StorageError where the disk refuses."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Sequence[Any]]] = {name: [] for name in _TABLES}

    def __enter__(self) -> Store:
        self._folder = tempfile.TemporaryDirectory(prefix="pluralign-inspect-")
        self._database = sqlite3.connect(Path(self._folder.name) / "rows.sqlite", isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536", "temp_store = FILE"):
            self._database.execute(f"PRAGMA {setting}")
        for name, columns in _TABLES.items():
            self._database.execute(f"CREATE TABLE {name} ({columns})")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows; they are written some thousand at a time."""
        waiting = self._waiting[table]
        waiting.extend(rows)
        if len(waiting) >= _ROWS:
            self._write(table)

    def query(self, text: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, streamed."""
        for table in _TABLES:
            self._write(table)
        try:
            yield from self._database.execute(text, values)
        except sqlite3.Error as error:
            raise _refused(error) from error

    def run(self, text: str) -> None:
        """A statement without rows."""
        for _ in self.query(text):
            pass

    def one(self, text: str, *values: Any) -> tuple[Any, ...]:
        """The only row of a query."""
        (row,) = self.query(text, *values)
        return row

    def _write(self, table: str) -> None:
        waiting = self._waiting[table]
        if not waiting:
            return
        marks = ", ".join("?" * (_TABLES[table].count(",") + 1))
        try:
            self._database.execute("BEGIN")
            self._database.executemany(f"INSERT INTO {table} VALUES ({marks})", waiting)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _refused(error) from error
        waiting.clear()


def _refused(error: sqlite3.Error) -> StorageError:
    return StorageError(
        f"the temporary folder {tempfile.gettempdir()} refused: {error}. Free space there, or name another with TMPDIR"
    )
