"""Jobs side by side, each a process of its own with one thread; what it prints goes to its folder's log.txt."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
POLL = 0.05


def run_all(folders: Sequence[Path], num: int) -> Generator[tuple[Path, int], None, None]:
    """(folder, exit code) of every job as it ends, `num` at a time in the given order.

    Every process has one thread: CPU seconds then mean the same for all, and processes do not fight for cores. When the
    caller stops listening, or is stopped itself, the processes that still run are ended.
    """
    waiting = list(folders)
    running: dict[Path, subprocess.Popen[bytes]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < num:
                folder = waiting.pop(0)
                running[folder] = _start(folder)
            ended = [(folder, process.returncode) for folder, process in running.items() if process.poll() is not None]
            for folder, _ in ended:
                del running[folder]
            yield from ended
            time.sleep(0 if ended else POLL)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pluralign.comparison.row", str(folder)]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **THREADS}
        )


def last_words(folder: Path) -> str:
    """The last line that a job's process printed."""
    path = folder / "log.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
