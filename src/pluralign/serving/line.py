"""The line in front of the decoder: owners take turns, and each owner's requests keep their order."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar

LONGEST_WAIT = 60
"""Seconds: no Retry-After asks for more."""
MEASURED = 64
"""Admissions that the measured rate looks back on."""


class Waiting(Protocol):
    """Something that waits: whose it is, and how many key-value rows it will take."""

    owner: str
    rows: int


W = TypeVar("W", bound=Waiting)


class Line(Generic[W]):
    """Not safe between threads; the worker holds a lock. `rows`: of everything that waits."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, deque[W]] = OrderedDict()
        self.rows = 0

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))

    def rows_of(self, owner: str) -> int:
        """Rows that wait for one owner."""
        return sum(each.rows for each in self._owners.get(owner, ()))

    def put(self, item: W) -> None:
        """At the end of its owner's line; an owner who had none begins behind the others."""
        self._owners.setdefault(item.owner, deque()).append(item)
        self.rows += item.rows

    def take(self, free: int) -> W | None:
        """The next in turn, or None where there is none or it needs more than the free rows: nobody overtakes it."""
        for owner, line in self._owners.items():
            if line[0].rows > free:
                return None
            item = line.popleft()
            self.rows -= item.rows
            self._turn(owner)
            return item
        return None

    def drop(self, item: W) -> bool:
        """Let somebody go who waits; False where it does not wait (any more)."""
        line = self._owners.get(item.owner, deque())
        if not any(each is item for each in line):
            return False
        kept = deque(each for each in line if each is not item)
        self._owners[item.owner] = kept
        self.rows -= item.rows
        if not kept:
            del self._owners[item.owner]
        return True

    def clear(self) -> list[W]:
        """Everybody leaves."""
        everybody = [item for line in self._owners.values() for item in line]
        self._owners.clear()
        self.rows = 0
        return everybody

    def _turn(self, owner: str) -> None:
        self._owners.move_to_end(owner)
        if not self._owners[owner]:
            del self._owners[owner]


class Pace:
    """How fast the line moves, measured over the last admissions."""

    def __init__(self) -> None:
        self._went: deque[tuple[float, int]] = deque(maxlen=MEASURED)

    def went(self, rows: int) -> None:
        """So many rows found a place just now."""
        if rows:
            self._went.append((time.monotonic(), rows))

    def seconds(self, rows: int) -> int:
        """Whole seconds until so many rows more have found a place (Retry-After); 1 before anything was measured."""
        if len(self._went) < 2:
            return 1
        elapsed = max(time.monotonic() - self._went[0][0], 1e-3)
        rate = sum(num for _, num in self._went) / elapsed
        return max(1, min(LONGEST_WAIT, math.ceil(rows / rate)))
