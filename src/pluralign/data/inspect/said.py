"""What single raters said, one row each, for the statistics that need all of it at once (see `store`).

A rating or comparison without a rater is the source's aggregate and no single voice, unless the same thing is said more
than once in a record: then several unnamed people said it. A rater without an id counts as a different one each time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, count

from pluralign.data.attribution import feedback
from pluralign.data.inspect.look import Look, key
from pluralign.data.inspect.store import Store
from pluralign.data.objective import Objective, names
from pluralign.data.record import Comparison, Rater, Record, Response

_VERDICT = {"first": 1.0, "second": -1.0, "tie": 0.0}
_VOTE = {"agree": 1.0, "disagree": -1.0, "pass": 0.0}
_MOST_TOLD = 100_000
_MOST_GROUPS = 10_000
_Row = tuple[int, int, int, int, float]
MOST_PARTIES = 20
_MOST_PAIRED = 64
_About = tuple[str, str | None, str | None, str | None]
"""A rater's id, group, language, and what they say about themselves (JSON)."""


class Said:
    """Writes ratings, verdicts and votes to the store, and who gave how many judgements."""

    def __init__(self, store: Store, objectives: Sequence[Objective]) -> None:
        self.store = store
        self.place: dict[str | None, int] = {name: k for k, name in enumerate(names(objectives))}
        self.place[None] = len(objectives)
        self.votes = len(objectives) + 1
        self.unnamed = count()
        self.anonymous = 0
        self.groups: Counter[str] = Counter()
        self.parties: dict[str, int] = {}
        self._told: set[_About] = set()

    def add(self, look: Look) -> None:
        """Everything that people said about one record."""
        self._raters(look.record)
        for unit, response in zip(look.replies, look.record.responses, strict=True):
            both = key(str(look.prompt), str(unit))
            self.store.add("ratings", self._ratings(both, response))
            self.store.add("verdicts", self._votes(both, response))
        self.store.add("verdicts", self._verdicts(look))

    def _ratings(self, unit: int, response: Response) -> Iterator[_Row]:
        several = sum(rating.rater is None for rating in response.ratings) > 1
        for rating in response.ratings:
            if rating.rater is not None or several:
                who, party = self._who(rating.rater), self._party(rating.rater)
                known = ((name, score) for name, score in rating.scores.items() if score is not None)
                yield from ((self.place[name], unit, who, party, score) for name, score in known)

    def _votes(self, unit: int, response: Response) -> Iterator[_Row]:
        for vote in response.votes:
            if vote.rater is not None and vote.count == 1 and vote.rater.id is not None:
                yield self.votes, unit, self._who(vote.rater), self._party(vote.rater), _VOTE[vote.choice]

    def _verdicts(self, look: Look) -> Iterator[_Row]:
        said = [*look.record.comparisons, *_ranked(look.record)]
        times = Counter((item.objective, *sorted((item.first, item.second))) for item in said if item.rater is None)
        for item in said:
            one, two = look.replies[item.first], look.replies[item.second]
            several = times[item.objective, *sorted((item.first, item.second))] > 1
            if item.outcome != "abstain" and one != two and (item.rater is not None or several):
                verdict = _VERDICT[item.outcome] * (1 if one < two else -1)
                unit = key(str(look.prompt), str(min(one, two)), str(max(one, two)))
                yield self.place[item.objective], unit, self._who(item.rater), self._party(item.rater), verdict

    def _who(self, rater: Rater | None) -> int:
        return next(self.unnamed) if rater is None or rater.id is None else _named(rater.id)

    def _party(self, rater: Rater | None) -> int:
        """The number of a rater's group; -1 without one, and for groups beyond the first twenty."""
        name = None if rater is None else rater.group
        if name is not None and name not in self.parties and len(self.parties) < MOST_PARTIES:
            self.parties[name] = len(self.parties)
        return -1 if name is None else self.parties.get(name, -1)

    def _raters(self, record: Record) -> None:
        given: Counter[_About] = Counter()
        for rater, num in _judgements(record):
            if rater is not None and rater.group is not None:
                name = rater.group
                self.groups[name if name in self.groups or len(self.groups) < _MOST_GROUPS else "(other)"] += num
            if rater is None or rater.id is None:
                self.anonymous += num
            else:
                given[rater.id, rater.group, rater.language, _answers(rater)] += num
        self.store.add("raters", [self._rater(about, num) for about, num in given.items()])

    def _rater(self, about: _About, num: int) -> tuple[int | str | None, ...]:
        """A rater is described once, and again only in other words or after a hundred thousand others."""
        who = _named(about[0])
        if about in self._told:
            return who, None, None, None, None, num
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told.add(about)
        return who, *about, num


def _answers(rater: Rater) -> str | None:
    return json.dumps(dict(sorted(rater.demographics.items())), ensure_ascii=False) if rater.demographics else None


@lru_cache(maxsize=65536)
def _named(rater: str) -> int:
    return key(rater)


def _judgements(record: Record) -> Iterator[tuple[Rater | None, int]]:
    """Who judged, and how often: a rating, comparison, ranking, comment, marked part or vote is one judgement each."""
    return ((item.rater, item.count if kind == "votes" else 1) for kind, item in feedback(record))


def _ranked(record: Record) -> Iterator[Comparison]:
    """The pairs of each ranking (of its first 64 replies), with its rater."""
    for ranking in record.rankings:
        placed = [(tier, place) for tier, places in enumerate(ranking.tiers) for place in places][:_MOST_PAIRED]
        for (upper, first), (lower, second) in combinations(placed, 2):
            outcome = "tie" if upper == lower else "first"
            yield Comparison(first, second, outcome, ranking.objective, rater=ranking.rater)  # type: ignore[arg-type]


def demographics(rows: Iterator[tuple[str]], most: int = 20) -> Mapping[str, Mapping[str, int]]:
    """How many raters gave which answer, per question; beyond `most` answers the rest are one."""
    found: dict[str, Counter[str]] = {}
    for (text,) in rows:
        for question, answer in json.loads(text).items():
            if question in found or len(found) < most:
                found.setdefault(question, Counter())[answer] += 1
    return {question: _few(answers, most) for question, answers in found.items()}


def _few(answers: Counter[str], most: int) -> dict[str, int]:
    kept = dict(answers.most_common(most))
    rest = answers.total() - sum(kept.values())
    return {**kept, "(other)": rest} if rest else kept
