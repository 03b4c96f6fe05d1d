"""Forget one annotator: everything that they gave goes, and the scores that were a mean with theirs are made anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluralign.data import attribution, jsonl
from pluralign.data.readers.registry import read
from pluralign.data.record import Rater, Record, Response
from pluralign.errors import ConfigError, DataError


@dataclass(slots=True)
class Forgotten:
    """What became of a file: `records` read, `touched` of them, what was `removed` by kind.

    `recomputed` scores are means of the ratings that stay (or went, where none does). `uncertain` counts what names no
    rater and may still hold the annotator's share, by kind: scores that are no mean of the ratings in the file,
    comparisons and rankings without a rater of what the annotator judged too, counted votes, thumbs.
    """

    records: int = 0
    touched: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    recomputed: int = 0
    uncertain: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """The counts as plain numbers."""
        counts = {"removed": dict(self.removed), "uncertain": dict(self.uncertain)}
        return {"records": self.records, "touched": self.touched, "recomputed": self.recomputed, **counts}


def forget(records: Iterable[Record], annotator: str, found: Forgotten) -> Iterator[Record]:
    """The records without the annotator, streamed; `found` is filled as they come."""
    for record in records:
        found.records += 1
        yield _without(record, annotator, found)


def forget_in_file(path: str | Path, out: str | Path, annotator: str, reader: str = "auto") -> Forgotten:
    """Write the file without the annotator, whole or not at all; `out` may be the file itself.

    Raises ConfigError for a file in another format that would be changed in place, DataError for a bad row.
    """
    dataset = read(path, reader)
    if Path(out).exists() and Path(path).exists() and Path(out).samefile(path) and dataset.reader != "jsonl":
        raise ConfigError(
            f"{path} is in the format of {dataset.reader}, which is not written back; name a record file with --out"
        )
    if not annotator:
        raise ConfigError("say who is to be forgotten: --annotator ID")
    found = Forgotten()
    rest = forget(dataset.records(), annotator, found)
    jsonl.write(out, rest, dataset.objectives, dataset.licence, dataset.source)
    if not found.records:
        raise DataError("holds no records", path=path)
    return found


def _without(record: Record, annotator: str, found: Forgotten) -> Record:
    def keeps(rater: Rater | None) -> bool:
        return rater is None or rater.id != annotator

    gone = Counter(kind for kind, item in attribution.feedback(record) if not keeps(item.rater))
    cleaned, in_extra = attribution.scrubbed(record, (annotator,))
    if not gone and not in_extra:
        return record
    found.touched += 1
    found.removed.update(gone)
    if in_extra:
        found.removed["extra"] += in_extra
    if not gone:
        return cleaned
    found.recomputed += sum(_recomputed(response, annotator) for response in record.responses)
    found.uncertain.update(_uncertain(record, annotator))
    return attribution.restrict(cleaned, keeps, nameless=True)[0]


def _rated(response: Response, annotator: str) -> set[str]:
    """The objectives that the annotator was asked about."""
    return {name for rating in response.ratings if _is(rating.rater, annotator) for name in rating.scores}


def _recomputed(response: Response, annotator: str) -> int:
    return len(attribution.means(response) & _rated(response, annotator))


def _uncertain(record: Record, annotator: str) -> Counter[str]:
    """What names nobody, and is about what the annotator judged."""
    counts: Counter[str] = Counter()
    for response in record.responses:
        rated, voted = _rated(response, annotator), [v for v in response.votes if _is(v.rater, annotator)]
        counts["scores"] += len((rated & set(response.scores)) - attribution.means(response))
        counts["thumbs"] += response.thumb is not None and bool(rated or voted)
        counts["votes"] += sum(_nameless(vote.rater) for vote in response.votes) if voted else 0
    judged = {_pair(item) for item in record.comparisons if _is(item.rater, annotator)}
    counts["comparisons"] += sum(_pair(item) in judged for item in record.comparisons if _nameless(item.rater))
    ranked = {item.objective for item in record.rankings if _is(item.rater, annotator)}
    counts["rankings"] += sum(item.objective in ranked for item in record.rankings if _nameless(item.rater))
    return +counts


def _pair(item: Any) -> tuple[frozenset[int], str | None]:
    return frozenset((item.first, item.second)), item.objective


def _is(rater: Rater | None, annotator: str) -> bool:
    return rater is not None and rater.id == annotator


def _nameless(rater: Rater | None) -> bool:
    return rater is None or rater.id is None
