"""Polis comments (compdemocracy/openData): what people wrote about a topic, and how its opinion groups voted.

The topic is the prompt, the comment the reply. Opinion groups are found anew in every conversation, so a group is
named `conversation/group`; votes of people whom Polis put into no group have no rater.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Record, Response, Vote, user
from pluralign.data.strict import index, mapping_of, text
from pluralign.errors import DataError

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = "CC BY 4.0"
SOURCE = (
    "Data was gathered using the Polis software (compdemocracy.org/polis) and is sub-licensed under CC BY 4.0 with "
    "Attribution to The Computational Democracy Project"
)
HUB = None
_COLUMNS = ("conversation", "topic", "comment_id", "text", "by_group")
COLUMNS = f"{', '.join(_COLUMNS)} (group -> agree, disagree, pass), agrees, disagrees"
_CHOICES = ("agree", "disagree", "pass")
_UNGROUPED = "none"


def recognise(row: dict[str, Any]) -> int:
    """Five, where all columns are there."""
    return len(_COLUMNS) if set(row) >= set(_COLUMNS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: one comment per record, with the votes of each group and choice as one Vote."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "polis_comments")


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, _COLUMNS)
    conversation, topic, comment = (text(row[column], column) for column in _COLUMNS[:3])
    groups = mapping_of(mapping_of(index))(row["by_group"], "by_group")
    votes = tuple(vote for group, counts in groups.items() for vote in _votes(conversation, group, counts))
    extra = cells.rest(row, {*_COLUMNS} - {"conversation", "comment_id"})
    response = Response(text(row["text"], "text"), votes=votes, extra=extra)
    record = Record(user(topic), (response,), id=f"{conversation}/{comment}", source=SOURCE)
    check(record, OBJECTIVES)
    return record


def _votes(conversation: str, group: str, counts: dict[str, int]) -> list[Vote]:
    unknown = set(counts) - set(_CHOICES)
    if unknown:
        raise DataError(f"by_group.{group} counts {', '.join(sorted(unknown))}; allowed are {', '.join(_CHOICES)}")
    rater = None if group == _UNGROUPED else Rater(group=f"{conversation}/{group}")
    return [Vote(choice, counts[choice], rater) for choice in _CHOICES if counts.get(choice)]  # type: ignore[arg-type]
