"""Jobs side by side, each a process of its own with one thread; what it prints goes to its folder's log.txt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
POLL = 0.05


def run_all(folders: Sequence[Path], num: int) -> Generator[tuple[Path, int], None, None]:
    """(folder, exit code) of every job as it ends, `num` at a time in the given order.

    Every process has one thread: CPU seconds then mean the same for all, and processes do not fight for cores. When the
    caller stops listening, or is stopped itself, the processes that still run are ended.
    """
    running: dict[Path, subprocess.Popen[bytes]] = {}
    try:
        with _stopped_in_order():
            yield from _ended(list(folders), running, num)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def _ended(
    waiting: list[Path], running: dict[Path, subprocess.Popen[bytes]], num: int
) -> Generator[tuple[Path, int], None, None]:
    """Start what is waiting as places get free; what has ended leaves `running`."""
    while waiting or running:
        while waiting and len(running) < num:
            folder = waiting.pop(0)
            running[folder] = _start(folder)
        ended = [(folder, process.returncode) for folder, process in running.items() if process.poll() is not None]
        for folder, _ in ended:
            del running[folder]
        yield from ended
        time.sleep(0 if ended else POLL)


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit as Ctrl-C raises KeyboardInterrupt, so that no process is left behind."""
    if threading.current_thread() is not threading.main_thread():  # no other thread may set handlers
        yield
        return
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


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
