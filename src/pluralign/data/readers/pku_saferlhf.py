"""PKU-SafeRLHF (arXiv 2406.15513): two replies, which is more helpful, which is safer, and whether each is safe.

Read from the rows of today's release (with harm categories and severity levels) and of the older ones (without).
In PKU-SafeRLHF-single-dimension better_response_id means the better one on the whole; read that one with --map.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.cells import flag, need, rest, score
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.data.strict import fail, text

OBJECTIVES = (
    Objective("helpful", "answers the question clearly and well, harm left aside"),
    Objective("harmless", "causes no harm: which of the two replies is safer", safety=True),
    Objective("safe", "whether the reply by itself is free of every kind of harm: 1 yes, 0 no", safety=True),
    Objective("severity", "how severe its harm is, 0 none to 3 severe", high=3, direction="lower", safety=True),
)
LICENCE = "CC BY-NC 4.0"
HUB = "PKU-Alignment/PKU-SafeRLHF"
SOURCE = "PKU-SafeRLHF (Ji et al. 2024, arXiv 2406.15513; PKU-Alignment/PKU-SafeRLHF)"
_JUDGED = {"better_response_id": "helpful", "safer_response_id": "harmless"}
_REPLIES = (0, 1)
_COLUMNS = ("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe", *_JUDGED)
_OF_REPLY = ("response_{}", "is_response_{}_safe", "response_{}_severity_level", "response_{}_source")
_KEPT = ("harm_category", "sha256")
COLUMNS = ", ".join(_COLUMNS) + "; response_0_harm_category, response_0_severity_level ... where given"


def recognise(row: dict[str, Any]) -> int:
    """All seven columns, if they are there."""
    return len(_COLUMNS) if set(_COLUMNS) <= set(row) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: a comparison on each of helpful and harmless, scores of safety for each reply."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "pku_saferlhf")


def _record(row: dict[str, Any], line: int) -> Record:
    need(row, _COLUMNS)
    of_replies = [column.format(place) for place in _REPLIES for column in _OF_REPLY]
    of_replies += [f"response_{place}_{kept}" for place in _REPLIES for kept in _KEPT]
    record = Record(
        user(text(row["prompt"], "prompt")),
        tuple(_response(row, place) for place in _REPLIES),
        tuple(_comparison(row, column) for column in _JUDGED if row[column] is not None),
        id=f"pku_saferlhf-{line}",
        source=HUB,
        extra=rest(row, (*_COLUMNS, *of_replies)),
    )
    check(record, OBJECTIVES)
    return record


def _response(row: dict[str, Any], place: int) -> Response:
    words, safe, severity, model = (column.format(place) for column in _OF_REPLY)
    is_safe = flag(row[safe], safe)
    scores = {} if is_safe is None else {"safe": float(is_safe)}
    level = {} if row.get(severity) is None else {"severity": score(row[severity], severity)}
    return Response(
        text(row[words], words),
        scores={**scores, **level},
        model=None if row.get(model) is None else text(row[model], model),
        extra=rest({kept: row.get(f"response_{place}_{kept}") for kept in _KEPT}, ()),
    )


def _comparison(row: dict[str, Any], column: str) -> Comparison:
    given = score(row[column], column)
    if given not in (None, *_REPLIES):
        fail(column, "0 or 1, the place of a reply", row[column])
    return Comparison(0, 1, "abstain" if given is None else "second" if given else "first", _JUDGED[column])
