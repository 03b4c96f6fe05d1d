"""The meter of a row: CPU seconds of this process, kept in a file while they pass, and a limit that stops the work.

The clock is the operating system's for CPU time, not the wall's: other programs on the machine do not count. What an
earlier process spent on the same work counts too, so that a row that was broken off and goes on costs what it cost.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pluralign.errors import RunError
from pluralign.storage import atomic_write

TICK = 1.0
"""CPU seconds between two notes: at most so much is forgotten when the process is killed."""


class OverBudgetError(RunError):
    """The work was stopped: it had used up its limit of CPU seconds."""


def spent(path: Path) -> float:
    """CPU seconds that the file tells of; 0 without one."""
    return float(path.read_text()) if path.exists() else 0.0


@contextlib.contextmanager
def metered(path: Path, limit: float = math.inf) -> Iterator[None]:
    """Add the CPU seconds of the block to those in the file; OverBudgetError as soon as they exceed `limit`.

    For the main thread of a process (a signal keeps the time).
    """
    before, began = spent(path), time.process_time()

    def total() -> float:
        return before + time.process_time() - began

    def tick(number: int, frame: FrameType | None) -> None:
        atomic_write(path, repr(total()))
        if total() > limit:
            signal.setitimer(signal.ITIMER_PROF, 0)
            raise OverBudgetError(f"stopped after {total():.0f} CPU seconds, the limit being {limit:.0f}")

    earlier = signal.signal(signal.SIGPROF, tick)
    signal.setitimer(signal.ITIMER_PROF, TICK, TICK)
    try:
        if before > limit:
            raise OverBudgetError(f"{before:.0f} CPU seconds were spent already, the limit being {limit:.0f}")
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)
        atomic_write(path, repr(total()))
