"""Group: the training view of a record. A pair or a single example is a group of one; groups are never stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.data.condition import Condition
from pluralign.data.record import Message, Record, Response
from pluralign.errors import DataError

Text = tuple[tuple[Message, ...], str, bool]
"""(messages, response, whether the response ended by itself)."""


@dataclass(frozen=True, slots=True)
class Preference:
    """Under condition `condition`, response `chosen` beats `rejected` (indices into the group).

    `margin` >= 0 is by how much (λ·Δscore, in the units of the scores); None when only the direction is known.
    """

    condition: int
    chosen: int
    rejected: int
    margin: float | None = None
    lowest: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if self.chosen == self.rejected or min(self.condition, self.chosen, self.rejected) < 0:
            raise DataError(f"a preference needs two different responses and indices from 0, got {self}")
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin >= self.lowest):
            raise DataError(f"a margin is a finite number from 0, or None; got {self.margin}")


@dataclass(frozen=True, slots=True)
class Handicap(Preference):
    """A preference whose margin is what other objectives say of the pair: below 0 where they are for the rejected."""

    lowest: ClassVar[float] = -math.inf


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt, each of its responses once, the conditions to judge under, and who beats whom under each.

    A condition of None is the unconditioned policy. Without preferences every (response, condition) is an
    example to imitate (supervised fine-tuning). `unfinished` names the responses (indices) that a length limit cut
    off: they are read without an end token, or they would teach to end early. `values` [responses][conditions] go with
    the examples to imitate where a loss wants a number for each (an advantage, a log-weight); `series`, by name,
    [responses][tokens], where it wants one for each token of a response as the policy's encoder reads it (end token
    included). Raises DataError for a preference or an unfinished response outside the group, and for values or series of
    another shape.
    """

    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    conditions: tuple[Condition | None, ...] = (None,)
    preferences: tuple[Preference, ...] = ()
    id: str = ""
    unfinished: tuple[int, ...] = ()
    values: tuple[tuple[float, ...], ...] = ()
    series: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        size, asked = len(self.responses), len(self.conditions)
        if not all(0 <= place < size for place in self.unfinished):
            raise DataError(f"unfinished names responses {self.unfinished} of a group of {size}")
        if self.values and (self.preferences or [len(row) for row in self.values] != [asked] * size):
            raise DataError(f"values are [{size} responses][{asked} conditions], without preferences")
        for name, rows in self.series.items():
            if len(rows) != size:
                raise DataError(f"series {name!r} has {len(rows)} rows for {size} responses")
        for preference in self.preferences:
            if max(preference.chosen, preference.rejected) >= size or preference.condition >= asked:
                raise DataError(f"{preference} is outside a group of {size} responses and {asked} conditions")

    @classmethod
    def of(
        cls,
        record: Record,
        responses: Sequence[Response],
        conditions: tuple[Condition | None, ...] = (None,),
        preferences: tuple[Preference, ...] = (),
    ) -> Group:
        """The group of some of a record's responses."""
        texts = tuple(response.text for response in responses)
        return cls(record.messages, texts, conditions, preferences, record.id, cut_off(responses))

    def texts(self) -> list[Text]:
        """What there is to read: each response after the prompt."""
        return [(self.messages, text, place not in self.unfinished) for place, text in enumerate(self.responses)]


def cut_off(responses: Sequence[Response]) -> tuple[int, ...]:
    """Places of the responses that did not end by themselves."""
    return tuple(place for place, response in enumerate(responses) if not response.finished)
