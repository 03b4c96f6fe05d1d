"""Batching: groups in, one padded batch out.

Letters: R rows, T tokens, L conditions of a row, C coefficients of a condition, P examples.

A row is a response of a group read after one prompt. Conditions that leave the prompt's text alone share the row
(its columns L); a condition written into the prompt makes a row of its own. Groups of the same prompt stand together
and share the rows that they have in common (the same response under the same conditions). Only rows that some
judgement needs are built. Shorter rows are padded on the right; rows with fewer conditions repeat their first, which
nothing reads. What the rows have in common, the policy reads once (`packing.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pluralign.data.condition import Condition
from pluralign.data.group import Group, Text
from pluralign.data.record import Message
from pluralign.errors import DataError
from pluralign.losses.outputs import NOTHING, Judgements
from pluralign.training.rows import Rows

if TYPE_CHECKING:
    from pluralign.training.states import TrunkStates
    from pluralign.training.trainable import Trainable

Conditions = tuple[Condition | None, ...]
_Example = tuple[int, int, int, float]  # (chosen row, rejected row, column, margin)


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass and what to judge in it.

    input_ids [R, T] long, attention_mask [R, T] bool, targets_mask [R, T] bool (token t is a response token),
    coefficients [R, L, C] float32 (the steering's, one row per condition), judgements over P examples,
    reference [R] float64 (summed log π_ref, nats; NaN unknown), lengths [R] long (response tokens), rows [R] long
    (the rows' numbers in the cache: stable within a fit, equal numbers are equal ids), rejected (responses left out
    because they do not fit), groups [R] long (which of the batch's prompts a row answers, ascending; the rows of a
    judgement answer the same), states (the frozen trunk's hidden states, where they are kept), series (by name [R, T]:
    the numbers that groups give to response tokens, NaN elsewhere), plain (the same responses after their unconditioned
    prompts, in the same order; only for a loss that compares distributions).
    """

    input_ids: Tensor
    attention_mask: Tensor
    targets_mask: Tensor
    coefficients: Tensor
    judgements: Judgements
    reference: Tensor
    lengths: Tensor
    rows: Tensor
    groups: Tensor
    rejected: int = 0
    states: TrunkStates | None = None
    series: Mapping[str, Tensor] = field(default_factory=dict)
    plain: Batch | None = None

    @property
    def num_examples(self) -> int:
        """P, the number of judgements."""
        return len(self.judgements.chosen)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = {name: getattr(self, name) for name in self.__dataclass_fields__}
        moved["series"] = {name: value.to(device) for name, value in self.series.items()}
        return Batch(**{name: value.to(device) if hasattr(value, "to") else value for name, value in moved.items()})


@dataclass(slots=True)
class _Plan:
    """The rows and judgements of a batch while it is collected."""

    rows: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    references: list[int] = field(default_factory=list)
    conditions: list[Conditions] = field(default_factory=list)
    known: dict[tuple[int, int, Conditions], int] = field(default_factory=dict)
    series: list[Mapping[str, tuple[float, ...]]] = field(default_factory=list)
    rejected: int = 0

    def row(
        self, prompt: int, number: int, reference: int, conditions: Conditions, series: Mapping[str, tuple[float, ...]]
    ) -> int:
        """The row's place, added at first sight."""
        key = (prompt, number, conditions)
        if key not in self.known:
            self.known[key] = len(self.rows)
            self.rows.append(number)
            self.groups.append(prompt)
            self.references.append(reference)
            self.conditions.append(conditions)
            self.series.append(series)
        return self.known[key]


@runtime_checkable
class Prepared(Protocol):
    """A reference that wants to hear of a batch's rows before it is asked for each."""

    def prepare(self, numbers: Sequence[int]) -> None:
        """Rows that will be asked for."""


