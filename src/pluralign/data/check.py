"""What must hold inside one record, whoever made it: a reader, a scorer, a sampler or a person."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pluralign.data.objective import NAME, Objective
from pluralign.data.record import Message, Ranking, Record, Response, Scores
from pluralign.data.strict import fail
from pluralign.errors import DataError

ROLES = ("system", "user", "assistant", "tool")


def check(record: Record, objectives: Sequence[Objective] | None = None) -> None:
    """Raise DataError unless the record is sound; with `objectives`, only they may be named, within their ranges.

    A dialogue is not empty and does not end with the assistant; indices point at responses; spans lie inside their
    text; scores are finite. Ratings of single raters are held to the same ranges as the aggregate scores.
    """
    ranges = None if objectives is None else {objective.name: objective for objective in objectives}
    check_dialogue(record.messages)
    for place, response in enumerate(record.responses):
        if not _plainly_sound(response, ranges):
            _check_response(response, f"responses[{place}]", ranges)
    for place, comparison in enumerate(record.comparisons):
        where = f"comparisons[{place}]"
        _check_indices((comparison.first, comparison.second), len(record.responses), where)
        if comparison.strength is not None and not 0 < comparison.strength < math.inf:
            fail(f"{where}.strength", "above 0 and finite (a tie has outcome 'tie')", comparison.strength)
        _check_name(comparison.objective, where, ranges)
    for place, ranking in enumerate(record.rankings):
        _check_ranking(ranking, len(record.responses), f"rankings[{place}]")
        _check_name(ranking.objective, f"rankings[{place}]", ranges)


def check_dialogue(messages: Sequence[Message]) -> None:
    """Raise DataError unless the messages are a prompt that a reply can follow."""
    if not messages:
        raise DataError("messages is empty; a record needs at least one turn to reply to")
    for place, message in enumerate(messages):
        if message.role not in ROLES:
            fail(f"messages[{place}].role", f"one of {', '.join(ROLES)}", message.role)
    if messages[-1].role == "assistant":
        raise DataError("the last turn is the assistant's; move it out of messages into responses, as the reply")


def _plainly_sound(response: Response, ranges: dict[str, Objective] | None) -> bool:
    """Whether there are only scores, all within their ranges: the usual case, told without a place in words."""
    if ranges is None or response.ratings or response.comments or response.spans or response.votes:
        return False
    for name, score in response.scores.items():
        objective = ranges.get(name)
        if objective is None or score is None or not objective.low <= score <= objective.high:
            return False
    return True


def _check_response(response: Response, where: str, ranges: dict[str, Objective] | None) -> None:
    _check_scores(response.scores, f"{where}.scores", ranges)
    for place, rating in enumerate(response.ratings):
        _check_scores(rating.scores, f"{where}.ratings[{place}].scores", ranges)
    for place, comment in enumerate(response.comments):
        _check_name(comment.objective, f"{where}.comments[{place}]", ranges)
    for place, vote in enumerate(response.votes):
        if vote.count < 1:
            fail(f"{where}.votes[{place}].count", "at least 1", vote.count)
    for place, span in enumerate(response.spans):
        if not 0 <= span.start < span.end <= len(response.text):
            allowed = f"inside the text: 0 <= start < end <= {len(response.text)}"
            fail(f"{where}.spans[{place}]", allowed, (span.start, span.end))


def _check_scores(scores: Scores, where: str, ranges: dict[str, Objective] | None) -> None:
    for name, score in scores.items():
        _check_name(name, where, ranges)
        if score is None:
            continue
        if not math.isfinite(score):
            fail(f"{where}.{name}", "a finite number (leave a missing score out, write null for an abstention)", score)
        objective = ranges[name] if ranges else None
        if objective and not objective.low <= score <= objective.high:
            fail(f"{where}.{name}", f"in the objective's range [{objective.low:g}, {objective.high:g}]", score)


def _check_name(name: str | None, where: str, ranges: dict[str, Objective] | None) -> None:
    if name is None:
        return
    if ranges is not None and name not in ranges:
        raise DataError(f"{where}: unknown objective {name!r:.60}; allowed are: {', '.join(ranges) or '(none)'}")
    if not NAME.fullmatch(name):
        raise DataError(f"{where}: {name!r:.60} cannot be an objective's name (letters, digits, '_' and '-')")


def _check_indices(indices: Iterable[int], size: int, where: str) -> None:
    given = list(indices)
    if len(set(given)) != len(given):
        fail(where, "about different responses, each named once", given)
    if not all(0 <= given_index < size for given_index in given):
        fail(where, f"indices of the record's {size} responses (from 0)", given)


def _check_ranking(ranking: Ranking, size: int, where: str) -> None:
    if not ranking.tiers or not all(ranking.tiers):
        fail(f"{where}.tiers", "lists of at least one response each", ranking.tiers)
    _check_indices([place for tier in ranking.tiers for place in tier], size, where)
