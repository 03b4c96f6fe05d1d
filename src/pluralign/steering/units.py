"""What a head works on together: rows cut into units, units into pieces, conditions that are alike counted once.

Letters: N tokens, R rows of the batch, R' rows of the trunk, L conditions of a row, C coefficients, P terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from pluralign.steering.formulations import Formulation
from pluralign.steering.softmax import Softmax
from pluralign.steering.terms import Term

UNIT_NUMBERS = 1 << 20
"""Tokens x vocabulary up to which groups share a unit whatever they ask for; four times as much if that is alike."""
PIECE_NUMBERS = 1 << 23
"""Tokens x vocabulary of one product: 262 tokens at a vocabulary of 32,000."""
RETAINED_NUMBERS = 1 << 25
"""Logits kept between the log-probabilities and their gradient; beyond it they are made again."""


@dataclass
class Piece:
    """Tokens whose logits exist at the same time: their place in the batch (`tokens`) and in their unit (`inside`).

    `offset`: where its logits are kept (None: they are made again); `softmax`: while they are there.
    """

    tokens: slice
    inside: slice
    offset: int | None = None
    softmax: Softmax | None = None


@dataclass
class Unit:
    """Neighbouring groups: `rows` of the batch, `trunk_rows` [R'], `tokens` [N], cut into `pieces`.

    `table` [R', L', P] (CPU): the terms' coefficients of its distinct conditions; `place` [L]: which one each is.
    `formulation`: how it is worked on, once that is chosen.
    """

    rows: slice
    trunk_rows: slice
    tokens: slice
    table: Tensor
    place: Tensor
    pieces: list[Piece] = field(default_factory=list)
    formulation: Formulation | None = None

    @property
    def num_tokens(self) -> int:
        """Its tokens."""
        return self.tokens.stop - self.tokens.start

    def cut(self, vocabulary: int, used: int) -> int:
        """Cut into pieces, which get places after the `used` numbers while there is room; the numbers used now."""
        assert self.formulation is not None
        numbers = self.formulation.width * vocabulary
        size = max(1, min(PIECE_NUMBERS // vocabulary, RETAINED_NUMBERS // numbers))
        self.pieces = []
        for start in range(0, self.num_tokens, size):
            end = min(start + size, self.num_tokens)
            piece = Piece(slice(self.tokens.start + start, self.tokens.start + end), slice(start, end))
            if used + (end - start) * numbers <= RETAINED_NUMBERS:
                piece.offset = used
                used += (end - start) * numbers
            self.pieces.append(piece)
        return used


def units(
    terms: Sequence[Term], coefficients: Tensor, tokens_of_row: Tensor, groups: Tensor, vocabulary: int
) -> list[Unit]:
    """Rows in units: a unit is a group, or neighbouring groups where they are small.

    coefficients [R', L, C], tokens_of_row [R'] and groups [R] (ascending), all on the CPU; R' is R times the number of
    the trunk's runs per row.
    """
    if not len(groups):
        return []
    runs = len(coefficients) // len(groups)
    table = torch.stack([term.coefficient(coefficients) for term in terms], -1)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), tokens_of_row.cumsum(0)]).tolist()
    found = []
    for first, end in _packed(table, starts, groups, runs, vocabulary):
        inner = slice(first * runs, end * runs)
        distinct, place = _distinct(table[inner])
        found.append(Unit(slice(first, end), inner, slice(starts[inner.start], starts[inner.stop]), distinct, place))
    return found


def _packed(
    table: Tensor, starts: Sequence[int], groups: Tensor, runs: int, vocabulary: int
) -> Iterator[tuple[int, int]]:
    """(first row, end) of every unit."""
    edges = [0, *((groups[1:] != groups[:-1]).nonzero()[:, 0] + 1).tolist(), len(groups)]
    begin, asked = 0, None
    for first, end in pairwise(edges):
        active = table[first * runs : end * runs].flatten(0, 1).any(0).tolist()
        limit = UNIT_NUMBERS * (4 if active == asked else 1)
        if first > begin and (starts[end * runs] - starts[begin * runs]) * vocabulary > limit:
            yield begin, first
            begin = first
        asked = active
    yield begin, len(groups)


def _distinct(table: Tensor) -> tuple[Tensor, Tensor]:
    """[R', L, P] -> (the L' conditions that differ in some row [R', L', P], the place of each of the L in them [L])."""
    columns = table.transpose(0, 1).flatten(1)
    places: list[int] = []
    kept: list[int] = []
    for number, column in enumerate(columns):
        same = [place for place, other in enumerate(kept) if torch.equal(columns[other], column)]
        places.append(same[0] if same else len(kept))
        kept += [] if same else [number]
    return table[:, kept], torch.tensor(places)
