"""Packing: rows of a prompt and a response in, few packed rows out, in which nothing is read twice.

Rows that begin with the same prompt, and are read by the same parameters, share it: a packed row holds the prompt once
and behind it the responses as branches. A branch sees its own prompt and itself; its positions go on where the prompt
ended, as if it stood there alone. Equal responses are kept once. Several prompts stand in one packed row where that
is cheaper than padding:

    prompt 1 | branch | branch | prompt 2 | branch | padding
    0 1 2 3    4 5 6    4 5      0 1        2 3 4    0 0          positions

The attention of a packed row is computed whole, [T, T], although most of it is masked. So a layout of B rows costs
B T (linear + T), and rows that share nothing, whose attention is causal, B T (linear + T / 2); `linear` is the length
at which attention costs as much as all the linear layers. The cheapest of a few layouts is taken: one row for
everything, .. , one chain (a prompt with one response) per row. What is taken depends on the rows alone, so that a
resumed run repeats it.

Letters: R rows as given, B packed rows, T tokens of a packed row, W tokens of a row as given.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
PADDING = -1
TOKENS_PER_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every token stands; all arrays int64.

    ids, positions [B, T]; prompt [B, T]: number of the prompt that a token belongs to (PADDING: to none); branch
    [B, T]: 0 in a prompt, the branch's number in a response; owner [B, T]: a row by whose parameters a token is read.
    places [R, W]: where in the flattened [B T] a row's tokens stand (0 where it has none). `shared`: whether some
    packed row holds more than one chain, so that attention needs the mask; `hidden` [B, T]: tokens that later ones do
    not see (None: every token is seen).
    """

    ids: Ints
    positions: Ints
    prompt: Ints
    branch: Ints
    owner: Ints
    places: Ints
    shared: bool
    hidden: Bools | None = None

    @property
    def masked(self) -> bool:
        """Whether causal attention alone is not enough."""
        return self.shared or self.hidden is not None


@dataclass(frozen=True, slots=True)
class _Branch:
    """A response: how many tokens of it are read, and the rows it answers."""

    length: int
    rows: list[int]


@dataclass(frozen=True, slots=True)
class _Part:
    """A prompt and those of its branches that stand in one packed row; `size`: tokens of all of them."""

    prompt: int
    branches: list[_Branch]
    size: int

    @classmethod
    def of(cls, prompt: int, branches: list[_Branch]) -> _Part:
        return cls(prompt, branches, prompt + sum(branch.length for branch in branches))


def pack(
    ids: Ints,
    starts: Sequence[int],
    lengths: Sequence[int],
    keys: Sequence[bytes],
    linear: float | None,
    hidden: Bools | None = None,
) -> Layout:
    """The cheapest layout of rows ids [R, W]: of row r, `lengths[r]` tokens are read, the prompt is `starts[r]` long.

    Rows share a prompt only where their keys [R] are equal. `linear`: see the module's text; None keeps every row
    apart, for models that cannot take a mask (equal rows are still read once). Tokens `hidden` [R, W] are seen by none
    that follow; rows that hide other tokens share nothing.
    """
    if hidden is not None:
        keys = [key + row.tobytes() for key, row in zip(keys, hidden, strict=True)]
    groups = list(_groups(ids, starts, lengths, keys))
    bins = _apart(groups) if linear is None else _cheapest(groups, linear)
    return _fill(ids, bins, hidden)


def _groups(ids: Ints, starts: Sequence[int], lengths: Sequence[int], keys: Sequence[bytes]) -> Iterator[_Part]:
    """Every distinct prompt with all its distinct responses, in order of first sight."""
    found: dict[tuple[bytes, bytes], dict[bytes, list[int]]] = {}
    for row, (start, length, key) in enumerate(zip(starts, lengths, keys, strict=True)):
        prompt, response = ids[row, :start].tobytes(), ids[row, start:length].tobytes()
        found.setdefault((key, prompt), {}).setdefault(response, []).append(row)
    for responses in found.values():
        branches = [_Branch(max(0, lengths[rows[0]] - starts[rows[0]]), rows) for rows in responses.values()]
        yield _Part.of(starts[branches[0].rows[0]], branches)


def _apart(groups: Sequence[_Part]) -> list[list[_Part]]:
    return [[_Part.of(group.prompt, [branch])] for group in groups for branch in group.branches]


