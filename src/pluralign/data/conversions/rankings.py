"""Rankings to pairs: a ranking of K replies is worth K(K - 1)/2 comparisons (InstructGPT, arXiv 2203.02155, 3.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from pluralign.data import condition
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, known, names
from pluralign.data.record import Ranking, Record
from pluralign.errors import ConfigError

PAIRS = ("all", "adjacent", "best")


def ranked_pairs(record: Record, objectives: Sequence[Objective], pairs: str = "all") -> list[Group]:
    """The record's group (or none): one preference for each two replies that its rankings put on different tiers.

    An objective's rankings stand under its one-hot weights, overall ones under no condition (None). `pairs`: "all";
    "adjacent" tiers only; or the "best" tier against every other. Where several people ranked, the majority of those
    who placed both replies decides, a draw gives nothing. Margins are None: a ranking has no distances; a tier is a
    tie. Raises ConfigError for another word, ConditionError for a ranking on an objective that is not among these.
    """
    if pairs not in PAIRS:
        raise ConfigError(f"pairs is one of {', '.join(PAIRS)}, got {pairs!r}")
    known([ranking.objective for ranking in record.rankings if ranking.objective is not None], objectives)
    net: Counter[tuple[str | None, int, int]] = Counter()
    for ranking in record.rankings:
        for upper, lower in _placed(ranking, pairs):
            first, second = sorted((upper, lower))
            net[ranking.objective, first, second] += 1 if first == upper else -1
    order: list[str | None] = [None, *names(objectives)]
    decided = sorted((order.index(key[0]), key[1], key[2], sign) for key, sign in net.items() if sign)
    if not decided:
        return []
    used = list(dict.fromkeys(place for place, *_ in decided))
    preferences = tuple(
        Preference(used.index(place), *((first, second) if sign > 0 else (second, first)))
        for place, first, second, sign in decided
    )
    asked = [order[place] for place in used]
    conditions = tuple(None if name is None else condition.one_hot(name) for name in asked)
    return [Group.of(record, record.responses, conditions, preferences)]


def _placed(ranking: Ranking, pairs: str) -> Iterator[tuple[int, int]]:
    """(better, worse) places of one ranking."""
    for (high, upper), (low, lower) in combinations(enumerate(ranking.tiers), 2):
        if pairs == "all" or (pairs == "adjacent" and low == high + 1) or (pairs == "best" and high == 0):
            yield from ((better, worse) for better in upper for worse in lower)
