"""Group: the training view of a record. A pair or a single example is a group of one; groups are never stored."""

from __future__ import annotations

from dataclasses import dataclass

from pluralign.data.condition import Condition
from pluralign.data.record import Message


@dataclass(frozen=True, slots=True)
class Preference:
    """Under condition `condition`, response `chosen` beats `rejected` (indices into the group).

    `margin` >= 0 is by how much (λ·Δscore, in the units of the scores); None when only the direction is known.
    """

    condition: int
    chosen: int
    rejected: int
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt, each of its responses once, the conditions to judge under, and who beats whom under each.

    A condition of None is the unconditioned policy. Without preferences every (response, condition) is an
    example to imitate (supervised fine-tuning).
    """

    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    conditions: tuple[Condition | None, ...] = (None,)
    preferences: tuple[Preference, ...] = ()
    id: str = ""