class Collator:
    """Groups to batches for one policy. `reference` maps a row number to log π_ref (None: all unknown); `beside`: whether
    batches hold their responses after the unconditioned prompts too."""

    def __init__(
        self,
        policy: Trainable,
        rows: Rows | None = None,
        reference: Callable[[int], float] | None = None,
        beside: bool = False,
    ) -> None:
        self.policy, self.rows = policy, rows if rows is not None else Rows(policy.encoder)
        self.reference, self.beside = reference, beside

    def __call__(self, groups: Sequence[Group]) -> Batch:
        """One batch of all the groups; judgements whose response does not fit are left out."""
        plan = _Plan()
        judged: dict[int, list[_Example]] = {}
        for prompt, places in enumerate(_by_prompt(groups)):
            judged |= {place: self._add(plan, prompt, groups[place]) for place in places}
        examples = [example for place in range(len(groups)) for example in judged[place]]
        width = max(map(len, plan.conditions), default=1)
        input_ids, attention, targets = _padded(self.rows, plan.rows)
        chosen, rejected, condition, margin = zip(*examples, strict=True) if examples else ((),) * 4
        if isinstance(self.reference, Prepared):
            self.reference.prepare([number for number in plan.references if number != NOTHING])
        return Batch(
            input_ids=input_ids,
            attention_mask=attention,
            targets_mask=targets,
            coefficients=self._coefficients(plan.conditions, width),
            judgements=Judgements(
                torch.tensor(chosen, dtype=torch.long),
                torch.tensor(rejected, dtype=torch.long),
                torch.tensor(condition, dtype=torch.long),
                torch.tensor(margin, dtype=torch.float32),
            ),
            reference=torch.tensor([self._reference(number) for number in plan.references], dtype=torch.float64),
            lengths=targets.sum(1),
            rows=torch.tensor(plan.rows, dtype=torch.long),
            groups=torch.tensor(plan.groups, dtype=torch.long),
            rejected=plan.rejected,
            states=self.rows.states,
            series=_series(plan.series, targets),
            plain=self.plain(plan.references) if self.beside and plan.rows else None,
        )

    def plain(self, numbers: Sequence[int]) -> Batch:
        """Rows by number, unconditioned and without judgements, e.g. to compute their reference."""
        input_ids, attention, targets = _padded(self.rows, numbers)
        none = torch.zeros(0, dtype=torch.long)
        return Batch(
            input_ids=input_ids,
            attention_mask=attention,
            targets_mask=targets,
            coefficients=self._coefficients([(None,)] * len(numbers), 1),
            judgements=Judgements(none, none, none, torch.zeros(0)),
            reference=torch.full((len(numbers),), math.nan),
            lengths=targets.sum(1),
            rows=torch.tensor(numbers, dtype=torch.long),
            groups=torch.arange(len(numbers)),
            states=self.rows.states,
        )

    def _reference(self, number: int) -> float:
        return math.nan if self.reference is None or number == NOTHING else self.reference(number)

    def _add(self, plan: _Plan, prompt: int, group: Group) -> list[_Example]:
        """The rows of a group into the plan; its judgements."""
        places: dict[tuple[int, int], tuple[int, int]] = {}
        needed = _needed(group)
        for messages, columns in self._seams(group):
            every = len(columns) == len(group.conditions)
            conditions = group.conditions if every else tuple(group.conditions[number] for number in columns)
            for index, text in enumerate(group.texts()):
                used = [column for column, number in enumerate(columns) if (index, number) in needed]
                series = {name: rows[index] for name, rows in group.series.items()}
                row = self._row(plan, prompt, text, messages, conditions, series) if used else None
                if row is not None:
                    places.update(((index, columns[column]), (row, column)) for column in used)
        return list(_examples(group, places))

    def _row(
        self,
        plan: _Plan,
        prompt: int,
        text: Text,
        written: tuple[Message, ...],
        conditions: Conditions,
        series: Mapping[str, tuple[float, ...]],
    ) -> int | None:
        plain, response, finished = text
        number = self.rows.number(written, response, finished)
        if number is None:
            plan.rejected += 1
            return None
        unconditioned = number if written is plain else self.rows.number(*text)
        return plan.row(prompt, number, NOTHING if unconditioned is None else unconditioned, conditions, series)

    def _seams(self, group: Group) -> list[tuple[tuple[Message, ...], list[int]]]:
        """The distinct prompts of a group and, for each, the conditions read after it."""
        seams: dict[tuple[Message, ...], list[int]] = {}
        for number, condition in enumerate(group.conditions):
            written = tuple(self.policy.steering.write(group.messages, condition))
            seams.setdefault(group.messages if written == group.messages else written, []).append(number)
        return list(seams.items())

    def _coefficients(self, conditions: Sequence[Conditions], width: int) -> Tensor:
        """[R, L, C]; short tuples repeat their first, and a tuple that rows share is computed once."""
        padded = [row if len(row) == width else row + row[:1] * (width - len(row)) for row in conditions]
        distinct = {row: number for number, row in enumerate(dict.fromkeys(padded))}
        if not distinct:
            return torch.zeros(0, 1, 0)
        blocks = self.policy.coefficients([condition for row in distinct for condition in row]).cpu()
        return blocks.view(len(distinct), width, -1)[torch.tensor([distinct[row] for row in padded])]


