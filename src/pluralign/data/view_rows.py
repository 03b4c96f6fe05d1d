"""Groups as preference rows in the manner of TRL: prompt, chosen, rejected, and under which weights, by how much.

`weights` names every objective (0 where it does not count; None for an overall judgement), `margin` is None where only
the direction is known. As messages (`conversational`) or as texts, which hold a prompt of one user turn only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pluralign.data.condition import Weights, vector
from pluralign.data.conversions.min_margin import min_margin
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.conversions.power_set import power_set
from pluralign.data.conversions.rankings import ranked_pairs
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, names
from pluralign.data.record import Message, Record
from pluralign.errors import DataError

Row = dict[str, Any]
Options = Mapping[str, Any]


def power_set_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `power_set`; the option `net_margin` as there."""
    for record in records:
        groups = power_set(record, objectives, options["net_margin"])
        yield from preference_rows(groups, objectives, options["conversational"])


def min_margin_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `min_margin`; the options `least` and `best_only` as there."""
    for record in records:
        groups = min_margin(record, objectives, options["least"], options["best_only"])
        yield from preference_rows(groups, objectives, options["conversational"])


def one_hot_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `one_hot`, with the one objective in a column of its own."""
    for record in records:
        yield from preference_rows(one_hot(record, objectives), objectives, options["conversational"], named=True)


def ranking_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `ranked_pairs`; the option `pairs` as there. Overall rankings have no objective and no weights."""
    for record in records:
        groups = ranked_pairs(record, objectives, options["pairs"])
        yield from preference_rows(groups, objectives, options["conversational"], named=True)


def preference_rows(
    groups: Iterable[Group], objectives: Sequence[Objective], conversational: bool, named: bool = False
) -> Iterator[Row]:
    """One row per preference; `named` adds the column `objective` (None where weights are no one-hot)."""
    for group in groups:
        for preference in group.preferences:
            yield _pair(group, preference, objectives, conversational, named)


def _pair(
    group: Group, preference: Preference, objectives: Sequence[Objective], conversational: bool, named: bool
) -> Row:
    condition = group.conditions[preference.condition]
    weights = None
    if isinstance(condition, Weights):
        weights = dict(zip(names(objectives), vector(condition, objectives).tolist(), strict=True))
    counted = [name for name, value in (weights or {}).items() if value]
    objective = {"objective": counted[0] if len(counted) == 1 else None} if named else {}
    return {
        "prompt": prompt(group.messages, conversational),
        "chosen": reply(group.responses[preference.chosen], conversational),
        "rejected": reply(group.responses[preference.rejected], conversational),
        **objective,
        "weights": weights,
        "margin": preference.margin,
        "id": group.id,
    }


def prompt(messages: Sequence[Message], conversational: bool) -> str | list[Row]:
    """The prompt's column. Raises DataError for a text of several turns."""
    if conversational:
        return [{"role": message.role, "content": message.content} for message in messages]
    if len(messages) != 1 or messages[0].role != "user":
        raise DataError(
            f"texts hold one user turn, this prompt has {len(messages)} turns; write it with conversational=true"
        )
    return messages[0].content


def reply(text: str, conversational: bool) -> str | list[Row]:
    """The column of a reply."""
    return [{"role": "assistant", "content": text}] if conversational else text
