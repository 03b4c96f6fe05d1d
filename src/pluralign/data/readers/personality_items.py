"""Personality items (Jiang et al. 2023, arXiv 2206.07550; IPIP): how well a statement describes you, by the Big Five.

The five usual answers are the replies. Each scores 1 to 5 on the item's trait, forwards for key 1 and backwards for
key -1; an item with key 0 counts for no trait, so its replies have no score.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.data.strict import fail, one_of, text

_TRAITS = {
    "O": Objective("openness", "open to what is new", low=1, high=5),
    "C": Objective("conscientiousness", "orderly and dutiful", low=1, high=5),
    "E": Objective("extraversion", "outgoing", low=1, high=5),
    "A": Objective("agreeableness", "friendly and trusting", low=1, high=5),
    "N": Objective("neuroticism", "easily worried or upset", low=1, high=5),
}
OBJECTIVES = tuple(_TRAITS.values())
LICENCE = "MIT (the items themselves are in the public domain)"
SOURCE = "Machine Personality Inventory (Jiang et al. 2023, arXiv 2206.07550; IPIP items)"
HUB = None
QUESTION = "How accurately does this statement describe you?"
ANSWERS = (
    "Very accurate",
    "Moderately accurate",
    "Neither accurate nor inaccurate",
    "Moderately inaccurate",
    "Very inaccurate",
)
_COLUMNS = ("text", "trait", "key")
COLUMNS = f"{', '.join(_COLUMNS)} (trait {', '.join(_TRAITS)}; key 1, -1 or 0), inventory, facet"


def recognise(row: dict[str, Any]) -> int:
    """Three, where all columns are there and the trait is one of the five."""
    return len(_COLUMNS) if set(row) >= set(_COLUMNS) and row["trait"] in tuple(_TRAITS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: five answers per item, scored on the item's trait."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "personality_items")


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, _COLUMNS)
    trait = _TRAITS[one_of(*_TRAITS)(row["trait"], "trait")].name
    key = cells.score(row["key"], "key")
    if key not in (1.0, -1.0, 0.0):
        fail("key", "1, -1 or 0", row["key"])
    replies = tuple(
        Response(answer, {trait: 3.0 + key * (2 - place)} if key else {}) for place, answer in enumerate(ANSWERS)
    )
    record = Record(
        user(f'{QUESTION}\n"{text(row["text"], "text")}"'),
        replies,
        id=f"line-{line}",
        source=SOURCE,
        extra=cells.rest(row, ("text",)),
    )
    check(record, OBJECTIVES)
    return record
