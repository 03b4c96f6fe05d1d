"""Inspection: what a file of feedback holds, as one frozen value that renders itself as JSON and for a terminal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign.data.evidence import Array
from pluralign.data.halo import Halo
from pluralign.data.inspect.agreement import Agreement, Raters, Shift
from pluralign.data.inspect.counts import Counts
from pluralign.data.inspect.duplicates import Duplicates
from pluralign.data.inspect.length import LengthFacts
from pluralign.data.inspect.pairs import PairFacts
from pluralign.data.inspect.spread import Spread
from pluralign.data.inspect.texts import TextFacts
from pluralign.data.objective import Objective

if TYPE_CHECKING:
    from pluralign.data.inspect.advice import Advice

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Rows:
    """What became of the rows: `read` = `kept` + `rejected`; reasons by kind, and a few messages in full."""

    read: int
    kept: int
    rejected: int
    reasons: Mapping[str, int]
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """Everything found in one pass over a file; K objectives, A = K + 1 axes (the last: judgements without objective).

    `spreads` and `shifts` [K], `correlation` [K, K] (signed so that more is better; `halo` leaves `ungraded` replies
    out), `conflict` and length wins in `pairs`; `limit` is the number of records it was asked to stop at, if any.
    """

    file: str
    reader: str
    licence: str | None
    source: str | None
    limit: int | None
    rows: Rows
    objectives: tuple[Objective, ...]
    counts: Counts
    spreads: tuple[Spread, ...]
    correlation: Array
    halo: Halo
    ungraded: int
    pairs: PairFacts
    length: LengthFacts
    raters: Raters
    agreement: tuple[Agreement, ...]
    shifts: tuple[Shift, ...]
    duplicates: Duplicates
    prompts: TextFacts
    replies: TextFacts

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the objectives, and "(overall)", which no objective can be called."""
        return (*(objective.name for objective in self.objectives), "(overall)")

    @property
    def advice(self) -> tuple[Advice, ...]:
        """What is wrong and what to do about it, a sentence each, the gravest first."""
        from pluralign.data.inspect.advice import advice

        return advice(self)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON: NaN becomes null."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found = {name: plain(value) for name, value in fields.items() if name != "halo"}
        known = {"format_version": FORMAT_VERSION, **found, "axes": list(self.axes)}
        return {**known, "halo": plain(self.halo), "advice": plain(self.advice)}

    def text(self, width: int = 120) -> str:
        """Tables and advice for people."""
        from pluralign.data.inspect.terminal import rendered

        return rendered(self, width)


def plain(value: Any) -> Any:
    """A value as JSON knows it: dataclasses as objects, arrays as lists, NaN and infinity as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
