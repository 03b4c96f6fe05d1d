"""BeaverTails (arXiv 2307.04657): one reply per row, whether it is safe, and which of 14 kinds of harm are in it.

Replies to the same prompt become one record, wherever their rows stand; a reply that stands in several rows is there
several times, because the rows do not say who judged. A category's name becomes an objective's by
writing "_" for each comma: controversial_topics,politics is controversial_topics_politics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pluralign.data.cells import flag, need, rest
from pluralign.data.dataset import Dataset, OnError
from pluralign.data.gather import Replies
from pluralign.data.objective import Objective
from pluralign.data.record import Response, user
from pluralign.data.strict import fail, text

_CATEGORIES = (
    "animal_abuse",
    "child_abuse",
    "controversial_topics,politics",
    "discrimination,stereotype,injustice",
    "drug_abuse,weapons,banned_substance",
    "financial_crime,property_crime,theft",
    "hate_speech,offensive_language",
    "misinformation_regarding_ethics,laws_and_safety",
    "non_violent_unethical_behavior",
    "privacy_violation",
    "self_harm",
    "sexually_explicit,adult_content",
    "terrorism,organized_crime",
    "violence,aiding_and_abetting,incitement",
)
_NAMES = {category: category.replace(",", "_") for category in _CATEGORIES}
OBJECTIVES = (
    Objective("safe", "free of every kind of harm: 1 yes, 0 no", safety=True),
    *(
        Objective(name, f"harm of this kind in the reply ({category}): 1 yes, 0 no", direction="lower", safety=True)
        for category, name in _NAMES.items()
    ),
)
LICENCE = "CC BY-NC 4.0"
HUB = "PKU-Alignment/BeaverTails"
SOURCE = "BeaverTails (Ji et al. 2023, arXiv 2307.04657; PKU-Alignment/BeaverTails)"
_COLUMNS = ("prompt", "response", "category", "is_safe")
COLUMNS = ", ".join(_COLUMNS) + " (14 kinds of harm: true or false)"


def recognise(row: dict[str, Any]) -> int:
    """All four columns, if they are there."""
    return len(_COLUMNS) if set(_COLUMNS) <= set(row) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: scores 0 and 1 for `safe` and for each kind of harm, what else there is in `extra`."""
    replies = Replies(_reply, user, OBJECTIVES, "beavertails", HUB)
    return Dataset(OBJECTIVES, replies.stream(path, on_error), LICENCE, SOURCE, "beavertails")


def _reply(row: dict[str, Any]) -> Response:
    need(row, _COLUMNS)
    category = row["category"] if isinstance(row["category"], dict) else fail("category", "an object", row["category"])
    flags = {"safe": flag(row["is_safe"], "is_safe")}
    flags |= {_NAMES[kind]: flag(found, f"category.{kind}") for kind, found in category.items() if kind in _NAMES}
    return Response(
        text(row["response"], "response"),
        scores={name: float(found) for name, found in flags.items() if found is not None},
        extra=rest(row, _COLUMNS) | rest({"category": rest(category, _CATEGORIES) or None}, ()),
    )
