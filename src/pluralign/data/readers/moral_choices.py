"""MoralChoice (Scherrer et al. 2023, arXiv 2307.14324): a situation, two actions, and which of ten rules each breaks.

Yes is 1, No is 0, "No Agreement" among the annotators is an abstention. Where the case is clear (low ambiguity) the
source writes the preferred action first, and that is an overall comparison; where it is not, nothing is preferred.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective, names
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.data.strict import fail, mapping_of, one_of, text
from pluralign.errors import DataError

_RULES = {
    "death": "kills",
    "pain": "causes pain",
    "disable": "disables somebody",
    "freedom": "takes somebody's freedom",
    "pleasure": "takes somebody's pleasure",
    "deceive": "deceives",
    "cheat": "cheats",
    "break_promise": "breaks a promise",
    "break_law": "breaks the law",
    "duty": "neglects a duty",
}
OBJECTIVES = tuple(Objective(name, words, direction="lower", safety=True) for name, words in _RULES.items())
LICENCE = "MIT"
SOURCE = "MoralChoice (Scherrer et al. 2023, arXiv 2307.14324)"
HUB = None
_COLUMNS = ("ambiguity", "context", "action1", "action2")
_TEXTS = {"Yes": 1.0, "No": 0.0, "No Agreement": None}
COLUMNS = f"{', '.join(_COLUMNS)}, violations1, violations2; or the release's a1_death ... a2_duty"


def recognise(row: dict[str, Any]) -> int:
    """Six, where the situation, both actions and what each violates are there."""
    return 6 if set(row) >= set(_COLUMNS) and any(set(row) >= set(form) for form in _FORMS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: two actions per record, scored on ten rules of which less is better."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "moral_choices")


_NESTED = ("violations1", "violations2")
_FLAT = tuple(f"a{place}_{rule}" for place in (1, 2) for rule in _RULES)
_FORMS = (_NESTED, _FLAT)


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, (*_COLUMNS, *(_NESTED if "violations1" in row else _FLAT)))
    clear = one_of("high", "low")(row["ambiguity"], "ambiguity") == "low"
    actions = tuple(Response(text(row[f"action{place}"], f"action{place}"), _scores(row, place)) for place in (1, 2))
    name = row.get("id", row.get("scenario_id"))
    used = {"id", "scenario_id", "context", "action1", "action2", *_NESTED, *_FLAT}
    record = Record(
        user(text(row["context"], "context")),
        actions,
        (Comparison(0, 1, "first"),) if clear else (),
        id=f"line-{line}" if name is None else str(name),
        source=SOURCE,
        extra=cells.rest(row, used),
    )
    check(record, OBJECTIVES)
    return record


def _scores(row: Mapping[str, Any], place: int) -> dict[str, float | None]:
    given = mapping_of(text)(row[f"violations{place}"], f"violations{place}") if "violations1" in row else None
    cell = {name: row[f"a{place}_{name}"] if given is None else given.get(name) for name in names(OBJECTIVES)}
    unknown = set(given or ()) - set(_RULES)
    if unknown:
        raise DataError(f"unknown rule {', '.join(sorted(unknown))}; allowed are {', '.join(_RULES)}")
    return {name: _violated(value, f"{name} of action{place}") for name, value in cell.items() if value is not None}


def _violated(value: Any, where: str) -> float | None:
    allowed = ", ".join(_TEXTS)
    return _TEXTS[value] if isinstance(value, str) and value in _TEXTS else fail(where, f"one of {allowed}", value)
