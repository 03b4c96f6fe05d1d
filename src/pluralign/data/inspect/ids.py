"""Ids that occur in more than one record, with the line of the first one that came a second time.

Ids are compared by 64-bit keys on disk (see `store`), so that memory does not grow with the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from pluralign.data.inspect.look import key
from pluralign.data.inspect.store import Store

_AGAIN = """SELECT first, line FROM
(SELECT line, rowid AS place, row_number() OVER own AS nth, first_value(line) OVER own AS first FROM ids
 WINDOW own AS (PARTITION BY id ORDER BY rowid)) WHERE nth = 2 ORDER BY place LIMIT 1"""


@dataclass(frozen=True, slots=True)
class RepeatedIds:
    """`again`: records whose id occurred before. The line of the first of them, and the line where its id occurred
    first (None without one)."""

    again: int
    line: int | None = None
    first: int | None = None


class Ids:
    """Writes the ids of records to the store; records without an id are left out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, id: str, line: int) -> None:
        """The id of one record and its line."""
        if id:
            self._store.add("ids", [(key(id), line)])

    def result(self) -> RepeatedIds:
        """The count, and where the first repeat stands."""
        (again,) = self._store.one("SELECT count(*) - count(DISTINCT id) FROM ids")
        if not again:
            return RepeatedIds(0)
        first, line = self._store.one(_AGAIN)
        return RepeatedIds(int(again), int(line), int(first))
