"""Polis votes (compdemocracy/openData): one participant per row, with agree, disagree or pass for every comment seen.

The words of the comments stand in another file, `comments.jsonl` (or `.jsonl.gz`, `.csv`, `.parquet`), which is looked
for in the same folder. Participants and opinion groups are numbered anew in every conversation, so both are named
with their conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pluralign.data import cells, rows
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, Tally, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Record, Response, Vote, user
from pluralign.data.strict import fail, mapping_of, text
from pluralign.errors import DataError

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = "CC BY 4.0"
SOURCE = (
    "Data was gathered using the Polis software (compdemocracy.org/polis) and is sub-licensed under CC BY 4.0 with "
    "Attribution to The Computational Democracy Project"
)
HUB = None
_COLUMNS = ("conversation", "participant", "votes")
COLUMNS = f"{', '.join(_COLUMNS)} (comment id -> 1, -1, 0), group; and comments.jsonl beside it"
_COMMENT_COLUMNS = ("conversation", "topic", "comment_id", "text")
_CHOICES: dict[float, Literal["agree", "disagree", "pass"]] = {1.0: "agree", -1.0: "disagree", 0.0: "pass"}
_NAMES = tuple(f"comments{ending}" for ending in (".jsonl.gz", ".jsonl", ".csv", ".csv.gz", ".parquet"))
_Topics = dict[str, tuple[str, dict[str, str]]]  # conversation -> its topic, and the text of each comment


def recognise(row: dict[str, Any]) -> int:
    """Three, where all columns are there."""
    return len(_COLUMNS) if set(row) >= set(_COLUMNS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: a participant per record, the comments they voted on as replies with their vote.

    The comments are held in memory. Raises DataError where the folder has no comments file.
    """
    topics = _topics(_comments_file(Path(path)))
    return Dataset(OBJECTIVES, partial(_records, path, topics, on_error), LICENCE, SOURCE, "polis_votes")


def _comments_file(votes: Path) -> Path:
    found = next((path for name in _NAMES if (path := votes.parent / name).is_file()), None)
    if found is None:
        raise DataError(
            f"the words of the comments stand in another file, and {votes.parent} has none of {', '.join(_NAMES)}; "
            f"put it there, with the columns {', '.join(_COMMENT_COLUMNS)}",
            path=votes,
        )
    return found


def _topics(path: Path) -> _Topics:
    topics: _Topics = {}
    for line, content in rows.stream(path):
        try:
            row = rows.decode(content)
            cells.need(row, _COMMENT_COLUMNS)
            conversation, topic, comment, words = (text(row[column], column) for column in _COMMENT_COLUMNS)
        except DataError as error:
            raise DataError(error.reason, path=path, line=line) from error
        topics.setdefault(conversation, (topic, {}))[1][comment] = words
    return topics


def _records(path: str | Path, topics: _Topics, on_error: OnError, tally: Tally) -> Iterator[Record]:
    return convert(path, partial(_record, topics=topics), on_error, tally)


def _record(row: dict[str, Any], line: int, topics: _Topics) -> Record:
    cells.need(row, _COLUMNS)
    conversation = text(row["conversation"], "conversation")
    if conversation not in topics:
        raise DataError(f"conversation {conversation!r} is not in the comments file; it has {', '.join(topics)}")
    topic, words = topics[conversation]
    name = f"{conversation}/{row['participant']}"
    group = None if row.get("group") is None else f"{conversation}/{row['group']}"
    rater = Rater(id=name, group=group)
    votes = mapping_of(cells.score)(row["votes"], "votes")
    replies = tuple(_voted(comment, vote, words, rater) for comment, vote in votes.items() if vote is not None)
    extra = {"conversation": conversation, **cells.rest(row, {*_COLUMNS, "group"})}
    record = Record(user(topic), replies, id=name, source=SOURCE, extra=extra)
    check(record, OBJECTIVES)
    return record


def _voted(comment: str, vote: float, words: dict[str, str], rater: Rater) -> Response:
    if comment not in words:
        raise DataError(f"comment {comment!r:.40} is not in the comments file; bring the comments of the same export")
    if vote not in _CHOICES:
        fail(f"votes.{comment}", "1 (agree), -1 (disagree) or 0 (pass)", vote)
    return Response(words[comment], votes=(Vote(_CHOICES[vote], 1, rater),), extra={"comment_id": comment})
