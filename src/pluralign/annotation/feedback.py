"""From what one person did to what a record keeps: ratings, comparisons and comments that carry their rater."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pluralign.annotation.events import Commented, Compared, Event, Rated, Undone
from pluralign.annotation.questions import Plan, Question
from pluralign.data.evidence import aggregate
from pluralign.data.record import Comment, Comparison, Rater, Rating, Record

Said = tuple[Question, Rated | Compared | Commented]


@dataclass(frozen=True, slots=True)
class Given:
    """Everything that stands of one person, by record, and how much of it there is."""

    rater: Rater
    by_record: dict[int, list[Said]]
    answers: int
    comments: int
    waiting: int
    """comments on a pair that has no verdict yet; they become its reason"""


def given(rater: Rater, plan: Plan, events: Sequence[Event], answered: int) -> Given:
    """Sort the events that stand (no Undone among them) by their record."""
    found: dict[int, list[Said]] = defaultdict(list)
    waiting = 0
    for event in events:
        if isinstance(event, Undone):
            continue
        question = plan[event.question]
        waiting += isinstance(event, Commented) and question.compares and event.question >= answered
        found[question.record].append((question, event))
    return Given(rater, dict(found), answered, len(events) - answered, waiting)


def attach(record: Record, number: int, people: Iterable[Given]) -> Record:
    """Record `number` with what these people said of it, behind everything that it held before."""
    for person in people:
        if number in person.by_record:
            record = _attach(record, person.by_record[number], person.rater)
    return record


def _attach(record: Record, said: list[Said], rater: Rater) -> Record:
    ratings: dict[int, dict[str, float | None]] = defaultdict(dict)
    comments: dict[int, list[Comment]] = defaultdict(list)
    reasons: dict[int, list[str]] = defaultdict(list)
    verdicts: list[Comparison] = []
    for question, event in said:
        name, reply = question.objective.name, question.replies[0]
        if isinstance(event, Rated):
            ratings[reply][name] = event.score
        elif isinstance(event, Compared):
            reason = "\n".join(reasons[question.number]) or None
            first, second = question.replies
            verdicts.append(Comparison(first, second, event.outcome, name, event.strength, rater, reason))
        elif question.compares:
            reasons[question.number].append(event.text)
        else:
            comments[reply].append(Comment(event.text, name, rater))
    replies = tuple(
        replace(
            response,
            ratings=response.ratings + ((Rating(ratings[place], rater),) if place in ratings else ()),
            comments=response.comments + tuple(comments.get(place, ())),
        )
        for place, response in enumerate(record.responses)
    )
    return replace(record, responses=replies, comparisons=record.comparisons + tuple(verdicts))


def unused(record: Record, said: Iterable[Said]) -> Counter[str]:
    """How many of these answers training will not use, by objective, since the record's own scores go before them.

    `record` is as it was before: where a reply has an aggregate score, ratings on that objective are not averaged in;
    where both replies of a pair are scored, the scores decide it, not the comparison.
    """
    counts: Counter[str] = Counter()
    for question, event in said:
        name, replies = question.objective.name, [record.responses[place] for place in question.replies]
        if isinstance(event, Rated):
            counts[name] += name in replies[0].scores
        elif isinstance(event, Compared):
            counts[name] += all(aggregate(reply).get(name) is not None for reply in replies)
    return +counts
