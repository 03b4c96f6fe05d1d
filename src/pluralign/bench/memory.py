"""Peak memory of training steps, each row in a fresh process, so that none sees another's leavings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def resident() -> int:
    """Bytes of this process in memory now."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(shown.stdout) * 1024


def peak() -> int:
    """The most bytes that this process ever had in memory."""
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def growth(step: Callable[[], object], steps: int = 3) -> int:
    """Bytes by which the peak of `steps` steps exceeds what was there before the first (optimiser state included)."""
    before = resident()
    for _ in range(steps):
        step()
    return peak() - before


def in_fresh_process(arguments: list[str]) -> int:
    """Run `python -m pluralign.bench.memory_row` and read the bytes that it prints."""
    command = [sys.executable, "-m", "pluralign.bench.memory_row", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])
