"""How much of everything there is: replies, comparisons, rankings, comments, votes, thumbs, languages, models, `extra`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pluralign.data.record import Record, Response

MOST_NAMES = 500
"""Different names that a table of counts may have; what comes later is counted as `OTHER`."""
OTHER = "(other)"
_UNNAMED = "(overall)"


@dataclass(frozen=True, slots=True)
class Counts:
    """`records`, and their `replies`; everything else as counts by name.

    `replies_per_prompt`: number of replies -> records; `comparisons`: "objective: outcome"; `rankings` and `comments`
    by objective ("(overall)" without one); `votes` weigh `Vote.count`; `ratings`: "by a rater", "without a rater",
    or "aggregate" for a reply's own scores; `marks`: spans, strengths, reasons, conditions, replies that were cut off;
    `extra`: what no field could hold, by its key.
    """

    records: int
    replies: int
    replies_per_prompt: Mapping[int, int]
    ratings: Mapping[str, int]
    comparisons: Mapping[str, int]
    rankings: Mapping[str, int]
    comments: Mapping[str, int]
    votes: Mapping[str, int]
    thumbs: Mapping[str, int]
    marks: Mapping[str, int]
    languages: Mapping[str, int]
    models: Mapping[str, int]
    sources: Mapping[str, int]
    extra: Mapping[str, int]


class Counting:
    """Counts records as they come; memory does not grow with them."""

    def __init__(self) -> None:
        self.records = self.replies = 0
        self.per_prompt: Counter[int] = Counter()
        self.tables: dict[str, Counter[str]] = {name: Counter() for name in Counts.__dataclass_fields__}

    def add(self, record: Record) -> None:
        """Count one record."""
        self.records += 1
        self.replies += len(record.responses)
        self.per_prompt[min(len(record.responses), MOST_NAMES)] += 1
        self._count("languages", [record.language] if record.language else ())
        self._count("sources", [record.source] if record.source else ())
        self._count("extra", (f"record: {name}" for name in record.extra))
        self._count("comparisons", (f"{item.objective or _UNNAMED}: {item.outcome}" for item in record.comparisons))
        self._count("rankings", (item.objective or _UNNAMED for item in record.rankings))
        self._count("marks", _marks_of_comparisons(record))
        for response in record.responses:
            self._reply(response)

    def _reply(self, response: Response) -> None:
        self._count("ratings", _ratings(response))
        self._count("comments", (item.objective or _UNNAMED for item in response.comments))
        for vote in response.votes:
            self._count("votes", [vote.choice], vote.count)
        self._count("thumbs", [response.thumb] if response.thumb else ())
        self._count("marks", _marks(response))
        self._count("models", [response.model] if response.model else ())
        self._count("extra", (f"reply: {name}" for name in response.extra))

    def _count(self, table: str, names: Iterable[str], num: int = 1) -> None:
        counts = self.tables[table]
        for name in names:
            counts[name if name in counts or len(counts) < MOST_NAMES else OTHER] += num

    def result(self) -> Counts:
        """What was counted, the most frequent first."""
        kept = {name: dict(counts.most_common()) for name, counts in self.tables.items()}
        for name in ("records", "replies", "replies_per_prompt"):
            del kept[name]
        return Counts(self.records, self.replies, dict(sorted(self.per_prompt.items())), **kept)


def _ratings(response: Response) -> Iterator[str]:
    if response.scores:
        yield "aggregate"
    for rating in response.ratings:
        yield "without a rater" if rating.rater is None else "by a rater"


def _marks_of_comparisons(record: Record) -> Iterator[str]:
    for item in record.comparisons:
        if item.strength is not None:
            yield "comparisons with a strength"
        if item.reason:
            yield "comparisons with a reason"


def _marks(response: Response) -> Iterator[str]:
    if response.spans:
        yield "replies with marked parts"
    if response.condition is not None:
        yield "replies drawn under a condition"
    if not response.finished:
        yield "replies cut off"
