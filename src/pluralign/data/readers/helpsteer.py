"""HelpSteer (arXiv 2311.09528): one reply per row with five ratings of 0 to 4; up to four replies to each prompt.

Its columns are those of HelpSteer2, whose reader takes a file without a name: this one is chosen by the hub's name or
by hand. Replies to the same prompt become one record, wherever their rows stand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pluralign.data.cells import need, rest, scores
from pluralign.data.dataset import Dataset, OnError
from pluralign.data.dialogue import parse_marked
from pluralign.data.gather import Replies
from pluralign.data.helpsteer_attributes import ATTRIBUTES, OBJECTIVES, ROW
from pluralign.data.record import Response
from pluralign.data.strict import text

LICENCE = "CC BY 4.0"
HUB = "nvidia/HelpSteer"
SOURCE = "HelpSteer (Wang et al. 2023, arXiv 2311.09528; nvidia/HelpSteer)"
COLUMNS = ", ".join(ROW) + " (by the hub's name, or --reader helpsteer)"


def recognise(row: dict[str, Any]) -> int:
    """Never: a row does not tell it from HelpSteer2."""
    return 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: scores from the five columns, what else there is in `extra`."""
    replies = Replies(_reply, parse_marked, OBJECTIVES, "helpsteer", HUB)
    return Dataset(OBJECTIVES, replies.stream(path, on_error), LICENCE, SOURCE, "helpsteer")


def _reply(row: dict[str, Any]) -> Response:
    need(row, ROW)
    words = text(row["response"], "response")
    return Response(words, scores=scores(row, ATTRIBUTES), extra=rest(row, ROW))
