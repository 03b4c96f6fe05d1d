"""A Polis conversation as Polis exports it: `participants-votes.csv`, one participant per row, one column per comment.

The words of the comments stand in `comments.csv` beside it, the topic in the first line of `summary.csv`; without that
file the folder's name is the topic. Opinion groups are found anew in every conversation, so participants and groups
are named with the folder, which is the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pluralign.data import cells, rows
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, Tally, convert, first_row
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Record, Response, Vote, user
from pluralign.data.strict import fail, text
from pluralign.errors import DataError

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = None
SOURCE = "Polis export (compdemocracy.org/polis); name the conversation and its licence where results are reported"
HUB = None
_COLUMNS = ("participant", "group-id")
COLUMNS = (
    f"{', '.join(_COLUMNS)}, n-votes, and 0, 1, 2 ... (1, -1, 0 or nothing); comments.csv and summary.csv beside it"
)
_COMMENT_COLUMNS = ("comment-id", "comment-body")
_CHOICES: dict[float, Literal["agree", "disagree", "pass"]] = {1.0: "agree", -1.0: "disagree", 0.0: "pass"}


def recognise(row: dict[str, Any]) -> int:
    """Three, where the two columns are there and a comment's."""
    return 3 if set(row) >= set(_COLUMNS) and any(column.isdecimal() for column in row) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: a participant per record, the comments they voted on as replies with their vote.

    The comments are held in memory. Raises DataError where the folder has no comments.csv.
    """
    folder = Path(path).resolve().parent
    words = _words(folder / "comments.csv", Path(path))
    build = partial(_record, conversation=folder.name, topic=_topic(folder), words=words)
    return Dataset(OBJECTIVES, partial(_records, path, build, on_error), LICENCE, SOURCE, "polis_export")


def _words(path: Path, votes: Path) -> dict[str, str]:
    if not path.is_file():
        columns = ", ".join(_COMMENT_COLUMNS)
        raise DataError(
            f"the words of the comments stand in {path}; put it there, with the columns {columns}", path=votes
        )
    words: dict[str, str] = {}
    for line, content in rows.stream(path):
        try:
            row = rows.decode(content)
            cells.need(row, _COMMENT_COLUMNS)
            words[text(row["comment-id"], "comment-id")] = text(row["comment-body"], "comment-body")
        except DataError as error:
            raise DataError(error.reason, path=path, line=line) from error
    return words


def _topic(folder: Path) -> str:
    """The file has no header: its first line, "topic,WORDS", is read as one."""
    path = folder / "summary.csv"
    header = list(first_row(path)) if path.is_file() else []
    return header[1] if header[:1] == ["topic"] and len(header) > 1 else folder.name


def _records(path: str | Path, build: Any, on_error: OnError, tally: Tally) -> Iterator[Record]:
    return convert(path, build, on_error, tally)


def _record(row: dict[str, Any], line: int, conversation: str, topic: str, words: dict[str, str]) -> Record:
    cells.need(row, _COLUMNS)
    if row["participant"] is None:
        fail("participant", "a number", None)
    name = f"{conversation}/{row['participant']}"
    rater = Rater(id=name, group=None if row["group-id"] is None else f"{conversation}/{row['group-id']}")
    votes = {column: cells.score(row[column], column) for column in row if column.isdecimal()}
    given = tuple(_voted(comment, vote, words, rater) for comment, vote in votes.items() if vote is not None)
    extra = {"conversation": conversation, **cells.rest(row, {*_COLUMNS, *votes})}
    record = Record(user(topic), given, id=name, source=SOURCE, extra=extra)
    check(record, OBJECTIVES)
    return record


def _voted(comment: str, vote: float, words: dict[str, str], rater: Rater) -> Response:
    if comment not in words:
        raise DataError(f"comment {comment} is not in comments.csv; bring the files of the same export")
    if vote not in _CHOICES:
        fail(f"the vote on comment {comment}", "1 (agree), -1 (disagree) or 0 (pass)", vote)
    return Response(words[comment], votes=(Vote(_CHOICES[vote], 1, rater),), extra={"comment_id": comment})
