"""Group: the training view of a record. A pair or a single example is a group of one; groups are never stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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

    def __post_init__(self) -> None:
        if self.chosen == self.rejected or min(self.condition, self.chosen, self.rejected) < 0:
            raise DataError(f"a preference needs two different responses and indices from 0, got {self}")
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin >= 0):
            raise DataError(f"a margin is a finite number from 0, or None; got {self.margin}")


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt, each of its responses once, the conditions to judge under, and who beats whom under each.

    A condition of None is the unconditioned policy. Without preferences every (response, condition) is an
    example to imitate (supervised fine-tuning). `unfinished` names the responses (indices) that a length limit cut
    off: they are read without an end token, or they would teach to end early. Raises DataError for a preference or
    an unfinished response outside the group.
    """

    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    conditions: tuple[Condition | None, ...] = (None,)
    preferences: tuple[Preference, ...] = ()
    id: str = ""
    unfinished: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        size, asked = len(self.responses), len(self.conditions)
        if not all(0 <= place < size for place in self.unfinished):
            raise DataError(f"unfinished names responses {self.unfinished} of a group of {size}")
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
