"""Progress on standard error: a bar in a terminal, one plain line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any

log = logging.getLogger("pluralign")

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """`with Progress("training", 250) as bar: bar.advance(note="loss 0.31")`. Silent where the logger is (--quiet)."""

    def __init__(self, name: str, total: int, start: int = 0) -> None:
        self.name, self.total, self.done = name, total, start
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        self._bar = _bar() if log.isEnabledFor(logging.INFO) else None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.name, total=self.total, completed=self.done, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, num: int = 1, note: str = "") -> None:
        """So many more are done."""
        self.done += num
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, note=note)
        elif time.monotonic() >= self._next_line and self.done < self.total:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            log.info("%s: %d of %d%s", self.name, self.done, self.total, f", {note}" if note else "")


def _bar() -> Any:
    """A rich bar, or None where standard error is no terminal."""
    import rich.console
    import rich.progress as bars

    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        return None
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn())
    timing = (bars.TimeElapsedColumn(), bars.TimeRemainingColumn(), bars.TextColumn("{task.fields[note]}"))
    return bars.Progress(*columns, *timing, console=console, transient=False)