def _cheapest(groups: Sequence[_Part], linear: float) -> list[list[_Part]]:
    apart = _apart(groups)
    longest = _width(apart)
    best, least = apart, len(apart) * longest * (linear + longest / 2)
    total = sum(group.size for group in groups)
    even = {max(longest, -(-total // num)) for num in _numbers(len(apart))}
    for capacity in sorted({*even, max(group.size for group in groups)}, reverse=True):
        bins = _bins(groups, capacity)
        width = _width(bins)
        cost = len(bins) * width * (linear + width)
        if cost < least:
            best, least = bins, cost
    return best


def _numbers(most: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, ..: how many packed rows to try."""
    power = 1
    while power <= most:
        yield power
        if power > 1:
            yield power * 3 // 2
        power *= 2


def _width(bins: Sequence[Sequence[_Part]]) -> int:
    return max(sum(part.size for part in row) for row in bins)


def _bins(groups: Sequence[_Part], capacity: int) -> list[list[_Part]]:
    """Parts into rows of at most `capacity` tokens, the largest first, each into the first row with room."""
    parts = sorted((part for group in groups for part in _cut(group, capacity)), key=lambda part: -part.size)
    bins: list[list[_Part]] = []
    room: list[int] = []
    for part in parts:
        place = next((place for place, free in enumerate(room) if free >= part.size), None)
        if place is None:
            place = len(bins)
            bins.append([])
            room.append(capacity)
        bins[place].append(part)
        room[place] -= part.size
    return bins


def _cut(group: _Part, capacity: int) -> Iterator[_Part]:
    """A group in parts of at most `capacity` tokens; each repeats the prompt."""
    if group.size <= capacity:
        yield group
        return
    branches: list[_Branch] = []
    size = group.prompt
    for branch in group.branches:
        if branches and size + branch.length > capacity:
            yield _Part(group.prompt, branches, size)
            branches, size = [], group.prompt
        branches.append(branch)
        size += branch.length
    yield _Part(group.prompt, branches, size)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A prompt (branch 0) or a response in its place: `begin` is where its prompt stands, `column` where it does,
    `offset` the position of its first token."""

    line: int
    begin: int
    column: int
    offset: int
    length: int
    prompt: int
    branch: int
    rows: list[int]


def _segments(bins: Sequence[Sequence[_Part]]) -> Iterator[_Segment]:
    prompt = 0
    for line, parts in enumerate(bins):
        begin = 0
        for part in parts:
            yield _Segment(line, begin, begin, 0, part.prompt, prompt, 0, part.branches[0].rows[:1])
            column = begin + part.prompt
            for number, branch in enumerate(part.branches, 1):
                yield _Segment(line, begin, column, part.prompt, branch.length, prompt, number, branch.rows)
                column += branch.length
            begin, prompt = column, prompt + 1


def _fill(ids: Ints, bins: Sequence[Sequence[_Part]], hidden: Bools | None) -> Layout:
    height, width = len(bins), _width(bins)
    tokens, positions, branches, owner = (np.zeros((height, width), dtype=np.int64) for _ in range(4))
    prompts = np.full((height, width), PADDING, dtype=np.int64)
    places = np.zeros(ids.shape, dtype=np.int64)
    unseen = np.zeros((height, width), dtype=np.bool_)
    for each in _segments(bins):
        here, there = slice(each.column, each.column + each.length), slice(each.offset, each.offset + each.length)
        tokens[each.line, here] = ids[each.rows[0], there]
        positions[each.line, here] = np.arange(there.start, there.stop)
        branches[each.line, here], prompts[each.line, here] = each.branch, each.prompt
        owner[each.line, here] = each.rows[0]
        if hidden is not None:
            unseen[each.line, here] = hidden[each.rows[0], there]
        if each.branch:
            line = each.line * width
            places[each.rows, : each.offset] = line + np.arange(each.begin, each.begin + each.offset)
            places[each.rows, there] = line + np.arange(here.start, here.stop)
    shared = any(len(parts) > 1 or len(parts[0].branches) > 1 for parts in bins)
    return Layout(tokens, positions, prompts, branches, owner, places, shared, unseen if hidden is not None else None)


def batches(lengths: Sequence[int], prompts: Sequence[Hashable] | None = None) -> Iterator[list[int]]:
    """Places of rows in batches of at most TOKENS_PER_BATCH tokens, padded and unshared; the longest first.

    Rows of the same prompt (`prompts` [R]; None: all differ) stand together, in one batch where they fit into one.
    """
    families: dict[Hashable, list[int]] = {}
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        families.setdefault(place if prompts is None else prompts[place], []).append(place)
    batch: list[int] = []
    width = 0
    for family in families.values():
        if batch and (len(batch) + len(family)) * max(width, lengths[family[0]]) > TOKENS_PER_BATCH:
            yield batch
            batch, width = [], 0
        for place in family:
            width = max(width, lengths[place])
            if batch and (len(batch) + 1) * width > TOKENS_PER_BATCH:
                yield batch
                batch, width = [], lengths[place]
            batch.append(place)
    if batch:
        yield batch
