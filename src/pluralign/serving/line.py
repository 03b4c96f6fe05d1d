"""The line in front of the decoder: owners take turns, and each owner's requests keep their order."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

PRESENT = 60.0
"""Seconds for which an owner counts as present after it asked."""
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

    def take(self, fits: Callable[[W], bool]) -> W | None:
        """The next in turn, or None where there is none or it does not fit: nobody overtakes it."""
        for owner, line in self._owners.items():
            if not fits(line[0]):
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


class Shares:
    """How much of the line one owner may take while others are about: no more than is left for them.

    So one of two busy owners gets a third of the line at most, and a newcomer always finds room (dynamic thresholds,
    Choudhury and Hahne 1998, with α = 1). Who is alone may take it all.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def asked(self, owner: str) -> None:
        """The owner is present, whether it is let in or not."""
        now = time.monotonic()
        self._seen[owner] = now
        self._seen.move_to_end(owner)
        while next(iter(self._seen.values())) < now - PRESENT:
            self._seen.popitem(last=False)

    def allow(self, own: int, left: int) -> bool:
        """Whether an owner may wait for `own` rows in all where `left` rows of the line are free."""
        return len(self._seen) < 2 or own <= left


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
