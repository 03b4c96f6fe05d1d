"""Record: one prompt with its responses and everything people said about them.

Offline data, rollouts and annotations are the same type. Absence has meaning and is kept apart from 0:

    missing   the key is absent (nobody was asked, or a scorer failed)
    abstain   the score is None, or the comparison's outcome is "abstain" (asked, and declined to say)
    tie       the comparison's outcome is "tie" (asked, and said: equally so)
    0         the number 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pluralign.data.condition import Condition

Scores = Mapping[str, float | None]
Outcome = Literal["first", "second", "tie", "abstain"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a dialogue. `role` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Rater:
    """Who gave a piece of feedback: a pseudonymous id, groups they belong to, and their language."""

    id: str | None = None
    group: str | None = None
    language: str | None = None
    demographics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rating:
    """One rater's scores of one response. A rating without a rater is the source's aggregate."""

    scores: Scores
    rater: Rater | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """Words about a response, by a person or a model."""

    text: str
    objective: str | None = None
    rater: Rater | None = None


@dataclass(frozen=True, slots=True)
class Vote:
    """Whether people agree with a response: one person's vote, or the `count` equal votes of a group (`rater.group`)."""

    choice: Literal["agree", "disagree", "pass"]
    count: int = 1
    rater: Rater | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a response's text, characters [start, end), with a label and an optional score."""

    start: int
    end: int
    label: str
    score: float | None = None
    rater: Rater | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One reply. `scores` are the aggregate per objective; `ratings` keep every rater apart.

    `condition` is the condition the reply was drawn under (None: unconditioned or unknown); `finished` is False
    for a reply cut off by a length limit.
    """

    text: str
    scores: Scores = field(default_factory=dict)
    ratings: tuple[Rating, ...] = ()
    comments: tuple[Comment, ...] = ()
    spans: tuple[Span, ...] = ()
    votes: tuple[Vote, ...] = ()
    thumb: Literal["up", "down"] | None = None
    condition: Condition | None = None
    finished: bool = True
    model: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which of two responses (indices) is better on one objective (None: overall), and by how much.

    `strength` > 0 is in the source's own units; None when the source gives only the direction.
    """

    first: int
    second: int
    outcome: Outcome
    objective: str | None = None
    strength: float | None = None
    rater: Rater | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Responses (indices) from best to worst on one objective (None: overall); each tier is a tie."""

    tiers: tuple[tuple[int, ...], ...]
    objective: str | None = None
    rater: Rater | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One prompt (a dialogue whose last turn is not the assistant's) with its responses and their feedback.

    `extra` keeps what a source says and no field holds; nothing is dropped silently.
    """

    messages: tuple[Message, ...]
    responses: tuple[Response, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    id: str = ""
    language: str | None = None
    source: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def user(prompt: str) -> tuple[Message, ...]:
    """A one-turn dialogue."""
    return (Message("user", prompt),)
