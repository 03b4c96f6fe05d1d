"""Who judged, how much, and whether raters of the same reply agree: alpha, equal verdicts, and each rater's shift."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from pluralign.data.inspect.alpha import LEVELS, Coincidences, Level
from pluralign.data.inspect.said import Said, demographics
from pluralign.data.inspect.store import Store
from pluralign.data.objective import Objective

_SHOWN, _STEPS = 10, 15
_LEAST_SHARED = 5
_OWN = """CREATE TABLE own_{table} (objective INTEGER, unit INTEGER, rater INTEGER, party INTEGER, value REAL,
PRIMARY KEY (objective, unit, rater)) WITHOUT ROWID"""  # in this order on disk, so that nothing is sorted twice
_FILL = """INSERT INTO own_{table} SELECT objective, unit, rater, max(party), avg(value) FROM {table}
GROUP BY objective, unit, rater"""
_SHIFTS = """SELECT objective, avg(value - (total - value) / (num - 1)) FROM
(SELECT objective, rater, value, sum(value) OVER same AS total, count(*) OVER same AS num FROM own_ratings
 WINDOW same AS (PARTITION BY objective, unit))
WHERE num > 1 GROUP BY objective, rater HAVING count(*) >= ? ORDER BY objective"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Several raters on the same thing. `about` is an objective, "(overall)" or "votes"; `of` says what was compared.

    `units` have two raters or more; `equal` is the share of pairs of raters who said the same; `alpha` is
    Krippendorff's at `level`, and `alphas` at every level (NaN where values do not vary). `within` is the alpha of the
    raters of each group alone (the first twenty groups), where it is known.
    """

    about: str
    of: str
    units: int
    values: int
    equal: float
    level: Level
    alpha: float
    alphas: Mapping[Level, float]
    within: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Shift:
    """How far raters score above others on the same replies, in the source's units; over raters who share five or more.

    NaN where there is no such rater.
    """

    raters: int
    deviation: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Raters:
    """Who judged. `num` named raters gave `judgements`; `anonymous` more have no rater's id.

    `least`, `median` and `most` judgements of a rater; `top` are the ten busiest; `histogram`: (from, to, raters)
    by their judgements; `groups` and `languages` as raters, `group_judgements` with the unnamed.
    """

    num: int
    judgements: int
    anonymous: int
    least: int
    median: float
    most: int
    top: Mapping[str, int]
    histogram: tuple[tuple[int, int, int], ...]
    groups: Mapping[str, int]
    group_judgements: Mapping[str, int]
    languages: Mapping[str, int]
    demographics: Mapping[str, Mapping[str, int]]


def raters(store: Store, said: Said) -> Raters:
    """The raters of everything that was added."""
    store.run(
        "CREATE TABLE people AS SELECT rater, max(id) AS id, max(party) AS party, max(language) AS language, "
        "max(demographics) AS demographics, sum(num) AS num FROM raters GROUP BY rater"
    )
    num, total, least, most = store.one("SELECT count(*), total(num), min(num), max(num) FROM people")
    middle = "SELECT num FROM people ORDER BY num LIMIT ? OFFSET ?"
    median = [value for (value,) in store.query(middle, 2 - num % 2, max(0, (num - 1) // 2))]
    top = store.query("SELECT id, num FROM people ORDER BY num DESC, id LIMIT ?", _SHOWN)
    return Raters(
        num,
        int(total),
        said.anonymous,
        least or 0,
        sum(median) / len(median) if median else float("nan"),
        most or 0,
        {str(name): int(count) for name, count in top},
        _histogram(store, least or 0, most or 0),
        _counted(store, "party"),
        dict(said.groups.most_common()),
        _counted(store, "language"),
        demographics(store.query("SELECT demographics FROM people WHERE demographics IS NOT NULL")),
    )


def _histogram(store: Store, least: int, most: int) -> tuple[tuple[int, int, int], ...]:
    """(from, to, raters): equal steps where the busiest rater has less than ten times the least, else doubling ones."""
    width = -(-(most - least + 1) // _STEPS)
    found: dict[tuple[int, int], int] = {}
    for num, times in store.query("SELECT num, count(*) FROM people GROUP BY num ORDER BY num"):
        low = least + (num - least) // width * width if most < 10 * least else 1 << (num.bit_length() - 1)
        ends = (low, low + width - 1) if most < 10 * least else (low, 2 * low - 1)
        found[ends] = found.get(ends, 0) + times
    return tuple((*ends, times) for ends, times in found.items())


def _counted(store: Store, column: str) -> dict[str, int]:
    most = f"SELECT {column}, count(*) FROM people WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 500"
    return {str(name): int(num) for name, num in store.query(most)}


def agreements(store: Store, said: Said, objectives: Sequence[Objective]) -> tuple[Agreement, ...]:
    """Agreement on scores, on comparisons, and on votes, wherever two raters judged the same."""
    for table in ("ratings", "verdicts"):
        store.run(_OWN.format(table=table))
        store.run(_FILL.format(table=table))
    found = [_agreement(*item, "scores", said, objectives) for item in _groups(store, "ratings", objectives)]
    for axis, verdicts in _groups(store, "verdicts", ()):
        of = "votes" if axis > len(objectives) else "comparisons"
        found.append(_agreement(axis, verdicts, of, said, objectives))
    return tuple(found)


_ALL = -2
_Groups = dict[int, Coincidences]
_Unit = tuple[tuple[int, float], ...]
_MOST_WAITING = 20_000


def _groups(store: Store, table: str, objectives: Sequence[Objective]) -> Iterator[tuple[int, _Groups]]:
    """Each axis with the coincidences of everybody (`_ALL`) and of each group, where two raters judged the same."""
    rows = store.query(f"SELECT objective, unit, party, value FROM own_{table} ORDER BY objective, unit")
    for axis, of_axis in groupby(rows, key=itemgetter(0)):
        middle = (objectives[axis].low + objectives[axis].high) / 2 if objectives else 0.0
        found: _Groups = {_ALL: Coincidences(middle)}
        for unit, times in _alike(of_axis):
            _add(found, [(party, _plain(table, value)) for party, value in unit], times)
        if found[_ALL].units:
            yield axis, found


def _alike(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[_Unit, int]]:
    """Units with the same values from the same groups, together: a scale has few such sets, whatever the file's size."""
    waiting: Counter[_Unit] = Counter()
    for _, of_unit in groupby(rows, key=itemgetter(1)):
        unit = tuple(sorted(row[2:] for row in of_unit))
        if len(unit) > 1:
            waiting[unit] += 1
        if len(waiting) >= _MOST_WAITING:
            yield from sorted(waiting.items())
            waiting.clear()
    yield from sorted(waiting.items())


