"""Group: the training view of a record. A pair or a single example is a group of one; groups are never stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pluralign.data.condition import Condition
from pluralign.data.record import Message
from pluralign.errors import DataError


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
    example to imitate (supervised fine-tuning). Raises DataError for a preference outside the group.
    """

    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    conditions: tuple[Condition | None, ...] = (None,)
    preferences: tuple[Preference, ...] = ()
    id: str = ""

    def __post_init__(self) -> None:
        size, asked = len(self.responses), len(self.conditions)
        for preference in self.preferences:
            if max(preference.chosen, preference.rejected) >= size or preference.condition >= asked:
                raise DataError(f"{preference} is outside a group of {size} responses and {asked} conditions")
