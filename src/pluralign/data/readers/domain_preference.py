"""Domain-Specific Preference (DSP; Cheng et al. 2023, arXiv 2309.03126): a reply per domain, drawn under its system prompt.

For a domain the reply of that domain beats each of the others; two replies with the same words are not compared.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.condition import Weights
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective, names
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.data.strict import mapping_of, text
from pluralign.errors import DataError

OBJECTIVES = (
    Objective("academy", "speaks to scholars"),
    Objective("business", "speaks to people in business"),
    Objective("entertainment", "speaks to people who want to be entertained"),
    Objective("literature", "speaks as literature does"),
    Objective("normal", "speaks to everybody"),
)
LICENCE = "CC BY-NC 4.0"
SOURCE = "Domain-Specific Preference (Cheng et al. 2023, arXiv 2309.03126; Linear95/DSP)"
HUB = None
_DOMAINS = names(OBJECTIVES)
COLUMNS = f"prompt, responses ({', '.join(_DOMAINS)} -> text)"


def recognise(row: dict[str, Any]) -> int:
    """Two, where `responses` is an object of exactly the five domains."""
    responses = row.get("responses")
    return 2 if "prompt" in row and isinstance(responses, dict) and set(responses) == set(_DOMAINS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: five replies per record, each under the weight of its domain, compared on all five."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "domain_preference")


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, ("prompt", "responses"))
    given = mapping_of(text)(row["responses"], "responses")
    if set(given) != set(_DOMAINS):
        raise DataError(f"responses must hold one reply each for {', '.join(_DOMAINS)}; found {', '.join(given)}")
    replies = tuple(Response(given[name], condition=Weights({name: 1.0})) for name in _DOMAINS)
    record = Record(
        user(text(row["prompt"], "prompt")),
        replies,
        _comparisons(replies),
        id=f"line-{line}",
        source=SOURCE,
        extra=cells.rest(row, ("prompt", "responses")),
    )
    check(record, OBJECTIVES)
    return record


def _comparisons(replies: tuple[Response, ...]) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(place, other, "first", domain)
        for place, domain in enumerate(_DOMAINS)
        for other in range(len(_DOMAINS))
        if replies[other].text != replies[place].text
    )
