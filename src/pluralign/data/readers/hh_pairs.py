"""Pairs of Anthropic HH-RLHF (arXiv 2204.05862) for two objectives that conflict: helpful and harmless."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, check_columns, convert
from pluralign.data.dialogue import parse_turns
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response
from pluralign.data.strict import one_of, text

OBJECTIVES = (
    Objective("helpful", "does what the person asks for"),
    Objective("harmless", "avoids toxic, dangerous or illegal content", safety=True),
)
LICENCE = "MIT (harmless: anthropics/hh-rlhf); CC BY-NC 4.0 (helpful: the cleaned copy of Linear95/DSP)"
SOURCE = "Anthropic HH-RLHF, test parts (Bai et al. 2022, arXiv 2204.05862)"
_COLUMNS = ("objective", "prompt", "chosen", "rejected")
COLUMNS = ", ".join(_COLUMNS) + " (the prompt as 'Human: ... Assistant:')"


def recognise(row: dict[str, Any]) -> int:
    """All four columns, if they are all and the prompt is a dialogue that waits for the assistant."""
    prompt = row.get("prompt")
    waits = isinstance(prompt, str) and prompt.startswith("Human:") and prompt.endswith("Assistant:")
    return len(_COLUMNS) if set(row) == set(_COLUMNS) and waits else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: one comparison on one objective per record, the chosen reply first."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "hh_pairs")


def _record(row: dict[str, Any], line: int) -> Record:
    check_columns(row, _COLUMNS)
    objective = one_of("helpful", "harmless")(row["objective"], "objective")
    replies = tuple(Response(text(row[column], column)) for column in ("chosen", "rejected"))
    messages = parse_turns(text(row["prompt"], "prompt"))
    record = Record(messages, replies, (Comparison(0, 1, "first", objective),), id=f"hh-{line}", source=SOURCE)
    check(record, OBJECTIVES)
    return record
