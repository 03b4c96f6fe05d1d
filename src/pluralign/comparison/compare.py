"""All rows of a comparison, done or taken from an earlier call, and what they are worth beside each other.

What the budget does: a method trains as its recipe says, whatever that costs, and the CPU seconds of all models that it
needs are counted, with the sampling and scoring in between. A row that cost more than the budget is marked and never
called the best; at twice the budget it is stopped. Cutting a training off at the budget would judge a method in the
middle of a schedule that was made for its end, or with half of its models.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pluralign import settings
from pluralign.comparison.entry import Entry
from pluralign.comparison.ground import BASE, POOL, Ground
from pluralign.comparison.processes import last_words, run_all
from pluralign.comparison.row import DONE, FAILED, STOPPED, Job
from pluralign.errors import ConfigError, RunError
from pluralign.recipes.registry import method_class
from pluralign.storage import fingerprint, read_json, write_json

log = logging.getLogger("pluralign")
STOP_AT = 2.0
"""Times the budget at which a training is stopped."""
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows, the ground that they stand on, and where everything is kept.

    `budget`: CPU seconds of training that a row may take (None: any). `jobs`: processes at a time. `again`: keys of rows
    to be done anew. Raises ConfigError for numbers that make no sense, or a folder made for another ground.
    """

    entries: tuple[Entry, ...]
    ground: Ground
    work: Path
    seeds: tuple[int, ...] = (0, 1)
    budget: float | None = None
    jobs: int = 1
    again: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        keys = [entry.key for entry in self.entries]
        if not keys or len(set(keys)) < len(keys):
            raise ConfigError(f"a comparison needs rows with different names, got {', '.join(keys) or 'none'}")
        if not self.seeds or self.jobs < 1 or (self.budget is not None and not self.budget > 0):
            raise ConfigError(
                f"a comparison needs at least one seed and one job, and a budget above 0; got {len(self.seeds)} seeds, "
                f"{self.jobs} jobs, a budget of {self.budget}"
            )
        unknown = sorted(set(self.again) - set(keys))
        if unknown:
            raise ConfigError(f"no row is called {', '.join(unknown)}; the rows are {', '.join(keys)}")

    def folder(self, seed: int, key: str = "") -> Path:
        """Where a seed's ground, or a row of it, is kept."""
        return self.work / f"seed-{seed}" / key

    def rows(self, after_each: Callable[[list[Row]], None] = lambda rows: None) -> list[Row]:
        """Do what is not done yet; one dictionary per row and seed, in the order of the entries.

        `after_each` is given what there is so far. Raises RunError where a ground cannot be made.
        """
        self._same_ground()
        self._prepare_grounds()
        waiting = [self._begin(entry, seed) for seed in self.seeds for entry in self.entries]
        folders = [folder for folder in waiting if folder is not None]
        log.info("%d rows to do, %d done before", len(folders), len(waiting) - len(folders))
        with contextlib.closing(run_all(folders, self.jobs)) as ended:
            for folder, code in ended:
                self._ended(folder, code)
                after_each(list(self.found()))
        return list(self.found())

    def found(self) -> Iterator[Row]:
        """The rows that are on the disk, each with its entry."""
        for entry in self.entries:
            for seed in self.seeds:
                path = self.folder(seed, entry.key) / "row.json"
                if path.exists():
                    yield {"title": entry.title, "method": entry.method, "facts": entry.facts, **read_json(path)}

    def over(self, row: Row) -> bool:
        """Whether a row cost more than the budget."""
        return self.budget is not None and row["train_seconds"] > self.budget

    def _same_ground(self) -> None:
        what = "a comparison on other data, another model or judge, or of other sizes"
        same_as_before(self.work / "ground.json", settings.to_json(self.ground), self.work, what)

    def _prepare_grounds(self) -> None:
        for seed in self.seeds:
            self.folder(seed).mkdir(parents=True, exist_ok=True)
            write_json(self.folder(seed) / "job.json", Job(None, self.ground, seed).to_json())
        missing = [self.folder(seed) for seed in self.seeds if not self._is_prepared(seed)]
        with contextlib.closing(run_all(missing, self.jobs)) as ended:
            for folder, code in ended:
                if code:
                    raise RunError(
                        f"what all rows stand on could not be made: {last_words(folder)} (see {folder / 'log.txt'})"
                    )

    def _is_prepared(self, seed: int) -> bool:
        return all((self.folder(seed) / name).exists() for name in (POOL, BASE))

    def _begin(self, entry: Entry, seed: int) -> Path | None:
        """The folder of a row with its job written down; None where nothing is left to do."""
        folder = self.folder(seed, entry.key)
        limit = None if self.budget is None else STOP_AT * self.budget
        job = Job(entry, self.ground, seed, limit).to_json()
        if self._is_done(folder, entry, limit):
            return None
        if entry.key in self.again or self._identity(folder) != _identity(job):
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "row.json").unlink(missing_ok=True)
        write_json(folder / "job.json", job)
        if entry.error:
            self._fail(folder, entry.error)
            return None
        return folder

    def _is_done(self, folder: Path, entry: Entry, limit: float | None) -> bool:
        if entry.key in self.again or not (folder / "row.json").exists():
            return False
        if self._identity(folder) != _identity(Job(entry, self.ground, 0).to_json()):
            return False
        row = read_json(folder / "row.json")
        stopped = row["status"] == STOPPED and limit is not None and limit <= (row["limit"] or 0)
        return bool(row["status"] == DONE or stopped)

    def _identity(self, folder: Path) -> str:
        path = folder / "job.json"
        return _identity(read_json(path)) if path.exists() else ""

    def _ended(self, folder: Path, code: int) -> None:
        if code and not (folder / "row.json").exists():
            self._fail(folder, f"its process ended with {code}: {last_words(folder)}")
        row = read_json(folder / "row.json")
        said = "" if row["status"] == DONE else f" ({row['error']})"
        log.info("%s, seed %d: %s, %.0f CPU s%s", row["key"], row["seed"], row["status"], row["train_seconds"], said)

    def _fail(self, folder: Path, error: str) -> None:
        job = read_json(folder / "job.json")
        row = {"key": job["entry"]["key"], "seed": job["seed"], "status": FAILED, "error": error, "train_seconds": 0.0}
        write_json(folder / "row.json", row)


def same_as_before(path: Path, own: Any, work: Path, what: str) -> None:
    """Keep `own` (JSON) in the file of a work folder. Raises ConfigError where the file says otherwise: `what` it holds."""
    if not path.exists():
        write_json(path, own)
    elif read_json(path) != own:
        raise ConfigError(f"{work} holds {what}; give the same ones, or another folder (--work)")


def _identity(job: dict[str, Any]) -> str:
    """What a finished row depends on: its method and feedback; not its title, nor how long it may take."""
    kept = ("method", "settings", "raters", "share", "report", "model", "extremes")
    # Named only where it acts, so that rows of before there was such a setting stay done.
    more = {"by_wins": True} if job["entry"].get("by_wins") else {}
    found = {name: job["entry"][name] for name in kept} | more
    return fingerprint(found | {"settings": _complete(found["method"], found["settings"])})


def _complete(method: str, given: Any) -> Any:
    """Settings with the fields that the method got since they were written, at their defaults: these leave all as it was."""
    try:
        return settings.to_json(settings.from_json(method_class(method), given))
    except ConfigError:  # a method or field that is no more, or a row that could not be made
        return given
