"""Wording: feedback on replies put into phrases, and the phrases that stand for trade-offs (ALT, Quark)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pluralign.data.condition import Feedback
from pluralign.data.conversions import level_words
from pluralign.data.conversions.level_words import Levelled
from pluralign.data.evidence import Array
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError
from pluralign.steering.phrases import PhraseSteering


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What is said of a reply, and which replies are learnt from."""

    kind: Literal["levels", "overall", "categories", "comments"] = "levels"
    """levels: a quantile word for each objective that is spoken of; overall: one for the mean score; categories: the comment that is one of the steering's levels; comments: the comment as it is"""
    scope: Literal["prompt", "global"] = "prompt"
    """quantiles among the replies of a prompt (ALT's summaries and dialogue), or of all (ALT's toxicity, Quark)"""
    rule: Literal["paper", "public", "even"] = "paper"
    """what happens to replies that do not divide evenly: paper, to the worst word; public, all of them worst where there are fewer than words; even, spread"""
    each: int | None = 2
    """replies drawn per prompt and word, whole ones before truncated ones (ALT: 2); none learns from all"""
    spoken: float = 0.3
    """chance of every further objective to be spoken of (levels only); 1 tells everything, and trade-offs ask for everything"""
    unasked: float = 0.1
    """share of examples learnt without feedback, which guidance needs (papers: 0)"""
    support: int = 20
    """replies that a phrase of several objectives needs to stand for a trade-off, and the weight of the mean of all replies in its worth"""

    def __post_init__(self) -> None:
        for name, value in (("spoken", self.spoken), ("unasked", self.unasked)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is a share from 0 to 1, got {value}")
        if self.support < 1 or (self.each is not None and self.each < 1):
            raise ConfigError(f"support and each are at least 1, got {self.support} and {self.each}")

    def read(
        self, pool: Sequence[Record], objectives: Sequence[Objective], steering: PhraseSteering, seed: int
    ) -> list[Group]:
        """Examples to imitate under their feedback; the steering learns what its phrases are worth. DataError for none."""
        rng = np.random.default_rng(seed)
        table = self._table(pool, objectives, steering)
        groups = [self._group(table, place, axis, steering, rng) for place, axis in balanced(table, self.each, rng)]
        if not groups:
            wanted = "a comment" if self.kind == "comments" else f"one of {', '.join(getattr(steering, 'levels', ()))}"
            raise DataError(
                "no reply has the feedback to learn from: "
                + (f"{wanted} among its comments" if self.kind in ("categories", "comments") else "scores")
                + "; score or annotate the data first"
            )
        phrases, worth = self._phrases(table, steering)
        steering.learn(phrases, worth)
        return groups

    def _table(self, pool: Sequence[Record], objectives: Sequence[Objective], steering: PhraseSteering) -> Levelled:
        if self.kind == "categories":
            words = {word.casefold(): level for level, word in enumerate(getattr(steering, "levels", ()))}
            return level_words.by_category(pool, objectives, lambda reply: _category(reply, words))
        if self.kind == "comments":
            return _commented(pool, objectives, steering.num_levels)
        how = {"whole": self.kind == "overall", "scope": self.scope, "rule": self.rule}
        return level_words.by_scores(pool, objectives, steering.num_levels, **how)  # type: ignore[arg-type]

    def _group(
        self, table: Levelled, place: int, axis: int, steering: PhraseSteering, rng: np.random.Generator
    ) -> Group:
        record, reply = table.replies[place]
        others = [other for other in range(len(table.axes)) if other != axis and rng.random() < self.spoken]
        if rng.random() < self.unasked:
            return Group.of(record, [reply])
        phrase = _comment(reply) if self.kind == "comments" else steering.phrase(table.said(place, [axis, *others]))
        return Group.of(record, [reply], (Feedback(phrase),))

    def _phrases(self, table: Levelled, steering: PhraseSteering) -> tuple[list[str], Array]:
        if self.kind == "comments":
            return _serving(table)
        together: Literal["one", "some", "all"] = "some" if 0 < self.spoken < 1 else "all" if self.spoken else "one"
        said, worth = level_words.worth(table, self.support, together)
        if np.isnan(table.scores).all():  # a judge that gives words alone: their order is all there is
            steps = max(steering.num_levels - 1, 1)
            worth = np.array([[1 - one[0][1] / steps] * table.scores.shape[1] for one in said])
        return [steering.phrase(one) for one in said], worth


balanced = level_words.balanced


def _comment(reply: Response) -> str:
    """The last thing that was said of a reply, or ""."""
    said = [comment.text.strip() for comment in reply.comments if comment.text.strip()]
    return said[-1] if said else ""


def _category(reply: Response, words: dict[str, int]) -> int | None:
    """The level of the last comment that is a category; None without one (a judge's answer that could not be read)."""
    found = [words[text] for comment in reply.comments if (text := comment.text.strip().casefold()) in words]
    return found[-1] if found else None


def _commented(pool: Sequence[Record], objectives: Sequence[Objective], num: int) -> Levelled:
    """Replies with a comment; scores, where there are any, balance them (as levels of the mean score)."""
    known = [_only(record, [reply for reply in record.responses if _comment(reply)]) for record in pool]
    table = level_words.by_scores(known, objectives, num, whole=True)
    levels = np.maximum(table.levels, 0)
    return Levelled(table.replies, table.prompts, levels, table.scores, table.axes)


def _only(record: Record, replies: list[Response]) -> Record:
    return Record(record.messages, tuple(replies), id=record.id)


def _serving(table: Levelled) -> tuple[list[str], Array]:
    """The comments of the replies that serve some weights best."""
    scores = np.nan_to_num(table.scores, nan=0.0)
    best = sorted(set((level_words.trials(scores.shape[1]) @ scores.T).argmax(1).tolist()))
    return [_comment(table.replies[place][1]) for place in best], scores[best]
