"""Join: rows about the same prompt become one record, so that raters of one reply, and replies of one prompt, meet.

Rater tables, votes and ratings of single replies come as one row per person or reply; comparing needs them together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from pluralign.data import condition, lines
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.record import Comparison, Ranking, Rating, Record, Response, Scores
from pluralign.data.record_json import from_json, to_json
from pluralign.errors import StorageError
from pluralign.storage import fingerprint

JOINED = "joined"
"""The key of `extra` for what the joined rows disagree on: all values, in their order, by name."""


def joined(dataset: Dataset) -> Dataset:
    """The same dataset with its records joined at each pass; a tally still counts rows."""

    def stream(tally: Tally) -> Iterator[Record]:
        return join(dataset.records(tally))

    return dataclasses.replace(dataset, stream=stream)


def join(records: Iterable[Record]) -> Iterator[Record]:
    """One record per prompt, in the order in which the prompts first came.

    Replies with the same words, model and condition become one, with the ratings, votes, comments and spans of all.
    Where several rows score it, each row's scores are kept as a rating and their mean is the score. Comparisons and
    rankings point at the joined replies. A prompt without words (a text alone) joins only rows with the same replies.
    Ids and `extra` keep the first value; where rows differ, all values stand under "joined".

    The rows wait in a temporary file on the disk; the rows of one prompt must fit into memory. A record whose prompt
    comes once is left as it is. Raises StorageError where the disk refuses, DataError for what JSON cannot hold.
    """
    try:
        # "" is a database in a file without a name, which is gone with the connection
        with contextlib.closing(sqlite3.connect("", check_same_thread=False)) as store:
            _fill(store, records)
            kept = store.execute("SELECT first, content FROM kept ORDER BY first, place")
            for _, rows in groupby(kept, key=lambda row: row[0]):
                yield _one(from_json(json.loads(content)) for _, content in rows)
    except sqlite3.Error as error:
        raise StorageError(f"rows that wait to be joined could not be kept on the disk: {error}; free space") from error


def _fill(store: sqlite3.Connection, records: Iterable[Record]) -> None:
    store.execute("PRAGMA journal_mode = OFF")
    store.execute("CREATE TABLE prompts (mark BLOB PRIMARY KEY, first INTEGER) WITHOUT ROWID")
    store.execute("CREATE TABLE kept (place INTEGER PRIMARY KEY, first INTEGER, content BLOB)")
    for place, record in enumerate(records):
        mark = bytes.fromhex(_mark(record))
        store.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (mark, place))
        (first,) = store.execute("SELECT first FROM prompts WHERE mark = ?", (mark,)).fetchone()
        store.execute("INSERT INTO kept VALUES (?, ?, ?)", (place, first, lines.dump(to_json(record))))
    store.execute("CREATE INDEX by_prompt ON kept (first, place)")


def _mark(record: Record) -> str:
    turns = [[message.role, message.content] for message in record.messages]
    said_nothing = not any(message.content.strip() for message in record.messages)
    return fingerprint(turns, [reply.text for reply in record.responses] if said_nothing else [])


def _one(records: Iterator[Record]) -> Record:
    first = next(records)
    second = next(records, None)
    if second is None:
        return first
    gathered = _Gathered(first)
    gathered.add(second)
    for record in records:
        gathered.add(record)
    return gathered.record()


class _Notes:
    """What joined things say beside their fields: the first value of each name, and all values where they differ."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._all: dict[str, dict[str, Any]] = {}  # name -> the distinct values, by their JSON

    def add(self, extra: Mapping[str, Any]) -> None:
        """One more `extra`; what an earlier join noted goes on."""
        for name, value in extra.items():
            if name == JOINED and isinstance(value, Mapping):
                for noted, values in value.items():
                    self.see(noted, values if isinstance(values, list) else [values])
            else:
                self._first.setdefault(name, value)
                self.see(name, [value])

    def see(self, name: str, values: Iterable[Any]) -> None:
        """Values of a name, or of a field."""
        for value in values:
            self._all.setdefault(name, {}).setdefault(json.dumps(value, sort_keys=True), value)

    def extra(self) -> dict[str, Any]:
        """The joined `extra`."""
        differing = {name: list(values.values()) for name, values in self._all.items() if len(values) > 1}
        return {**self._first, **({JOINED: differing} if differing else {})}


