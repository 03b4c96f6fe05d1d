"""Inspect: one streamed pass over a dataset, every statistic fed as the records come.

Memory does not grow with the records: sums, tables of fixed size and bounded counts stay in it, keys of texts and single
judgements go to a SQLite file in a temporary folder. It grows with the square of the objectives.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.inspect.agreement import agreements, raters, shifts
from pluralign.data.inspect.counts import Counting
from pluralign.data.inspect.duplicates import Repeats
from pluralign.data.inspect.inspection import Inspection, Rows
from pluralign.data.inspect.length import LengthBias
from pluralign.data.inspect.look import Look, look
from pluralign.data.inspect.pairs import Pairs
from pluralign.data.inspect.said import Said
from pluralign.data.inspect.spread import Spreads
from pluralign.data.inspect.store import Store
from pluralign.data.inspect.texts import Texts
from pluralign.errors import ConfigError, DataError

_BLOCK = 4096


def inspect(dataset: Dataset, file: str = "", limit: int | None = None) -> Inspection:
    """Everything about a dataset, or about its first `limit` records.

    Raises ConfigError for a limit below 1, DataError where no usable record is found, StorageError when the temporary
    folder is full.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is a number of records from 1, got {limit}; leave it out to read everything")
    tally = Tally()
    with Store() as store:
        statistics = _Statistics(dataset, store)
        for record in islice(dataset.records(tally), limit):
            statistics.add(look(record, dataset.objectives))
        if not statistics.counts.records:
            raise DataError(f"holds no usable record: {tally}", path=file or None)
        rows = Rows(tally.read, tally.kept, tally.rejected, dict(tally.reasons), tuple(tally.examples))
        return statistics.result(dataset, file, limit, rows)


class _Blocks:
    """Gathers rows and hands them on some thousand at a time: many small sums are slow, few large ones are not."""

    def __init__(self, use: Callable[..., Any]) -> None:
        self.use, self.waiting, self.num = use, list[tuple[Any, ...]](), 0

    def add(self, *arrays: Any) -> None:
        if len(arrays[0]):
            self.waiting.append(arrays)
            self.num += len(arrays[0])
        if self.num >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.use(*(np.concatenate(parts) for parts in zip(*self.waiting, strict=True)))
        self.waiting, self.num = [], 0


class _Statistics:
    def __init__(self, dataset: Dataset, store: Store) -> None:
        objectives = dataset.objectives
        self.counts, self.repeats, self.said = Counting(), Repeats(store), Said(store, objectives)
        self.spreads, self.length, self.pairs = Spreads(objectives), LengthBias(objectives), Pairs(len(objectives) + 1)
        self.prompts, self.replies, self.store = Texts(), Texts(), store
        self.of_replies, self.of_pairs = _Blocks(self._replies), _Blocks(self.pairs.add)

    def _replies(self, scores: Any, lengths: Any) -> None:
        self.spreads.add(scores)
        self.length.add(scores, lengths)

    def add(self, seen: Look) -> None:
        self.counts.add(seen.record)
        self.spreads.declined += seen.declined
        self.of_replies.add(seen.scores, seen.lengths)
        longer = np.sign(seen.lengths[seen.first] - seen.lengths[seen.second])
        self.of_pairs.add(seen.verdict, longer)
        self.repeats.add(seen)
        self.said.add(seen)
        self.prompts.add("\n".join(message.content for message in seen.record.messages))
        for response in seen.record.responses:
            self.replies.add(response.text)

    def result(self, dataset: Dataset, file: str, limit: int | None, rows: Rows) -> Inspection:
        self.of_replies.flush()
        self.of_pairs.flush()
        who = raters(self.store, self.said)
        agreed = agreements(self.store, self.said, dataset.objectives)
        return Inspection(
            file=file,
            reader=dataset.reader,
            licence=dataset.licence,
            source=dataset.source,
            limit=limit,
            rows=rows,
            objectives=dataset.objectives,
            counts=self.counts.result(),
            spreads=self.spreads.result(),
            correlation=self.spreads.correlation(),
            halo=self.spreads.halo(),
            ungraded=self.spreads.left_out,
            pairs=self.pairs.result(),
            length=self.length.result(),
            raters=who,
            agreement=agreed,
            shifts=shifts(self.store, dataset.objectives),
            duplicates=self.repeats.result(),
            prompts=self.prompts.result(),
            replies=self.replies.result(),
        )
