"""A language model as a judge: records in, records with its scores, comments or comparisons out.

Who answers (`scorers/asking.py`) and what is asked (`scorers/forms.py`) are apart: an endpoint and a policy of ours are
asked the same questions. Sources: ALT (methods.md A14), LLM judges in two orders (D12). A judge should not be of the
family that wrote the replies: models prefer their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Record
from pluralign.scorers.asking import Ask
from pluralign.scorers.forms import Form, Tally

CHUNK = 256  # questions that are put together

log = logging.getLogger("pluralign")


@dataclass(frozen=True)
class Judge:
    """Asks `ask` in the `form`; `tally` counts, over all calls, what was asked and could not be read."""

    ask: Ask
    form: Form
    tally: Tally = field(default_factory=Tally)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What gets scores."""
        return self.form.objectives

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, in order, with what the judge said; handed out as soon as their answers are there."""
        rater = Rater(id=f"judge {self.ask.name}")
        chunk: list[Record] = []
        size = 0
        for record in records:
            chunk.append(record)
            size += len(self.form.questions(record))
            if size >= CHUNK:
                yield from self._judged(chunk, rater)
                chunk, size = [], 0
        yield from self._judged(chunk, rater)
        if self.tally.unread or self.tally.unanswered:
            log.warning("judge: %s", self.tally)

    def _judged(self, records: list[Record], rater: Rater) -> Iterator[Record]:
        asked = [self.form.questions(record) for record in records]
        with closing(self.ask.answers([question for each in asked for question in each])) as answers:
            for record, questions in zip(records, asked, strict=True):
                told = [next(answers) for _ in questions]
                yield self.form.filled(record, told, rater, self.tally)
