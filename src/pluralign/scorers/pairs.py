"""A form of asking a judge: which of two replies is better, in an order that says nothing about who is who.

Swapping the replies negates the verdict (the order follows the texts), and equal texts are a tie (methods.md D12).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from pluralign.data.objective import Objective, unique
from pluralign.data.record import Comparison, Outcome, Rater, Record
from pluralign.scorers import reading
from pluralign.scorers.asking import Question
from pluralign.scorers.forms import Tally
from pluralign.scorers.reading import Example
from pluralign.storage import fingerprint


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Which of two replies is better, for all pairs of a record's replies (methods.md D12)."""

    about: tuple[Objective, ...] = ()
    """objectives to compare on, one question each; none compares as a whole"""
    order: Literal["random", "both"] = "random"
    """random: one question, in an order drawn from the two texts and `seed`; both: two questions, and a verdict only
    where both name the same reply, else a tie"""
    seed: int = 0
    """of the order"""
    instruction: str = "Compare the two replies to the dialogue."
    """what to judge, and how"""
    examples: tuple[Example, ...] = ()
    """questions with their answers (1, 2 or 0), shown first"""
    max_tokens: int = 10
    """of an answer"""

    def __post_init__(self) -> None:
        reading.check_examples(self.examples, 2)
        unique(self.about)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """None: comparisons are no scores."""
        return ()

    def questions(self, record: Record) -> list[Question]:
        """One (order=both: two) per pair of different replies and objective; equal texts are a tie unasked."""
        return [
            reading.question(
                self._told(objective),
                record.messages,
                [record.responses[i].text for i in order],
                self.examples,
                self.max_tokens,
            )
            for objective, pair in self._asked(record)
            for order in self._orders(record, pair)
        ]

    def filled(self, record: Record, answers: Sequence[str | None], rater: Rater, tally: Tally) -> Record:
        """With a comparison for each pair that was judged."""
        told, found = iter(answers), []
        for objective, pair in self._asked(record):
            winners = [_winner(next(told), order, tally) for order in self._orders(record, pair)]
            if None not in winners:
                agreed = winners[0] if len(set(winners)) == 1 else TIE
                outcome: Outcome = "tie" if agreed == TIE else "first" if agreed == pair[0] else "second"
                found.append(Comparison(*pair, outcome, None if objective is None else objective.name, rater=rater))
        again = [(each.rater, each.objective, each.first, each.second) for each in found]
        others = [c for c in record.comparisons if (c.rater, c.objective, c.first, c.second) not in again]
        return replace(record, comparisons=(*others, *found))

    def _asked(self, record: Record) -> Iterator[tuple[Objective | None, tuple[int, int]]]:
        for pair in combinations(range(len(record.responses)), 2):
            for objective in self.about or (None,):
                yield objective, pair

    def _orders(self, record: Record, pair: tuple[int, int]) -> list[tuple[int, int]]:
        """How the pair is shown; not at all where the texts are equal. The order follows the texts, whoever is first."""
        i, j = sorted(pair, key=lambda place: record.responses[place].text)
        if record.responses[i].text == record.responses[j].text:
            return []
        if self.order == "both":
            return [(i, j), (j, i)]
        texts = [record.responses[place].text for place in (i, j)]
        said = [[message.role, message.content] for message in record.messages]
        return [(i, j) if int(fingerprint(self.seed, said, texts), 16) % 2 else (j, i)]

    def _told(self, objective: Objective | None) -> str:
        meaning = "" if objective is None or not objective.description else f" ({objective.description})"
        what = "better" if objective is None else f"better on '{objective.name}'{meaning}"
        return (
            f"{self.instruction} Which one is {what}? Answer 1 for the first, 2 for the second, 0 if neither is. Say "
            "nothing else."
        )


TIE = -1


def _winner(answer: str | None, order: tuple[int, int], tally: Tally) -> int | None:
    """The reply that an answer names (TIE: neither; None: it cannot be read), counted."""
    verdict = None if answer is None else reading.one_of(answer, ("1", "2", "0"))
    tally.read(answer, verdict)
    tally.decided += verdict in ("1", "2")
    tally.first += verdict == "1"
    if verdict is None:
        return None
    return TIE if verdict == "0" else order[int(verdict) - 1]
