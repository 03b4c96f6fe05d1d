"""Who gave what: a record with only the feedback of some people, and the scores that were a mean of it made anew."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pluralign.data.evidence import aggregate
from pluralign.data.record import Rater, Rating, Record, Response

Keeps = Callable[[Rater | None], bool]
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_PEOPLE = re.compile(
    r"annotator|rater|worker|user|labell?er|judge|author|participant|respondent|voter|person|crowd", re.IGNORECASE
)
_ON_REPLIES, _ON_RECORDS = ("ratings", "comments", "spans", "votes"), ("comparisons", "rankings")


def feedback(record: Record) -> Iterator[tuple[str, Any]]:
    """(kind, item) of everything that can carry a rater: ratings, comments, spans, votes, comparisons, rankings."""
    for response in record.responses:
        for kind in _ON_REPLIES:
            yield from ((kind, item) for item in getattr(response, kind))
    for kind in _ON_RECORDS:
        yield from ((kind, item) for item in getattr(record, kind))


def means(response: Response) -> set[str]:
    """The objectives whose aggregate score is the mean of the ratings in the file, so that it can be made again."""
    found = _means(response.ratings)
    return {name for name, score in response.scores.items() if name in found and _equal(score, found[name])}


def restrict(record: Record, keeps: Keeps, nameless: bool) -> tuple[Record, Counter[str]]:
    """(the record with the feedback whose rater `keeps` accepts, how much of it there is by kind).

    A score that is a mean of ratings becomes the mean of those that stay, and goes where none does; it is not counted.
    Other scores and thumbs, which name nobody, stay if `nameless`.
    """
    counts: Counter[str] = Counter()
    replies = []
    for response in record.responses:
        known = means(response)
        rest = {kind: tuple(item for item in getattr(response, kind) if keeps(item.rater)) for kind in _ON_REPLIES}
        after = _means(rest["ratings"])
        scores = {name: after.get(name, score) if name in known else score for name, score in response.scores.items()}
        kept = {name: scores[name] for name in scores if (name in after if name in known else nameless)}
        thumb = response.thumb if nameless else None
        counts.update({kind: len(items) for kind, items in rest.items()})
        counts.update({"scores": len(set(kept) - known), "thumbs": int(thumb is not None)})
        changed: dict[str, Any] = {"scores": kept, "thumb": thumb, **rest}
        replies.append(replace(response, **changed))
    comparisons = tuple(item for item in record.comparisons if keeps(item.rater))
    rankings = tuple(item for item in record.rankings if keeps(item.rater))
    counts.update({"comparisons": len(comparisons), "rankings": len(rankings)})
    return replace(record, responses=tuple(replies), comparisons=comparisons, rankings=rankings), counts


def scrubbed(record: Record, ids: Collection[str]) -> tuple[Record, int]:
    """(the record without these raters in the `extra` of it and of its replies, how many places named them).

    What stands under a rater's id goes, and objects in a list that name one; an id beside other things goes alone.
    An id is looked for as a key, and as a text under a key that names people (annotator, worker, user ...).
    """
    cleaner = _Cleaner(frozenset(ids))
    replies = tuple(
        replace(response, extra=cleaner.clean(response.extra, False)) if response.extra else response
        for response in record.responses
    )
    extra = cleaner.clean(record.extra, False) if record.extra else record.extra
    return (replace(record, responses=replies, extra=extra), cleaner.num) if cleaner.num else (record, 0)


class _Cleaner:
    """Takes ids out of JSON values and counts."""

    def __init__(self, ids: frozenset[str]) -> None:
        self.ids, self.num = ids, 0

    def clean(self, value: Any, people: bool) -> Any:
        """`people`: the value stands under a key that names people."""
        if isinstance(value, dict):
            named = {key: people or bool(_PEOPLE.search(key)) for key in value}
            gone = [key for key, item in value.items() if key in self.ids or self._is_id(item, named[key])]
            self.num += len(gone)
            return {key: self.clean(item, named[key]) for key, item in value.items() if key not in gone}
        if isinstance(value, list):
            gone = [place for place, item in enumerate(value) if self._is_id(item, people) or self._is_theirs(item)]
            self.num += len(gone)
            return [self.clean(item, people) for place, item in enumerate(value) if place not in gone]
        return value

    def _is_id(self, value: Any, people: bool) -> bool:
        return people and isinstance(value, str) and value in self.ids

    def _is_theirs(self, value: Any) -> bool:
        return isinstance(value, dict) and any(
            self._is_id(item, bool(_PEOPLE.search(key))) for key, item in value.items()
        )


def _means(ratings: Sequence[Rating]) -> dict[str, float | None]:
    """The mean of the ratings per objective, inside their own range whatever the last bit of a sum says."""
    found = aggregate(Response("", ratings=tuple(ratings)))
    for name, mean in found.items():
        if mean is not None:
            scores = [score for rating in ratings if (score := rating.scores.get(name)) is not None]
            found[name] = min(max(mean, min(scores)), max(scores))
    return found


def _equal(score: float | None, mean: float | None) -> bool:
    if score is None or mean is None:
        return score is mean
    return math.isclose(score, mean, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
