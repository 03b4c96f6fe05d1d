"""Slots: the key-value cache of one model while it decodes, a row for every reply in the making.

All rows end at one `clock`: a row of n tokens fills places [clock − n, clock), whoever joined when. So a step writes one
slice of one buffer, nothing is concatenated, and what the model sees is an ordinary batch padded on the left, which any
attention of transformers understands (also one with a window). A row that leaves is replaced by the last one; buffers
grow by doubling, and move to the left when their beginning is empty.

Letters: S rows of the buffers, H key-value heads, C places, D width of a head, R rows in use, N rows of one pass, T tokens
of one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from pluralign.errors import ModelError

FEW = 32
"""Rows and places that buffers begin with."""
MANY = 1024
"""Places beyond which buffers are given back when nothing runs."""


class Slots:
    """Rows [R] that end at `clock` and begin at `starts`. `cache` is what the model is given."""

    def __init__(self, config: Any) -> None:
        layers = DynamicCache(config=config).layers
        strange = {type(layer).__name__ for layer in layers} - {
            DynamicLayer.__name__,
            DynamicSlidingWindowLayer.__name__,
        }
        if strange or not layers:
            raise ModelError(
                f"{getattr(config, 'model_type', 'this model')} keeps a state besides keys and values "
                f"({', '.join(sorted(strange)) or 'no layers'}); the engine decodes attention models only"
            )
        self.layers = [_Layer(self, isinstance(layer, DynamicSlidingWindowLayer)) for layer in layers]
        self.cache = Cache(layers=list(self.layers))
        self.clock, self.many = 0, MANY
        self.starts: list[int] = []
        self._pass(0, 0, 0)

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.starts)

    def _pass(self, first: int, last: int, tokens: int) -> None:
        """What the next forward computes: rows [first, last), the `tokens` places before the clock."""
        self.first, self.last, self.begin = first, last, self.clock - tokens
        self.low = min(self.starts[first:last], default=0)

    def advance(self) -> None:
        """One place more for every row; then the next forward reads one token of each."""
        if self.clock + 1 > self._places() and (low := min(self.starts, default=0)) > self._places() // 2:
            self._shift(-low)
        self.clock += 1
        self._pass(0, self.num_rows, 1)

    def join(self, lengths: Sequence[int]) -> range:
        """Rows for prompts of these lengths (places to fill, which rows)."""
        if not self.starts:
            self.clock = max(lengths)
            self._let_go()
        elif max(lengths) > self.clock:
            self._shift(max(lengths) - self.clock)
        first = self.num_rows
        self.starts += [self.clock - length for length in lengths]
        return range(first, self.num_rows)

    def read(self, first: int, last: int, tokens: int) -> None:
        """The next forward reads the last `tokens` places of rows [first, last); what is before them is there."""
        self._pass(first, last, tokens)

    def positions(self) -> Tensor:
        """Of the tokens of the next forward in their rows [N, T]; below 0 where a row has not begun."""
        starts = torch.tensor(self.starts[self.first : self.last])
        return torch.arange(self.begin, self.clock)[None, :] - starts[:, None]

    def mask(self) -> Tensor | None:
        """Which places belong to the rows of the next forward [N, places]; None where all do."""
        starts = self.starts[self.first : self.last]
        if all(start == self.low for start in starts):
            return None
        return torch.arange(self.low, self.clock)[None, :] >= torch.tensor(starts)[:, None]

    def keep(self, kept: Sequence[bool]) -> list[int]:
        """Let the rows go that are not kept. Returns which row stands at each place now (as few moves as can be)."""
        num = sum(kept)
        tail = iter(row for row in range(num, len(kept)) if kept[row])
        order = [row if kept[row] else next(tail) for row in range(num)]
        moved = [(place, row) for place, row in enumerate(order) if place != row]
        if moved:
            places, rows = map(list, zip(*moved, strict=True))
            self._copy(rows, places, min(self.starts[row] for row in rows))
        self.starts = [self.starts[row] for row in order]
        return order

    def copy(self, row: int, places: Sequence[int]) -> None:
        """A row's tokens to other rows."""
        self._copy([row] * len(places), places, self.starts[row])

    def _copy(self, rows: Sequence[int], places: Sequence[int], begin: int) -> None:
        for layer in self.layers:
            layer.make_room(max(places) + 1, self.clock)
            for buffer in layer.buffers():
                buffer[places, :, begin : self.clock] = buffer[rows, :, begin : self.clock]

    def wipe(self, row: int) -> None:
        """Zeros for everything that a row holds."""
        for layer in self.layers:
            for buffer in layer.buffers():
                buffer[row] = 0.0

    def take(self, row: int, begin: int, end: int) -> list[tuple[Tensor, Tensor]]:
        """Copies of keys and values [H, end - begin, D] of a row's tokens [begin, end), layer by layer."""
        start = self.starts[row]
        return [
            (layer.keys[row, :, start + begin : start + end].clone(), layer.values[row, :, start + begin : start + end].clone())
            for layer in self.layers
            if layer.keys is not None and layer.values is not None
        ]  # fmt: skip

    def put(self, row: int, begin: int, known: Sequence[tuple[Tensor, Tensor]]) -> None:
        """The inverse of `take`: tokens from `begin` on."""
        place = self.starts[row] + begin
        for layer, (keys, values) in zip(self.layers, known, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(keys[None], values[None])
            layer.make_room(row + 1, place + keys.shape[1])
            for buffer, part in zip(layer.buffers(), (keys, values), strict=True):
                buffer[row, :, place : place + part.shape[1]] = part

    def _let_go(self) -> None:
        """What a burst of long replies took is given back once nobody is there."""
        if self._places() > self.many:
            for layer in self.layers:
                layer.keys = layer.values = None
                layer.is_initialized = False

    def _places(self) -> int:
        return max((layer.keys.shape[2] for layer in self.layers if layer.keys is not None), default=0)

    def _shift(self, by: int) -> None:
        low = min(self.starts)
        for layer in self.layers:
            layer.shift(low, self.clock, by, self.num_rows)
        self.starts = [start + by for start in self.starts]
        self.clock += by


class _Layer(CacheLayerMixin):
    """Keys [S, H, C, D] and values of one layer; which rows and places a forward computes is said by the slots."""

    def __init__(self, slots: Slots, is_sliding: bool) -> None:
        super().__init__()
        self.slots, self.is_sliding = slots, is_sliding

    def buffers(self) -> tuple[Tensor, ...]:
        """Keys and values, once there are any."""
        return () if self.keys is None or self.values is None else (self.keys, self.values)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """No places yet."""
        self.keys, self.values = (_room(each, FEW, FEW) for each in (key_states, value_states))
        self.is_initialized = True

    def make_room(self, rows: int, places: int) -> None:
        """Buffers of at least so many rows and places, once there are any."""
        if self.keys is None or self.values is None:
            return
        if rows > self.keys.shape[0] or places > self.keys.shape[2]:
            self.keys, self.values = (_grown(each, rows, places) for each in (self.keys, self.values))

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the pass's tokens [N, H, T, D]; everything that its rows have so far, as views."""
        slots = self.slots
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.make_room(slots.last, slots.clock)
        rows = slice(slots.first, slots.last)
        keys, values = self.buffers()
        keys[rows, :, slots.begin : slots.clock] = key_states
        values[rows, :, slots.begin : slots.clock] = value_states
        return keys[rows, :, slots.low : slots.clock], values[rows, :, slots.low : slots.clock]

    def shift(self, low: int, high: int, by: int, rows: int) -> None:
        """Move places [low, high) of the rows in use by so many."""
        self.make_room(rows, high + by)
        for buffer in self.buffers():
            buffer[:rows, :, low + by : high + by] = buffer[:rows, :, low:high].clone()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(places that a pass sees, 0)."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Places before the pass's tokens."""
        return self.slots.begin - self.slots.low

    def get_max_length(self) -> int:
        """None."""
        return -1


def _room(states: Tensor, rows: int, places: int) -> Tensor:
    """Zeros (what is masked must be finite) [rows, H, places, D]."""
    return states.new_zeros(rows, states.shape[1], places, states.shape[3])


def _grown(buffer: Tensor, rows: int, places: int) -> Tensor:
    have_rows, have_places = buffer.shape[0], buffer.shape[2]
    wanted = max(have_rows, rows if rows <= have_rows else max(rows, 2 * have_rows))
    longer = max(have_places, places if places <= have_places else max(places, 2 * have_places))
    made = _room(buffer, wanted, longer)
    made[:have_rows, :, :have_places] = buffer
    return made
