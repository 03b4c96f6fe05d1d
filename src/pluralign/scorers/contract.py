"""The contract of a scorer: a rule, a reward model, a judge or a person; records in, records with more feedback out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from pluralign.data.objective import Objective
from pluralign.data.record import Record


class Scorer(Protocol):
    """Fills `objectives` of every response. A score that failed is absent, never 0.

    It yields the records in their order, as soon as each is scored, so that what was scored before a failure is kept.
    """

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What it fills; empty for one that gives words alone."""

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, in order, with scores or comments added."""
