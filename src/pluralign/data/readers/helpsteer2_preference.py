"""HelpSteer2-Preference (arXiv 2410.01257): two replies, which one is better overall, by how much, and why.

The strength runs from -3 (response 1 is much better) over 0 (about the same) to 3 (response 2 is much better); -100
says that neither is fit to be compared, which is an abstention here. On the hub it is a folder of nvidia/HelpSteer2:
nvidia/HelpSteer2:preference. The single annotators' preferences (three_most_similar_preferences,
all_preferences_unprocessed) are kept in `extra` as they are: the comparison is already made of them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.cells import need, rest, score
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.dialogue import parse_marked
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Outcome, Record, Response
from pluralign.data.strict import fail, optional, text

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = "CC BY 4.0"
HUB = "nvidia/HelpSteer2"
SOURCE = "HelpSteer2-Preference (Wang et al. 2024, arXiv 2410.01257; nvidia/HelpSteer2)"
_COLUMNS = ("prompt", "response_1", "response_2", "preference_strength")
_REASONS = ("preference_statement", "preference_elaboration")
_NEITHER, _STRONGEST = -100, 3
COLUMNS = ", ".join((*_COLUMNS, *_REASONS))


def recognise(row: dict[str, Any]) -> int:
    """Four, where a prompt, two replies and the strength are there."""
    return len(_COLUMNS) if set(_COLUMNS) <= set(row) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: one overall comparison per record, its reason the statement and the elaboration."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "helpsteer2_preference")


def _record(row: dict[str, Any], line: int) -> Record:
    need(row, _COLUMNS)
    judged = _comparison(score(row["preference_strength"], "preference_strength"), _reason(row))
    record = Record(
        parse_marked(text(row["prompt"], "prompt")),
        tuple(Response(text(row[column], column)) for column in ("response_1", "response_2")),
        (judged,),
        id=f"helpsteer2_preference-{line}",
        source=HUB,
        extra=rest(row, (*_COLUMNS, *_REASONS)),
    )
    check(record, OBJECTIVES)
    return record


def _comparison(strength: float | None, reason: str | None) -> Comparison:
    """-3 .. -1 is for the first reply, 1 .. 3 for the second, 0 a tie; -100, like "N/A", an abstention."""
    if strength is None or strength == _NEITHER:
        return Comparison(0, 1, "abstain", reason=reason)
    if abs(strength) > _STRONGEST:
        fail("preference_strength", f"from -{_STRONGEST} to {_STRONGEST}, or {_NEITHER} for neither", strength)
    if strength == 0:
        return Comparison(0, 1, "tie", reason=reason)
    better: Outcome = "first" if strength < 0 else "second"
    return Comparison(0, 1, better, strength=abs(strength), reason=reason)


def _reason(row: dict[str, Any]) -> str | None:
    """Statement and elaboration, parted by an empty line."""
    given = [optional(text)(row.get(column), column) for column in _REASONS]
    return "\n\n".join(words for words in given if words) or None
