"""metrics.jsonl and the trackers: one line per step, the same numbers everywhere."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pluralign.errors import ConfigError, MissingExtraError
from pluralign.storage import atomic_write, storage_errors

TRACKERS = ("jsonl", "tensorboard", "wandb")


class MetricsFile:
    """JSON lines, appended and flushed one by one. NaN and infinity are written as null. Raises StorageError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, values: Mapping[str, Any]) -> None:
        """One more line."""
        line = json.dumps({name: _finite(value) for name, value in values.items()}, ensure_ascii=False)
        with storage_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Every whole line; one cut off by a killed process or a full disk is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        values = map(_parse, lines)
        return [value for value in values if isinstance(value, dict)]

    def truncate(self, stage: str, step: int) -> None:
        """Forget what a stage logged after `step` steps: it is about to be repeated."""
        lines = self.read()
        kept = [line for line in lines if line.get("stage") != stage or line.get("step", 0) <= step]
        atomic_write(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Trackers:
    """metrics.jsonl always; "tensorboard" and "wandb" beside it, through accelerate's trackers.

    Raises ConfigError for an unknown name and MissingExtraError, with the install line, for a missing package.
    """

    def __init__(self, names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> None:
        self.file = MetricsFile(folder / "metrics.jsonl")
        self._others = [_start(name, folder, config) for name in dict.fromkeys(names) if name != "jsonl"]

    def log(self, stage: str, step: int, values: Mapping[str, Any]) -> None:
        """The numbers of a step, which may include strings and None (kept in the file only)."""
        self.file.append({"stage": stage, "step": step, **values})
        numbers = {f"{stage}/{name}": value for name, value in values.items() if isinstance(value, int | float)}
        for tracker in self._others:
            tracker.log(numbers, step=step)

    def close(self) -> None:
        """Flush and end the other trackers."""
        for tracker in self._others:
            tracker.finish()
        self._others = []


def check_trackers(names: Sequence[str], installed: Callable[[str], Any] = importlib.util.find_spec) -> None:
    """ConfigError for an unknown tracker, MissingExtraError for one whose package is missing."""
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"unknown tracker {name!r}; known are: {', '.join(TRACKERS)}")
        if name != "jsonl" and installed(name) is None:
            raise MissingExtraError(
                f"tracker {name!r} needs a package that is not installed; run: pip install 'pluralign[trackers]'"
            )


def _start(name: str, folder: Path, config: Mapping[str, Any]) -> Any:
    check_trackers([name])
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # accelerate's trackers ask it which process is the main one
    where = {"logging_dir": str(folder / "trackers")} if name == "tensorboard" else {"dir": str(folder)}
    tracker = LOGGER_TYPE_TO_CLASS[name](folder.name, **where)
    if hasattr(tracker, "start"):  # older accelerate starts it in its constructor
        tracker.start()
    tracker.store_init_configuration({"config": json.dumps(dict(config), default=str)})
    return tracker
