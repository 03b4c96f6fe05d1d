"""HelpSteer2 (arXiv 2406.08673): one reply per row with five ratings of 0 to 4; two replies to each prompt.

Replies to the same prompt become one record, wherever their rows stand. Later turns of a prompt are marked
"<extra_id_1>Assistant", "<extra_id_1>User". A list instead of a number holds the ratings of single annotators, who
have no ids, in one order for all five columns; this is what the hub's folder `disagreements` is said to hold, which
could not be looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pluralign.data.cells import need, rest, scores
from pluralign.data.dataset import Dataset, OnError
from pluralign.data.dialogue import parse_marked
from pluralign.data.gather import Replies
from pluralign.data.helpsteer_attributes import ATTRIBUTES, OBJECTIVES, ROW
from pluralign.data.record import Rater, Rating, Response
from pluralign.data.strict import text
from pluralign.errors import DataError

LICENCE = "CC BY 4.0"
HUB = "nvidia/HelpSteer2"
SOURCE = "HelpSteer2 (Wang et al. 2024, arXiv 2406.08673; nvidia/HelpSteer2)"
COLUMNS = ", ".join(ROW)


def recognise(row: dict[str, Any]) -> int:
    """All seven columns, if they are there; HelpSteer, which has the same, is known by its hub name."""
    return len(ROW) if set(ROW) <= set(row) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: scores (or a rating per annotator) from the five columns, what else there is in `extra`."""
    replies = Replies(_reply, parse_marked, OBJECTIVES, "helpsteer2", HUB)
    return Dataset(OBJECTIVES, replies.stream(path, on_error), LICENCE, SOURCE, "helpsteer2")


def _reply(row: dict[str, Any]) -> Response:
    need(row, ROW)
    lists = [column for column in ATTRIBUTES if isinstance(row[column], list)]
    return Response(
        text(row["response"], "response"),
        scores=scores(row, (column for column in ATTRIBUTES if column not in lists)),
        ratings=_ratings(row, lists),
        extra=rest(row, ROW),
    )


def _ratings(row: dict[str, Any], lists: list[str]) -> tuple[Rating, ...]:
    """One rating per annotator; `Rater()` is somebody without an id."""
    if len({len(row[column]) for column in lists}) > 1:
        raise DataError(f"{', '.join(lists)} must have one rating per annotator each, so equally many")
    by_person = zip(*(row[column] for column in lists), strict=True)
    return tuple(Rating(scores(dict(zip(lists, given, strict=True)), lists), Rater()) for given in by_person)