def _add(found: _Groups, unit: list[tuple[int, float]], times: int) -> None:
    found[_ALL].add([value for _, value in unit], times)
    for group in {party for party, _ in unit if party >= 0}:
        own = found.setdefault(group, Coincidences(found[_ALL].shift))
        own.add([value for party, value in unit if party == group], times)


def _plain(table: str, value: float) -> float:
    """A rater who judged the same pair twice counts once, as they did on balance."""
    return float(value) if table == "ratings" else math.copysign(1.0, value) if value else 0.0


def _agreement(axis: int, found: _Groups, of: str, said: Said, objectives: Sequence[Objective]) -> Agreement:
    about, everybody = [*(objective.name for objective in objectives), "(overall)", "votes"][axis], found[_ALL]
    level: Level = everybody.level() if of == "scores" else "nominal"
    within = {name: found[place].alpha(level) for name, place in sorted(said.parties.items()) if place in found}
    alphas = {level: everybody.alpha(level) for level in LEVELS}
    return Agreement(
        about,
        of,
        everybody.units,
        everybody.values,
        everybody.agreement(),
        level,
        alphas[level],
        alphas,
        {name: alpha for name, alpha in within.items() if not math.isnan(alpha)},
    )


def shifts(store: Store, objectives: Sequence[Objective]) -> tuple[Shift, ...]:
    """One per objective: a rater's mean difference from the mean of the others on the same replies."""
    found = {axis: _shift(rows) for axis, rows in groupby(store.query(_SHIFTS, _LEAST_SHARED), key=lambda row: row[0])}
    nobody = Shift(0, float("nan"), float("nan"), float("nan"))
    return tuple(found.get(k, nobody) for k in range(len(objectives)))


def _shift(rows: Iterator[tuple[int, float]]) -> Shift:
    num, mean, square, lowest, highest = 0, 0.0, 0.0, math.inf, -math.inf
    for _, value in rows:
        num += 1
        step = value - mean
        mean += step / num
        square += step * (value - mean)
        lowest, highest = min(lowest, value), max(highest, value)
    return Shift(num, math.sqrt(square / num), lowest, highest)
