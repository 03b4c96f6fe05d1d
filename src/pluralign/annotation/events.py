"""What a person did, as values that a journal keeps: an answer, a comment, or taking the last of them back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pluralign.data.record import Outcome
from pluralign.data.strict import Parser, index, number, object_of, one_of, optional, text
from pluralign.errors import DataError


@dataclass(frozen=True, slots=True)
class Rated:
    """A rating in the objective's units; None: asked, and declined to say."""

    question: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """A verdict on replies in the record's order, whatever the order on the screen; `swapped` tells that it was the other."""

    question: int
    outcome: Outcome
    strength: float | None = None
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Commented:
    """Words about what was on the screen."""

    question: int
    text: str


@dataclass(frozen=True, slots=True)
class Undone:
    """The last event that still stands is taken back."""


Event = Rated | Compared | Commented | Undone


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise DataError(f"{where} must be true or false, got {value!r:.40}")
    return value


_PARSERS: dict[str, Parser] = {
    "rated": object_of(Rated, {"question": index, "score": optional(number)}),
    "compared": object_of(
        Compared,
        {
            "question": index,
            "outcome": one_of("first", "second", "tie", "abstain"),
            "strength": optional(number),
            "swapped": _flag,
        },
    ),
    "commented": object_of(Commented, {"question": index, "text": text}),
    "undone": object_of(Undone, {}),
}


def to_json(event: Event) -> dict[str, Any]:
    """The JSON object of an event."""
    return {"event": type(event).__name__.lower(), **asdict(event)}


def from_json(row: dict[str, Any]) -> Event:
    """The inverse of `to_json`; raises DataError."""
    name = one_of(*_PARSERS)(row.get("event"), "event")
    event: Event = _PARSERS[name]({key: value for key, value in row.items() if key != "event"}, "")
    return event
