"""Dataset: records that can be streamed again and again, with what their source declares; Tally: what became of rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pluralign.data import rows
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError

OnError = Literal["raise", "skip"]
_MAX_REASONS, _MAX_EXAMPLES = 50, 5
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


@dataclass(slots=True)
class Tally:
    """Counts of one pass over a source: `read` = `kept` + `rejected` at every moment.

    `reasons` counts rejections by kind (names and numbers blotted out, so that it stays small); `examples` are the
    first five messages in full, with file and line. `sink`, where given, is handed every rejected row: file, line,
    reason and the row itself (see `rejects`). `line` is where the row stands that was kept last (its number among the
    rows where a source has no lines).
    """

    read: int = 0
    kept: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    sink: Callable[[dict[str, Any]], None] | None = None
    line: int = 0

    def keep(self, line: int | None = None) -> None:
        """Count one row that became a record."""
        self.read += 1
        self.kept += 1
        self.line = self.read if line is None else line

    def reject(self, error: DataError, content: rows.Content = b"") -> None:
        """Count one row that did not, with its reason."""
        self.read += 1
        self.rejected += 1
        kind = _PARTICULAR.sub("…", error.reason)[:120]
        self.reasons[kind if kind in self.reasons or len(self.reasons) < _MAX_REASONS else "other"] += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(str(error))
        if self.sink is not None:
            row = content.decode("utf-8", "backslashreplace") if isinstance(content, bytes) else repr(content)
            self.sink({"file": str(error.path), "line": error.line, "reason": error.reason, "row": row})

    def __str__(self) -> str:
        kinds = "".join(f"\n  {num} x {kind}" for kind, num in self.reasons.most_common())
        return f"{self.read} rows: {self.kept} kept, {self.rejected} rejected{kinds}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Records of one source. Iterating (or `records`) streams them afresh each time; nothing is held in memory."""

    objectives: tuple[Objective, ...]
    stream: Callable[[Tally], Iterator[Record]]
    licence: str | None = None
    source: str | None = None
    reader: str = ""

    def records(self, tally: Tally | None = None) -> Iterator[Record]:
        """One pass. A `tally` given here is filled as the pass goes. Raises DataError unless bad rows are skipped."""
        return self.stream(Tally() if tally is None else tally)

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def count(self) -> Tally:
        """The tally of a whole pass."""
        tally = Tally()
        for _ in self.records(tally):
            pass
        return tally


def check_on_error(on_error: str) -> None:
    """Raise ConfigError unless `on_error` is raise or skip."""
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error is 'raise' or 'skip', got {on_error!r}")


def convert(
    path: str | Path, to_record: Callable[[dict[str, Any], int], Record], on_error: OnError, tally: Tally, skip: int = 0
) -> Iterator[Record]:
    """The rows of a file (or folder, or hub dataset: see `rows`) as records, after `skip` rows (a header). `to_record` takes the row and its line number.

    A bad row raises DataError with file and line, or is counted and left out; damage of the file itself always raises.
    """
    for place, (line, content) in enumerate(rows.stream(path)):
        if place < skip:
            continue
        try:
            record = to_record(rows.decode(content), line)
        except (DataError, RecursionError) as error:
            refuse(error, path, line, content, on_error, tally)
            continue
        tally.keep(line)
        yield record


def refuse(
    error: DataError | RecursionError,
    path: str | Path,
    line: int,
    content: rows.Content,
    on_error: OnError,
    tally: Tally,
) -> None:
    """A bad row: DataError with file and line, or counted."""
    reason = error.reason if isinstance(error, DataError) else "the row is nested too deeply"
    located = DataError(reason, path=path, line=line)
    if on_error == "raise":
        raise located from error
    tally.reject(located, content)


def check_columns(row: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Raise DataError unless a row has exactly these columns."""
    if set(row) != set(columns):
        raise DataError(f"expected the columns {', '.join(columns)}, found {', '.join(sorted(row))}")


def first_row(path: str | Path) -> dict[str, Any]:
    """The first row of a file, which says what kind of file it is. Raises DataError with file and line."""
    stream = rows.stream(path)
    line, content = next(stream)
    stream.close()  # type: ignore[attr-defined]
    try:
        return rows.decode(content)
    except DataError as error:
        raise DataError(error.reason, path=path, line=line) from error
