"""A policy of ours that answers: the same questions through the engine, no server needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pluralign.base_model import weights_fingerprint
from pluralign.data.condition import Condition
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request, context
from pluralign.scorers.asking import Answers, Question


@dataclass(frozen=True)
class PolicyAsk:
    """A `policy` asked under a `condition` (None: unasked); questions are answered in batches of `batch_size`."""

    policy: Policy
    condition: Condition | None = None
    batch_size: int = 32

    @cached_property
    def name(self) -> str:
        """The policy by its content."""
        return f"policy {self.policy.fingerprint()} {weights_fingerprint(self.policy.model)} {self.condition}"

    def answers(self, questions: Sequence[Question]) -> Answers:
        """See `asking.Ask`. A question that would not fit whole is not asked (None)."""
        for start in range(0, len(questions), self.batch_size):
            chunk = questions[start : start + self.batch_size]
            fitting = [place for place, question in enumerate(chunk) if self._fits(question)]
            engine = Engine(self.policy, self.batch_size)
            done = engine.generate([self._request(chunk[place]) for place in fitting])
            texts = {place: completion.text for place, completion in zip(fitting, done, strict=True)}
            yield from (texts.get(place) for place in range(len(chunk)))

    def _fits(self, question: Question) -> bool:
        limits = [each for each in (self.policy.encoder.max_length, context(self.policy)) if each is not None]
        written = self.policy.steering.write(question.messages, self.condition)
        size = len(self.policy.encoder.prompt(written).ids) + question.max_tokens
        return all(size <= limit for limit in limits)

    def _request(self, question: Question) -> Request:
        asked = (question.seed, question.temperature, 1.0, question.max_tokens)
        return Request(question.messages, self.condition, *asked)
