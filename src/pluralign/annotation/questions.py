"""What one person is asked, in order: records, then replies (or pairs of replies), then objectives."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import Literal

from pluralign.data.objective import Objective, unique
from pluralign.errors import ConfigError
from pluralign.storage import fingerprint

Mode = Literal["rate", "compare", "auto"]
PREFERRED = Objective("preferred", "the reply that this person wants")
_ASKED = re.compile(r"(?P<name>[^:]+)(:(?P<low>-?[\d.]+)-(?P<high>-?[\d.]+))?")


@dataclass(frozen=True, slots=True)
class Question:
    """One reply to rate on an objective, or two replies (places in the record, ascending) to compare on it."""

    number: int
    record: int
    replies: tuple[int, ...]
    objective: Objective

    @property
    def compares(self) -> bool:
        """Whether two replies are compared."""
        return len(self.replies) == 2


class Plan(Sequence[Question]):
    """Every question about records of which only the number of replies is known: a long sequence in little memory.

    "rate" asks about each reply, "compare" about each pair of a record's replies, "auto" rates where a record has one
    reply and compares where it has more. Each is asked on every objective.
    """

    def __init__(self, replies: Sequence[int], objectives: Sequence[Objective], mode: Mode) -> None:
        self.replies, self.objectives, self.mode = replies, tuple(objectives), mode
        self._ends = array("q", accumulate(len(self.objectives) * self._num_places(num) for num in replies))

    def _rates(self, num: int) -> bool:
        return self.mode == "rate" or (self.mode == "auto" and num == 1)

    def _num_places(self, num: int) -> int:
        return num if self._rates(num) else num * (num - 1) // 2

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> Question:  # type: ignore[override]
        """Question `number` from 0; IndexError beyond the last."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        record = bisect_right(self._ends, number)
        within = number - (self._ends[record - 1] if record else 0)
        place, k = divmod(within, len(self.objectives))
        num = self.replies[record]
        replies = (place,) if self._rates(num) else list(combinations(range(num), 2))[place]
        return Question(number, record, replies, self.objectives[k])


def swapped(question: Question, seed: int, annotator: str) -> bool:
    """Whether the second reply of a pair is shown first: a fair coin of seed, person and pair, the same for each objective."""
    return int(fingerprint(seed, annotator, question.record, list(question.replies))[0], 16) % 2 == 1


def keyed(objective: Objective) -> bool:
    """Whether one digit key answers: the range is of whole numbers within 0 to 9."""
    low, high = objective.low, objective.high
    return low.is_integer() and high.is_integer() and low >= 0 and high <= 9


def asked_objectives(text: str, known: Sequence[Objective], mode: Mode) -> tuple[Objective, ...]:
    """The objectives of "helpful:1-5,funny:1-5"; a name alone is one of the file's, or new with the range 0 to 1.

    Without text they are the file's; where it has none, `preferred` is asked, unless replies are to be rated.
    Raises ConfigError for a text that does not parse, and for a range that the file contradicts.
    """
    if text:
        return unique([_asked(part.strip(), known) for part in text.split(",")])
    if not known and mode == "rate":
        raise ConfigError("the file declares no objectives to rate; name them with --objectives helpful:1-5,funny:1-5")
    return tuple(known) or (PREFERRED,)


def _asked(part: str, known: Sequence[Objective]) -> Objective:
    found = _ASKED.fullmatch(part)
    if not found:
        raise ConfigError(f"cannot read the objective {part!r:.60}; write NAME or NAME:LOW-HIGH, e.g. helpful:1-5")
    declared = next((objective for objective in known if objective.name == found["name"]), None)
    if found["low"] is None:
        return declared or Objective(found["name"])
    try:
        low, high = float(found["low"]), float(found["high"])
    except ValueError as error:
        raise ConfigError(f"cannot read the range of {part!r:.60}; write e.g. helpful:1-5") from error
    if declared and (declared.low, declared.high) != (low, high):
        raise ConfigError(
            f"the file's {declared.name} runs from {declared.low:g} to {declared.high:g}, not {low:g} to {high:g}; "
            "leave the range out, or give the objective another name"
        )
    return declared or Objective(found["name"], low=low, high=high)
