"""Rows timed in turn, A B A B, in one process: CPU seconds, or CUDA events; medians, spread, and ratios of rows."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pluralign.training.progress import Progress

Around = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """A step to be timed: `name` (its key), `label` for people, and the context `around` it (allocator, settings)."""

    name: str
    label: str
    step: Callable[[], object]
    around: Around = contextlib.nullcontext


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of every repeat of a row, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The row's time."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest repeat."""
        return min(self.seconds), max(self.seconds)


@dataclass(frozen=True, slots=True)
class Ratio:
    """`value`: a ratio of medians; `low`, `high`: of the repeats, each against its neighbour in time."""

    value: float
    low: float
    high: float


def ratio(slow: Timing, fast: Timing, times: float = 1.0) -> Ratio:
    """How many times as long `slow` takes as `fast`; `times`: how often the slow step is needed for the same work."""
    pairs = [times * a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return Ratio(times * slow.median / fast.median, min(pairs), max(pairs))


@dataclass(slots=True)
class Clock:
    """Seconds that a call takes: CPU time of this process, or the time between two CUDA events."""

    device: str = "cpu"
    _events: list[Any] = field(default_factory=list)

    def __call__(self, step: Callable[[], object]) -> float:
        """Run the step once and time it."""
        if self.device == "cpu":
            began = time.process_time()
            step()
            return time.process_time() - began
        return self._on_cuda(step)

    def _on_cuda(self, step: Callable[[], object]) -> float:
        import torch

        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        began.record()
        step()
        ended.record()
        torch.cuda.synchronize()
        return float(began.elapsed_time(ended)) / 1000


def interleaved(rows: Sequence[Row], repeats: int, clock: Clock, name: str, warm_ups: int = 1) -> Mapping[str, Timing]:
    """Time every row `repeats` times, one after the other and again from the start; garbage is collected between."""
    seconds: dict[str, list[float]] = {row.name: [] for row in rows}
    with Progress(name, (repeats + warm_ups) * len(rows)) as progress:
        for row in [*rows] * (repeats + warm_ups):
            seconds[row.name].append(_once(row, clock))
            progress.advance(note=row.label)
    return {key: Timing(tuple(values[warm_ups:])) for key, values in seconds.items()}


def _once(row: Row, clock: Clock) -> float:
    gc.collect()
    gc.disable()  # a collection would be charged to whichever row it falls into
    try:
        with row.around():
            return clock(row.step)
    finally:
        gc.enable()
