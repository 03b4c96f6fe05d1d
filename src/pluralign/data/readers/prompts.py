"""Prompt lists: a text or a dialogue per row and no reply, in any table, or one prompt per line of a text file.

Recognised only where every other column is plainly about the prompt (an id, a label, a number, scores), so that no
column of replies is taken for a remark; `--map prompt=COLUMN` reads the others. A table with nothing but TRL's
columns is TRL's, which gives the same records.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, user
from pluralign.data.strict import anything, mapping_of, one_of, text, tuple_of
from pluralign.data.trl_columns import KNOWN

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = None
SOURCE = None
HUB = None
COLUMNS = "prompt, and no reply: ids, labels and scores of the prompt at most"
_ABOUT = {
    *("id", "prompt_id", "idx", "index", "source", "dataset", "subset", "split", "category", "categories", "topic"),
    *("task", "type", "tag", "tags", "lang", "language", "label", "domain", "difficulty"),
}


def recognise(row: dict[str, Any]) -> int:
    """One, where the row has a prompt, nothing that could be a reply, and more than TRL's columns."""
    if not isinstance(row.get("prompt"), str | list) or set(row) <= KNOWN:
        return 0
    others = [(column, value) for column, value in row.items() if column != "prompt"]
    return int(all(column.lower() in _ABOUT or _is_measure(value) for column, value in others))


def _is_measure(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_is_measure(item) for item in value.values())
    try:
        return value is None or float(value) is not None
    except (TypeError, ValueError):
        return False


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: one prompt per record, without replies; everything else in `extra`."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "prompts")


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, ("prompt",))
    given = row["prompt"]
    messages = tuple_of(_message)(given, "prompt") if isinstance(given, list) else user(text(given, "prompt"))
    name = f"line-{line}" if row.get("id") is None else str(row["id"])
    record = Record(messages, id=name, extra=cells.rest(row, ("prompt", "id")))
    check(record, OBJECTIVES)
    return record


def _message(value: Any, where: str) -> Message:
    turn = mapping_of(anything)(value, where)
    role = one_of("system", "user", "assistant", "tool")(turn.get("role"), f"{where}.role")
    return Message(role, text(turn.get("content"), f"{where}.content"))
