"""Sources: where a training run's groups come from. Every draw is a function of (seed, step), so a resumed run repeats it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np

from pluralign.data.group import Group, Text
from pluralign.errors import ConfigError, DataError, RunError
from pluralign.storage import fingerprint


class Source(Protocol):
    """Yields the groups of each optimiser step."""

    def batch(self, step: int) -> list[Group]:
        """The groups of step `step` (0-based): always the same for the same step."""

    @property
    def live(self) -> bool:
        """Whether batches hold texts that nobody knows beforehand: replies of the policy itself."""

    def texts(self) -> Iterable[Text]:
        """Every text known beforehand, e.g. to cache reference log-probabilities."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps (JSON): the source's identity and, where it has one, its place."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; RunError where it was written by another source."""


def check_same(kept: dict[str, Any], own: dict[str, Any], what: str) -> None:
    """Raise RunError naming every entry that differs between a checkpoint and now."""
    different = [key for key in sorted({*kept, *own}) if kept.get(key) != own.get(key)]
    if different:
        changes = "; ".join(f"{key}: {kept.get(key)!r} then, {own.get(key)!r} now" for key in different)
        raise RunError(
            f"cannot resume, the {what} is not the one of the checkpoint ({changes}); "
            "resume with the same data and settings, or start a new run folder"
        )


class GroupSource:
    """Fixed groups in shuffled epochs: `batch_size` per step, each epoch a permutation drawn from (seed, epoch).

    A step may straddle two epochs; nothing is dropped. Raises DataError for no groups.
    """

    live = False

    def __init__(self, groups: Sequence[Group], batch_size: int, seed: int = 0) -> None:
        if not groups:
            raise DataError("there is nothing to train on: no groups; check the data's labels and the conversion")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        self.groups, self.batch_size, self.seed = list(groups), batch_size, seed
        self._permutation = lru_cache(maxsize=2)(self._draw)

    def _draw(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.groups))

    def steps(self, epochs: float) -> int:
        """Optimiser steps that see every group `epochs` times (rounded up)."""
        return max(1, int(np.ceil(epochs * len(self.groups) / self.batch_size)))

    def batch(self, step: int) -> list[Group]:
        """The groups of a step."""
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        size = len(self.groups)
        return [self.groups[self._permutation(place // size)[place % size]] for place in places]

    def texts(self) -> Iterable[Text]:
        """Every prompt with each of its responses."""
        return (text for group in self.groups for text in group.texts())

    def state(self) -> dict[str, Any]:
        """Identity only: the place follows from the step."""
        return {"kind": "groups", "seed": self.seed, "batch_size": self.batch_size, "content": self._content}

    def restore(self, state: dict[str, Any]) -> None:
        """RunError unless seed, batch size and content are the same."""
        check_same(state, self.state(), "data")

    @cached_property
    def _content(self) -> str:
        return fingerprint(*(_describe(group) for group in self.groups))


def _describe(group: Group) -> list[Any]:
    return [
        [[message.role, message.content] for message in group.messages],
        list(group.responses),
        [None if condition is None else str(condition) for condition in group.conditions],
        [[p.condition, p.chosen, p.rejected, p.margin] for p in group.preferences],
        *group.unfinished,
        *([list(map(list, group.values))] if group.values else []),
        *([{name: list(map(list, rows)) for name, rows in group.series.items()}] if group.series else []),
    ]