class _Reply:
    """One reply and what several rows say about it."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._rows: list[Response] = []
        self._notes = _Notes()

    def add(self, row: Response) -> None:
        self._rows.append(row)
        self._notes.add(row.extra)
        self._notes.see("thumb", [row.thumb] if row.thumb else [])

    def response(self) -> Response:
        thumbs = {row.thumb for row in self._rows if row.thumb}
        scores, ratings = self._scored()
        return dataclasses.replace(
            self._response,
            scores=scores,
            ratings=ratings,
            comments=tuple(comment for row in self._rows for comment in row.comments),
            spans=tuple(span for row in self._rows for span in row.spans),
            votes=tuple(vote for row in self._rows for vote in row.votes),
            thumb=thumbs.pop() if len(thumbs) == 1 else None,
            extra=self._notes.extra(),
        )

    def _scored(self) -> tuple[Scores, tuple[Rating, ...]]:
        """The scores of the one row that has some, else each row's as a rating and their mean."""
        ratings = tuple(rating for row in self._rows for rating in row.ratings)
        given = [scores for row in self._rows for scores in _row_scores(row)]
        if len([row for row in self._rows if row.scores]) < 2:
            return next((row.scores for row in self._rows if row.scores), {}), ratings
        named = tuple(rating for rating in ratings if rating.rater is not None)
        return _means(given), (*(Rating(scores) for scores in given), *named)


def _row_scores(row: Response) -> list[Scores]:
    """A row's scores; where an earlier join made them the mean of unnamed ratings, those."""
    unnamed = [rating.scores for rating in row.ratings if rating.rater is None]
    return unnamed or ([row.scores] if row.scores else [])


def _means(rows: Iterable[Scores]) -> dict[str, float | None]:
    given: dict[str, list[float]] = {}
    for scores in rows:
        for name, score in scores.items():
            given.setdefault(name, []).extend([] if score is None else [score])
    return {name: sum(scores) / len(scores) if scores else None for name, scores in given.items()}


class _Gathered:
    """The records of one prompt on their way to be one."""

    def __init__(self, first: Record) -> None:
        self._first = first
        self._places: dict[tuple[Any, ...], int] = {}
        self._replies: list[_Reply] = []
        self._comparisons: list[Comparison] = []
        self._rankings: list[Ranking] = []
        self._notes = _Notes()
        self.add(first)

    def add(self, record: Record) -> None:
        place = self._placed(record)
        for said in record.comparisons:
            self._comparisons.append(dataclasses.replace(said, first=place[said.first], second=place[said.second]))
        for ranking in record.rankings:
            tiers = tuple(tuple(place[reply] for reply in tier) for tier in ranking.tiers)
            self._rankings.append(dataclasses.replace(ranking, tiers=tiers))
        self._notes.add(record.extra)
        for name in ("id", "language", "source"):
            value = getattr(record, name)
            self._notes.see(name, [value] if value else [])

    def _placed(self, record: Record) -> list[int]:
        """Where each reply of a record stands now; the same words twice in one record stay two replies."""
        places: list[int] = []
        seen: dict[tuple[Any, ...], int] = {}
        for reply in record.responses:
            asked = None if reply.condition is None else json.dumps(condition.to_json(reply.condition), sort_keys=True)
            words = (reply.text, reply.model, asked, reply.finished)
            seen[words] = seen.get(words, 0) + 1
            place = self._places.setdefault((*words, seen[words]), len(self._replies))
            if place == len(self._replies):
                self._replies.append(_Reply(reply))
            self._replies[place].add(reply)
            places.append(place)
        return places

    def record(self) -> Record:
        return dataclasses.replace(
            self._first,
            responses=tuple(reply.response() for reply in self._replies),
            comparisons=tuple(self._comparisons),
            rankings=tuple(self._rankings),
            extra=self._notes.extra(),
        )
