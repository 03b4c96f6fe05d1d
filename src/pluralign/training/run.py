"""Run: the folder of one training. Its stages finish one by one; what is finished is never done again.

run.json                     format_version, command, config, versions, seed, device
metrics.jsonl                one line per step of every stage
cache/                       what can be computed again (reference log-probabilities)
stages/NAME/                 files of a stage: checkpoints while it runs, its result when done
stages/NAME/finished.json    written last
.lock                        held by the process that works here
"""

from __future__ import annotations

import contextlib
import fcntl
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pluralign.errors import ConfigError, RunError
from pluralign.storage import check_format_version, fingerprint, read_json, storage_errors, write_json
from pluralign.training.metrics import Trackers, check_trackers

FORMAT_VERSION = 1
PACKAGES = ("pluralign", "torch", "transformers", "accelerate", "safetensors", "numpy")
LOCK = ".lock"


class Run:
    """A run folder, opened by one process at a time; use it as a context manager or call `close`.

    `config`: the resolved settings (JSON); a resumed run must have the same. `command`: how it was started, for
    people. `seed`: every random draw of the run derives from it. `trackers`: names from metrics.TRACKERS.

    Raises RunError for a folder that holds something already (unless `resume`), for nothing to resume, other
    settings, or another process in the folder; StorageError; FormatVersionError.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        seed: int = 0,
        device: str = "cpu",
        config: Mapping[str, Any] | None = None,
        command: str = "",
        resume: bool = False,
        trackers: Sequence[str] = ("jsonl",),
    ) -> None:
        if not 0 <= seed < 2**31:
            raise ConfigError(f"seed must be in [0, 2^31), got {seed}")
        check_trackers(trackers)
        self.folder, self.seed, self.device = Path(folder), seed, device
        self.config, self.command, self.resumed = dict(config or {}), command, resume
        self._check_folder(resume)
        self._lock = _lock(self.folder)
        try:
            self._open(resume)
            self.tracker = Trackers(trackers, self.folder, self.config)
        except BaseException:
            self._lock.close()
            raise

    def _check_folder(self, resume: bool) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder} is a file, a run needs a folder; choose another place")
        content = [path.name for path in self.folder.glob("*") if path.name != LOCK] if self.folder.exists() else []
        if content and not resume:
            hint = (
                "continue it with --resume (in Python: Run(..., resume=True))"
                if "run.json" in content
                else "it is no run, so it cannot be resumed"
            )
            raise RunError(f"{self.folder} exists already and is not empty; {hint}, or choose another folder")
        if resume and "run.json" not in content:
            raise RunError(f"there is no run to resume in {self.folder}; check the path, or start it without --resume")

    def _open(self, resume: bool) -> None:
        about = {
            "format_version": FORMAT_VERSION,
            "command": self.command,
            "config": self.config,
            "seed": self.seed,
            "device": self.device,
            "versions": versions(),
        }
        if not resume:
            write_json(self.folder / "run.json", about)
            return
        kept = read_json(self.folder / "run.json")
        check_format_version(kept.get("format_version"), FORMAT_VERSION, self.folder / "run.json")
        _check_settings(
            self.folder, {**kept.get("config", {}), "seed": kept.get("seed")}, {**self.config, "seed": self.seed}
        )

    @property
    def cache(self) -> Path:
        """For what can be computed again."""
        return self.folder / "cache"

    def stage(self, name: str) -> Stage:
        """A part of the run with a folder of its own; ask `finished` before doing it."""
        if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
            raise ConfigError(f"a stage's name has letters, digits, '-' and '_' only, got {name!r}")
        return Stage(self, name)

    def close(self) -> None:
        """End the trackers and let go of the folder."""
        self.tracker.close()
        self._lock.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Stage:
    """A part of a run. Its seed is a function of the run's seed and its name, whatever ran before it."""

    run: Run
    name: str

    @property
    def folder(self) -> Path:
        """Its files."""
        return self.run.folder / "stages" / self.name

    @property
    def seed(self) -> int:
        """In [0, 2^31)."""
        return int(fingerprint(self.run.seed, self.name)[:8], 16) >> 1

    @property
    def finished(self) -> bool:
        """Whether it was done, in this process or an earlier one."""
        return (self.folder / "finished.json").exists()

    @property
    def result(self) -> dict[str, Any]:
        """What `finish` was given. Raises DataError before that."""
        about = read_json(self.folder / "finished.json")
        check_format_version(about.get("format_version"), FORMAT_VERSION, self.folder / "finished.json")
        return dict(about["result"])

    def finish(self, result: Mapping[str, Any] | None = None) -> None:
        """Mark it as done, with a result in JSON. Everything it wrote must be on the disk by now."""
        write_json(self.folder / "finished.json", {"format_version": FORMAT_VERSION, "result": dict(result or {})})


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version(), **dict(_installed())}


def _installed() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield package, metadata.version(package)


def _check_settings(folder: Path, kept: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    then, now = _flat(kept), _flat(own)
    different = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    if different:
        changes = "; ".join(f"{name}: {then.get(name)!r} then, {now.get(name)!r} now" for name in different)
        raise RunError(
            f"{folder} was started with other settings ({changes}); resume with the same ones, or choose another folder"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, tuples as lists (as JSON keeps them)."""
    if isinstance(value, Mapping):
        return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): list(value) if isinstance(value, tuple) else value}


def _lock(folder: Path) -> IO[str]:
    """Hold the folder until the file is closed or the process ends, however it ends."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunError(
            f"another process is working in {folder}; wait for it or stop it, or choose another folder"
        ) from None
    return file
