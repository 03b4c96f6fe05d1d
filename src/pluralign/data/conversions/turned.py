"""Turned: what a record says of one objective, asked for its other end: who was worse is better now.

For the low pole of an objective (personalised soups, Jang et al. 2023, arXiv 2310.11564; methods.md A5). A reply that is
marked as corrupted (`extra["corrupted"]`) is bad at both ends: it was made to show what no answer should look like, so it
keeps the worst score and loses every comparison with a reply that is not.
"""

from __future__ import annotations

from dataclasses import replace

from pluralign.data.evidence import aggregate
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Outcome, Ranking, Record, Response

_OTHER: dict[Outcome, Outcome] = {"first": "second", "second": "first"}


def turned(record: Record, objective: Objective) -> Record:
    """The record with the objective's feedback turned round, in the same range; that of other objectives is left out.

    A score s becomes low + high − s, of the replies' aggregate; comparisons swap their outcome and rankings their order.
    """
    bad = [bool(reply.extra.get("corrupted")) for reply in record.responses]
    return replace(
        record,
        responses=tuple(map(lambda reply, out: _reply(reply, objective, out), record.responses, bad)),
        comparisons=tuple(_compared(each, bad) for each in record.comparisons if each.objective == objective.name),
        rankings=tuple(_ranked(each, bad) for each in record.rankings if each.objective == objective.name),
    )


def _reply(reply: Response, objective: Objective, bad: bool) -> Response:
    score = aggregate(reply).get(objective.name)
    if score is None:
        return replace(reply, scores={}, ratings=())
    worst = objective.low if objective.direction == "higher" else objective.high
    return replace(reply, scores={objective.name: worst if bad else objective.low + objective.high - score}, ratings=())


def _compared(each: Comparison, bad: list[bool]) -> Comparison:
    first, second = bad[each.first], bad[each.second]
    if each.outcome == "abstain" or (first and second):
        return each
    if first or second:
        return replace(each, outcome="second" if first else "first", strength=None)
    return replace(each, outcome=_OTHER.get(each.outcome, each.outcome))


def _ranked(each: Ranking, bad: list[bool]) -> Ranking:
    fine = [tuple(place for place in tier if not bad[place]) for tier in reversed(each.tiers)]
    last = tuple(place for tier in each.tiers for place in tier if bad[place])
    return replace(each, tiers=tuple(tier for tier in [*fine, last] if tier))
