"""Unpaired: single replies that are wanted or not, from thumbs, votes, scores or comparisons, as KTO takes them.

KTO (Ethayarajh et al. 2024, arXiv 2402.01306; methods.md B5); one example is a row (prompt, completion, label) of TRL's
unpaired preference format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pluralign.data import condition
from pluralign.data.evidence import direction_signs, score_row
from pluralign.data.group import Group
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record
from pluralign.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Example:
    """One reply (its place in the record) that is wanted (`label`) or not, on one objective or overall (None)."""

    reply: int
    label: bool
    objective: str | None = None


def unpaired(
    record: Record, objectives: Sequence[Objective], source: str = "thumbs", threshold: float = 0.5
) -> list[Example]:
    """The record's examples, each once, in the order of replies.

    `source`: "thumbs"; "votes" (more agree than disagree, or the reverse; a draw says nothing); "scores" (per
    objective: wanted from `threshold` on, as a part of the range, better is more); "comparisons" (the better one is
    wanted, the other not, as in TRL's unpairing; a reply that won and lost is there twice). Missing says nothing.
    Raises ConfigError for another source or a threshold outside [0, 1].
    """
    if source not in _SOURCES or not 0 <= threshold <= 1:
        allowed = ", ".join(_SOURCES)
        raise ConfigError(f"source is one of {allowed}, threshold a share; got {source!r} and {threshold}")
    found = dict.fromkeys(_SOURCES[source](record, objectives, threshold))
    return sorted(found, key=lambda example: example.reply)


def single(record: Record, example: Example) -> Group:
    """The group of one reply that an example stands for, under its objective's one-hot weights (None overall)."""
    asked = None if example.objective is None else condition.one_hot(example.objective)
    return Group.of(record, [record.responses[example.reply]], (asked,))


def kto_weights(wanted: int, unwanted: int) -> tuple[float, float]:
    """(λ_D, λ_U), of which one is 1, so that λ_D·wanted / (λ_U·unwanted) is in KTO's range [1, 3/2].

    Raises ConfigError when there are no examples of one kind.
    """
    if wanted < 1 or unwanted < 1:
        raise ConfigError(f"KTO needs wanted and unwanted examples, got {wanted} and {unwanted}")
    ratio = wanted / unwanted
    return (1 / ratio, 1.0) if ratio < 1 else (1.0, max(ratio / 1.5, 1.0))


def _thumbs(record: Record, objectives: Sequence[Objective], threshold: float) -> Iterator[Example]:
    for place, reply in enumerate(record.responses):
        if reply.thumb is not None:
            yield Example(place, reply.thumb == "up")


def _votes(record: Record, objectives: Sequence[Objective], threshold: float) -> Iterator[Example]:
    for place, reply in enumerate(record.responses):
        net = sum(vote.count * {"agree": 1, "disagree": -1, "pass": 0}[vote.choice] for vote in reply.votes)
        if net:
            yield Example(place, net > 0)


def _scores(record: Record, objectives: Sequence[Objective], threshold: float) -> Iterator[Example]:
    width = np.array([objective.high - objective.low for objective in objectives])
    worst = np.array([each.low if each.direction == "higher" else each.high for each in objectives])
    for place, reply in enumerate(record.responses):
        parts = (score_row(reply, objectives) - worst) / width * direction_signs(objectives)
        labelled = zip(names(objectives), parts.tolist(), strict=True)
        yield from (Example(place, part >= threshold, name) for name, part in labelled if part == part)


def _comparisons(record: Record, objectives: Sequence[Objective], threshold: float) -> Iterator[Example]:
    for item in record.comparisons:
        if item.outcome in ("first", "second"):
            yield Example(item.first, item.outcome == "first", item.objective)
            yield Example(item.second, item.outcome == "second", item.objective)


_SOURCES: dict[str, Callable[[Record, Sequence[Objective], float], Iterator[Example]]] = {
    "thumbs": _thumbs,
    "votes": _votes,
    "scores": _scores,
    "comparisons": _comparisons,
}
