"""A sample of a file's records, in the file's order: uniform, or as even as can be over strata; a function of the seed.

A first pass counts the records and notes each one's stratum (some bytes a record stay in memory, no text), a second one
yields the chosen. A record's chance comes from (seed, its place), so a larger sample holds every smaller one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.data.attribution import feedback
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.evidence import aggregate
from pluralign.data.record import Rater, Record
from pluralign.errors import ConfigError

By = Literal["objective", "annotator", "group", "language"]
Places = NDArray[np.int64]


def sample(
    dataset: Dataset, num: int, seed: int = 0, by: By | None = None, tally: Tally | None = None
) -> Iterator[Record]:
    """`num` records without replacement, in the file's order; the first pass (and the errors) come at once.

    `by` parts the records by what they name (all objectives judged, all annotators, all groups, or the language; a
    record that names several is in a stratum of its own kind) and takes as many of each stratum as evenly possible.
    `tally` counts the first pass. Raises ConfigError where the file holds fewer records.
    """
    if num < 1:
        raise ConfigError(f"the size of a sample is a whole number from 1, got {num}")
    strata = _strata(dataset, by, Tally() if tally is None else tally)
    if num > len(strata):
        raise ConfigError(f"{num} records were asked for, but only {len(strata)} are there; ask for fewer")
    return _chosen(dataset, set(choose(strata, num, seed).tolist()))


def choose(strata: Places, num: int, seed: int) -> Places:
    """The places [num] of a sample, sorted: every stratum gives as many as any other, as long as it has some left."""
    chance = np.random.default_rng(seed).random(len(strata))
    order = np.lexsort((chance, strata))
    starts = np.flatnonzero(np.diff(strata[order], prepend=-1))
    sizes = np.diff(starts, append=len(strata))
    rank = np.empty(len(strata), dtype=np.int64)
    rank[order] = np.arange(len(strata)) - np.repeat(starts, sizes)
    return np.sort(np.lexsort((chance, rank if len(starts) > 1 else np.zeros_like(rank)))[:num])


def _strata(dataset: Dataset, by: By | None, tally: Tally) -> Places:
    numbers: dict[tuple[str, ...], int] = {}
    found = array("q")
    name = (lambda record: ()) if by is None else _NAMES[by]
    for record in dataset.records(tally):
        found.append(numbers.setdefault(name(record), len(numbers)))
    return np.frombuffer(found, dtype=np.int64) if found else np.zeros(0, dtype=np.int64)


def _chosen(dataset: Dataset, places: set[int]) -> Iterator[Record]:
    return (record for place, record in enumerate(dataset.records()) if place in places)


def _objectives(record: Record) -> tuple[str, ...]:
    scored = {name for response in record.responses for name in aggregate(response)}
    compared = {item.objective for item in record.comparisons} | {item.objective for item in record.rankings}
    return tuple(sorted(scored | {name for name in compared if name is not None}))


def _raters(record: Record) -> Iterator[Rater]:
    return (item.rater for _, item in feedback(record) if item.rater is not None)


def _annotators(record: Record) -> tuple[str, ...]:
    return tuple(sorted({rater.id for rater in _raters(record) if rater.id is not None}))


def _groups(record: Record) -> tuple[str, ...]:
    return tuple(sorted({rater.group for rater in _raters(record) if rater.group is not None}))


def _languages(record: Record) -> tuple[str, ...]:
    return () if record.language is None else (record.language,)


_NAMES: dict[By, Callable[[Record], tuple[str, ...]]] = {
    "objective": _objectives,
    "annotator": _annotators,
    "group": _groups,
    "language": _languages,
}
