"""Rows and records that are not one to one: several rows make a record, or one row makes several.

What is counted is rows. A row is kept when its content is in a record, and rejected, with its reason, when it is not;
rows that still wait for the others of their group are not counted yet, so that read = kept + rejected at every moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluralign.data import lines, rows
from pluralign.data.check import check
from pluralign.data.dataset import OnError, Tally, refuse
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, Response
from pluralign.data.strict import text
from pluralign.errors import DataError, StorageError

Parse = Callable[[dict[str, Any], int], Any]
Key = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Joined:
    """What a group of rows became: its records, and the rows (by their place in the group) that none of them holds."""

    records: Sequence[Record]
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grouping:
    """How rows become records: `key` names the group of a row, `parse` reads a row (it takes the row and its line) and
    `join` makes records of what a group's rows were parsed to, in the order of the file. All raise DataError."""

    key: Key
    parse: Parse
    join: Callable[[list[Any]], Joined]


@dataclass(frozen=True, slots=True)
class _Piece:
    line: int
    content: rows.Content
    value: Any


def expand(
    path: str | Path, to_records: Callable[[dict[str, Any], int], list[Record]], on_error: OnError, tally: Tally
) -> Iterator[Record]:
    """Like `dataset.convert`, for rows that make several records each: all of a row's, or none."""
    for line, content in rows.stream(path):
        try:
            records = to_records(rows.decode(content), line)
        except (DataError, RecursionError) as error:
            refuse(error, path, line, content, on_error, tally)
            continue
        tally.keep(line)
        yield from records


def scattered(path: str | Path, key: Key) -> frozenset[bytes]:
    """The groups whose rows do not all stand together, by their digests: a first pass that `gather` builds on.

    Memory: about 100 bytes for each group. Raises DataError for damage of the file itself.
    """
    seen: set[bytes] = set()
    apart: set[bytes] = set()
    current = b""
    for _, content in rows.stream(path):
        try:
            mark = _digest(key(rows.decode(content)))
        except (DataError, RecursionError):
            continue  # it is rejected in the second pass, with its reason
        if mark != current and mark in seen:
            apart.add(mark)
        seen.add(mark)
        current = mark
    return frozenset(apart)


def gather(
    path: str | Path, group: Grouping, apart: frozenset[bytes], on_error: OnError, tally: Tally
) -> Iterator[Record]:
    """The records of all groups of rows, wherever their rows stand.

    Groups that stand together are streamed, one in memory at a time. Those `apart` (see `scattered`) wait in a
    temporary file on the disk and come last, in the order of their first rows. Raises DataError unless bad rows are
    skipped, StorageError where the disk refuses.
    """
    with _store() as store:
        for pieces in _runs(path, group, apart, store, on_error, tally):
            yield from _finish(pieces, group, path, on_error, tally)
        for kept in store.groups():
            pieces = [_Piece(line, content, group.parse(lines.parse(content), line)) for line, content in kept]
            yield from _finish(pieces, group, path, on_error, tally)


def _runs(
    path: str | Path, group: Grouping, apart: frozenset[bytes], store: _Store, on_error: OnError, tally: Tally
) -> Iterator[list[_Piece]]:
    """The groups that stand together; the rows of the others go to the store."""
    run: list[_Piece] = []
    current = b""
    for line, content in rows.stream(path):
        try:
            row = rows.decode(content)
            mark, piece = _digest(group.key(row)), _Piece(line, content, group.parse(row, line))
            if mark in apart:
                store.add(mark, line, content)
                continue
        except (DataError, RecursionError) as error:
            refuse(error, path, line, content, on_error, tally)
            continue
        if run and mark != current:
            yield run
            run = []
        current = mark
        run.append(piece)
    if run:
        yield run


def _finish(
    pieces: Sequence[_Piece], group: Grouping, path: str | Path, on_error: OnError, tally: Tally
) -> Iterator[Record]:
    try:
        joined = group.join([piece.value for piece in pieces])
    except DataError as error:
        joined = Joined((), dict.fromkeys(range(len(pieces)), error.reason))
    for place, piece in enumerate(pieces):
        if place in joined.refused:
            refuse(DataError(joined.refused[place]), path, piece.line, piece.content, on_error, tally)
        else:
            tally.keep(piece.line)
    yield from joined.records


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class _Store:
    """Rows that wait on the disk for the others of their group."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._empty = True

    def add(self, mark: bytes, line: int, content: rows.Content) -> None:
        """Keep a row. Raises DataError for one that is no JSON (NaN or bytes of a Parquet file)."""
        if self._empty:
            self._connection.execute("CREATE TABLE kept (place INTEGER PRIMARY KEY, mark BLOB, line INT, content BLOB)")
            self._empty = False
        plain = content if isinstance(content, bytes) else lines.dump(rows.decode(content))
        self._connection.execute("INSERT INTO kept (mark, line, content) VALUES (?, ?, ?)", (mark, line, plain))

    def groups(self) -> Iterator[list[tuple[int, bytes]]]:
        """(line, content) of the rows of each group, groups in the order of their first rows."""
        if self._empty:
            return
        self._connection.execute("CREATE INDEX by_mark ON kept (mark, place)")
        marks = self._connection.execute("SELECT mark FROM kept GROUP BY mark ORDER BY MIN(place)")
        for (mark,) in marks:
            wanted = "SELECT line, content FROM kept WHERE mark = ? ORDER BY place"
            yield self._connection.execute(wanted, (mark,)).fetchall()


@contextlib.contextmanager
def _store() -> Iterator[_Store]:
    try:
        # "" is a database of its own in a file without a name, which is gone with the connection
        with contextlib.closing(sqlite3.connect("", check_same_thread=False)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            yield _Store(connection)
    except sqlite3.Error as error:
        raise StorageError(
            f"rows that wait for the rest of their group could not be kept on the disk: {error}"
        ) from error


@dataclass(frozen=True, slots=True)
class Replies:
    """One reply per row: those to the same prompt become one record, wherever they stand.

    `reply` makes the response of a row, `dialogue` the messages of the text in the column "prompt". `name` begins the
    records' ids, `source` is theirs.
    """

    reply: Callable[[dict[str, Any]], Response]
    dialogue: Callable[[str], tuple[Message, ...]]
    objectives: tuple[Objective, ...]
    name: str
    source: str

    def stream(self, path: str | Path, on_error: OnError) -> Callable[[Tally], Iterator[Record]]:
        """What a Dataset streams from; the first pass over the file happens now."""
        apart = scattered(path, _prompt)
        return lambda tally: gather(path, Grouping(_prompt, self._parse, self._join), apart, on_error, tally)

    def _parse(self, row: dict[str, Any], line: int) -> Record:
        """A record of one reply, checked, so that a bad row is rejected by itself."""
        messages = self.dialogue(_prompt(row))
        record = Record(messages, (self.reply(row),), id=f"{self.name}-{line}", source=self.source)
        check(record, self.objectives)
        return record

    def _join(self, records: list[Record]) -> Joined:
        first = records[0]
        replies = tuple(reply for record in records for reply in record.responses)
        return Joined([Record(first.messages, replies, id=first.id, source=first.source)])


def _prompt(row: Mapping[str, Any]) -> str:
    if "prompt" not in row:
        raise DataError(f"expected the column prompt; found {', '.join(map(str, row)) or '(none)'}")
    return str(text(row["prompt"], "prompt"))
