"""Constituents: every group of raters (or every rater) becomes an objective of its own, so that a model can be asked to
please them in any proportion: heads that are personas, or clusters of annotators.

CMPO's further heads (Manyika, MIT MEng thesis, 2024; methods.md A1, variant v): a head's data is restricted to what that
head's constituents said. A group's score of a reply is the mean of its raters' ratings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Ranking, Rater, Record, Response
from pluralign.errors import ConfigError, DataError

By = Literal["group", "rater"]
OVERALL = "overall"
MOST = 64


def constituents(dataset: Dataset, by: By = "group") -> Dataset:
    """The dataset with an objective "objective-name" for each objective and constituent that judged on it (the name
    alone where the data has one objective, or where the judgement was overall).

    Two streamed passes: the first (now) finds who there is. Scores, comparisons and rankings that name nobody of the kind
    are left out; so are records that keep nothing. Raises ConfigError for another kind, DataError where nobody is named,
    and for more than 64 new objectives.
    """
    if by not in ("group", "rater"):
        raise ConfigError(f"constituents are by group or rater, got {by!r}")
    ranges = {objective.name: objective for objective in dataset.objectives}
    found = {said for record in dataset for said in _said(record, by, ranges)}
    if not found:
        raise DataError(f"no feedback names a rater's {'group' if by == 'group' else 'id'}; `pluralign data inspect` shows who there is")  # fmt: skip
    if len(found) > MOST:
        raise DataError(f"{len(found)} constituents are more than the {MOST} heads allowed; group the raters first")
    names = _named(sorted(found), len(ranges))
    objectives = tuple(_objective(names[said], said, ranges) for said in sorted(found))

    def stream(tally: Tally) -> Iterator[Record]:
        for record in dataset.records(tally):
            changed = _changed(record, by, ranges, names)
            if changed.comparisons or changed.rankings or any(reply.scores for reply in changed.responses):
                yield changed

    return dataclasses.replace(dataset, objectives=objectives, stream=stream)


Said = tuple[str, str]
"""(objective or OVERALL, constituent)."""


def _who(rater: Rater | None, by: By) -> str | None:
    return None if rater is None else rater.group if by == "group" else rater.id


def _said(record: Record, by: By, ranges: dict[str, Objective]) -> Iterator[Said]:
    for reply in record.responses:
        for rating in reply.ratings:
            if (who := _who(rating.rater, by)) is not None:
                yield from (
                    (name, who) for name, score in rating.scores.items() if score is not None and name in ranges
                )
    judged: list[Comparison | Ranking] = [*record.comparisons, *record.rankings]
    for each in judged:
        if (who := _who(each.rater, by)) is not None:
            yield each.objective or OVERALL, who


def _named(found: Sequence[Said], num_objectives: int) -> dict[Said, str]:
    """A legal and distinct name for each; numbers tell apart what letters cannot."""
    names: dict[Said, str] = {}
    taken: set[str] = set()
    for objective, who in found:
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", who).strip("-") or "someone"
        plain = plain if plain[0].isalpha() or plain[0] == "_" else f"g{plain}"
        wanted = plain if objective == OVERALL or num_objectives == 1 else f"{objective}-{plain}"
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}-{number}", number + 1
        taken.add(name)
        names[objective, who] = name
    return names


def _objective(name: str, said: Said, ranges: dict[str, Objective]) -> Objective:
    objective, who = said
    about = f"{who}: {objective}"
    known = ranges.get(objective)
    return Objective(name, about) if known is None else dataclasses.replace(known, name=name, description=about)


def _changed(record: Record, by: By, ranges: dict[str, Objective], names: dict[Said, str]) -> Record:
    def own(items: Iterable[Comparison] | Iterable[Ranking]) -> Iterator[Comparison | Ranking]:
        for each in items:
            if (who := _who(each.rater, by)) is not None:
                yield dataclasses.replace(each, objective=names[each.objective or OVERALL, who])

    return dataclasses.replace(
        record,
        responses=tuple(_scored(reply, by, ranges, names) for reply in record.responses),
        comparisons=tuple(each for each in own(record.comparisons) if isinstance(each, Comparison)),
        rankings=tuple(each for each in own(record.rankings) if isinstance(each, Ranking)),
    )


def _scored(reply: Response, by: By, ranges: dict[str, Objective], names: dict[Said, str]) -> Response:
    given: dict[str, list[float]] = {}
    for rating in reply.ratings:
        who = _who(rating.rater, by)
        for name, score in rating.scores.items():
            if who is not None and score is not None and name in ranges:
                given.setdefault(names[name, who], []).append(score)
    means: dict[str, float | None] = {name: sum(scores) / len(scores) for name, scores in given.items()}
    return dataclasses.replace(reply, scores=means, ratings=())
