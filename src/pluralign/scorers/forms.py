"""What a judge can be asked about a record: a word for each reply, ratings, or words of its own with a score
(`pairs.py`: who is better).

A form writes the questions and puts their answers into the record. An answer that cannot be read leaves nothing behind,
and is counted: absent is not 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pluralign.data.objective import Objective, names, unique
from pluralign.data.record import Comment, Rater, Record, Response
from pluralign.errors import ConfigError
from pluralign.scorers import reading
from pluralign.scorers.asking import Question
from pluralign.scorers.reading import Example

Answers = Sequence[str | None]


@dataclass
class Tally:
    """How a judge fared: `asked`, without an answer (`unanswered`), with one that could not be read (`unread`); of pairs,
    `decided` verdicts, and how many of them named the reply shown first (`first`)."""

    asked: int = 0
    unanswered: int = 0
    unread: int = 0
    decided: int = 0
    first: int = 0

    def read(self, answer: str | None, value: Any) -> None:
        """Count one answer, and what it was read as."""
        self.asked += 1
        self.unanswered += answer is None
        self.unread += answer is not None and value is None

    def __str__(self) -> str:
        told = f"{self.asked} questions, {self.unanswered} without an answer, {self.unread} answers could not be read"
        position = f"; {self.first} of {self.decided} verdicts name the reply shown first" if self.decided else ""
        return told + position


class Form(Protocol):
    """What is asked. `objectives`: what gets scores."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What gets scores; empty where there are only words or comparisons."""

    def questions(self, record: Record) -> list[Question]:
        """What to ask about a record."""

    def filled(self, record: Record, answers: Answers, rater: Rater, tally: Tally) -> Record:
        """The record with what the answers to its questions say."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """One of a few given words for each reply, as a comment (ALT's categorical feedback, methods.md A14)."""

    words: tuple[str, ...]
    """the allowed answers"""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """scores that a word stands for, by objective; none gives only the words"""
    objectives: tuple[Objective, ...] = ()
    """the objectives of `scores`"""
    objective: str | None = None
    """what the words are about (none: the reply as a whole)"""
    instruction: str = "Judge the reply to the dialogue."
    """what to judge, and how; the allowed words are told behind it"""
    examples: tuple[Example, ...] = ()
    """questions with their answers, shown first"""
    max_tokens: int = 10
    """of an answer (ALT: 10)"""

    def __post_init__(self) -> None:
        reading.check_examples(self.examples, 1)
        if len({word.casefold() for word in self.words}) < max(2, len(self.words)) or not all(self.words):
            raise ConfigError(f"a judge needs at least two different words to choose from, got {self.words}")
        unknown = [
            *(set(self.scores) - set(self.words)),
            *(each.answer for each in self.examples if each.answer not in self.words),
        ]
        if unknown:
            raise ConfigError(f"{unknown[0]!r} is none of the allowed words: {', '.join(self.words)}")
        for word, scores in self.scores.items():
            if set(scores) != set(names(self.objectives)):
                raise ConfigError(
                    f"the scores of {word!r} must be those of the objectives {', '.join(names(self.objectives))}"
                )
        if bool(self.scores) != bool(self.objectives):
            raise ConfigError("scores and objectives belong together: give both, or neither")

    def questions(self, record: Record) -> list[Question]:
        """One per reply."""
        told = f"{self.instruction} Answer with exactly one of: {'; '.join(self.words)}. Say nothing else."
        return [_about(self, told, record, reply) for reply in record.responses]

    def filled(self, record: Record, answers: Answers, rater: Rater, tally: Tally) -> Record:
        """With a comment, and scores where the word has some."""
        replies = []
        for reply, answer in zip(record.responses, answers, strict=True):
            word = None if answer is None else reading.one_of(answer, self.words)
            tally.read(answer, word)
            scores = {} if word is None else self.scores.get(word, {})
            comments = [] if word is None else [Comment(word, self.objective, rater)]
            replies.append(_told(reply, self.objectives, scores, comments))
        return replace(record, responses=tuple(replies))


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """A number for each reply and each objective, asked for one by one."""

    objectives: tuple[Objective, ...]
    """what is rated, with ranges and descriptions"""
    instruction: str = "Rate the reply to the dialogue."
    """what comes before the objective's own question"""
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    """by objective: questions with their answers, shown first"""
    max_tokens: int = 10
    """of an answer"""

    def __post_init__(self) -> None:
        unique(self.objectives)
        if not self.objectives:
            raise ConfigError("ratings need at least one objective")
        unknown = sorted(set(self.examples) - set(names(self.objectives)))
        if unknown:
            raise ConfigError(
                f"examples are given by objective ({', '.join(names(self.objectives))}), got {unknown[0]!r}"
            )
        for objective in self.objectives:
            reading.check_examples(self.examples.get(objective.name, ()), 1)

    def questions(self, record: Record) -> list[Question]:
        """One per reply and objective."""
        return [
            reading.question(
                self._told(objective),
                record.messages,
                [reply.text],
                self.examples.get(objective.name, ()),
                self.max_tokens,
            )
            for reply in record.responses
            for objective in self.objectives
        ]

    def _told(self, objective: Objective) -> str:
        meaning = f" ({objective.description})" if objective.description else ""
        kind = "a whole number" if _whole(objective) else "a number"
        return (
            f"{self.instruction} How {objective.name} is it{meaning}? Answer with {kind} from {objective.low:g} (not at "
            f"all) to {objective.high:g} (very). Say nothing else."
        )

    def filled(self, record: Record, answers: Answers, rater: Rater, tally: Tally) -> Record:
        """With scores in the objectives' units."""
        told, replies = iter(answers), []
        for reply in record.responses:
            scores: dict[str, float] = {}
            for objective in self.objectives:
                answer = next(told)
                value = None if answer is None else reading.number(answer, objective.low, objective.high)
                value = None if value is not None and _whole(objective) and value != round(value) else value
                tally.read(answer, value)
                scores |= {} if value is None else {objective.name: value}
            replies.append(_told(reply, self.objectives, scores, []))
        return replace(record, responses=tuple(replies))


@dataclass(frozen=True, kw_only=True)
class FreeText:
    """An analysis, feedback in a few words, and a score (ALT's unconstrained feedback, methods.md A14)."""

    objective: Objective = field(default_factory=lambda: Objective("quality", "coherent, accurate and complete", 0, 3))
    """what the score is about: whole numbers in its range (ALT: 0 to 3, a point each for coherence, accuracy, coverage)"""
    instruction: str = (
        "Judge the reply to the dialogue: one point each if it is coherent, accurate, and covers what was asked."
    )
    """what to judge, and how"""
    examples: tuple[Example, ...] = ()
    """questions with their answers, shown first"""
    max_words: int = 10
    """of the feedback; longer feedback cannot be read"""
    max_tokens: int = 300
    """of an answer"""

    def __post_init__(self) -> None:
        reading.check_examples(self.examples, 1)
        if self.max_words < 1:
            raise ConfigError(f"max_words must be at least 1, got {self.max_words}")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The one that is scored."""
        return (self.objective,)

    def questions(self, record: Record) -> list[Question]:
        """One per reply."""
        low, high = self.objective.low, self.objective.high
        told = (
            f"{self.instruction} Answer in three lines:\nAnalysis: your reasons\nFeedback: at most {self.max_words} words "
            f"on the reply\nScore: a whole number from {low:g} to {high:g}"
        )
        return [_about(self, told, record, reply) for reply in record.responses]

    def filled(self, record: Record, answers: Answers, rater: Rater, tally: Tally) -> Record:
        """With the feedback as a comment, and the score; both or neither."""
        replies = []
        for reply, answer in zip(record.responses, answers, strict=True):
            found = None if answer is None else self._read(answer)
            tally.read(answer, found)
            scores = {} if found is None else {self.objective.name: found[1]}
            comments = [] if found is None else [Comment(found[0], self.objective.name, rater)]
            replies.append(_told(reply, self.objectives, scores, comments))
        return replace(record, responses=tuple(replies))

    def _read(self, answer: str) -> tuple[str, float] | None:
        parts = reading.fields(answer, ("Analysis", "Feedback", "Score"))
        if parts is None or not 0 < len(parts["Feedback"].split()) <= self.max_words:
            return None
        score = reading.number(parts["Score"], self.objective.low, self.objective.high)
        return None if score is None or score != round(score) else (parts["Feedback"], score)


def _whole(objective: Objective) -> bool:
    """Whether a range is rated in whole numbers: its ends are whole, and not just 0 and 1."""
    return (
        objective.low == round(objective.low)
        and objective.high == round(objective.high)
        and objective.high - objective.low > 1
    )


def _about(form: Words | FreeText, told: str, record: Record, reply: Response) -> Question:
    return reading.question(told, record.messages, [reply.text], form.examples, form.max_tokens)


def _told(
    reply: Response, objectives: Sequence[Objective], scores: Mapping[str, float], comments: Sequence[Comment]
) -> Response:
    """The reply with these scores in place of those it had for the objectives, and the comments in place of those that
    their rater made before."""
    kept = {name: score for name, score in reply.scores.items() if name not in names(objectives)}
    again = [(each.rater, each.objective) for each in comments]
    others = [each for each in reply.comments if (each.rater, each.objective) not in again]
    return replace(reply, scores={**kept, **scores}, comments=(*others, *comments))