def collate(policy: Trainable, groups: Sequence[Group]) -> Batch:
    """One batch of the groups, references unknown; `Collator` keeps the token ids between calls."""
    return Collator(policy)(groups)


def share(groups: Sequence[Group], index: int, num: int) -> list[Group]:
    """Part `index` of `num`, groups of a prompt together; prompts stay whole where there are enough of them for all."""
    parts = _by_prompt(groups)
    if len(parts) < num:
        parts = [[place] for places in parts for place in places]
    return [groups[place] for places in parts[index::num] for place in places]


def _by_prompt(groups: Sequence[Group]) -> list[list[int]]:
    """Places of groups with the same prompt, in order of first sight."""
    found: dict[tuple[Message, ...], list[int]] = {}
    for place, group in enumerate(groups):
        found.setdefault(group.messages, []).append(place)
    return list(found.values())


def _needed(group: Group) -> set[tuple[int, int]]:
    """(response, condition) that some judgement of the group reads."""
    if not group.preferences:
        return {(i, number) for i in range(len(group.responses)) for number in range(len(group.conditions))}
    return {(i, p.condition) for p in group.preferences for i in (p.chosen, p.rejected)}


def _examples(group: Group, places: dict[tuple[int, int], tuple[int, int]]) -> Iterator[_Example]:
    """(chosen row, rejected row, column, margin) of every judgement whose rows exist."""
    if not group.preferences:
        for (index, asked), (row, column) in places.items():
            yield row, NOTHING, column, group.values[index][asked] if group.values else math.nan
    for preference in group.preferences:
        chosen = places.get((preference.chosen, preference.condition))
        rejected = places.get((preference.rejected, preference.condition))
        if chosen and rejected:
            margin = math.nan if preference.margin is None else preference.margin
            yield chosen[0], rejected[0], chosen[1], margin


def _series(rows: Sequence[Mapping[str, tuple[float, ...]]], targets: Tensor) -> dict[str, Tensor]:
    """By name [R, T], at the response tokens targets [R, T]. Raises DataError for a series of another length."""
    found: dict[str, Tensor] = {}
    for row, series in enumerate(rows):
        for name, numbers in series.items():
            if len(numbers) != int(targets[row].sum()):
                raise DataError(f"series {name!r} has {len(numbers)} numbers for {int(targets[row].sum())} tokens")
            found.setdefault(name, torch.full(targets.shape, math.nan))[row, targets[row]] = torch.tensor(numbers)
    return found


def _padded(rows: Rows, numbers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """(input_ids, attention_mask, targets_mask), each [R, T]; padding has id 0, which nothing attends to."""
    lengths = np.array([rows.length(number) for number in numbers], dtype=np.int64)
    prompts = np.array([rows.prompts[number] for number in numbers], dtype=np.int64)
    ids = np.zeros((len(numbers), int(lengths.max(initial=0))), dtype=np.int64)
    for row, number in enumerate(numbers):
        ids[row, : lengths[row]] = rows.ids[number]
    position = np.arange(ids.shape[1])
    attention = position < lengths[:, None]
    return (
        torch.from_numpy(ids),
        torch.from_numpy(attention),
        torch.from_numpy(attention & (position >= prompts[:, None])),
    )
