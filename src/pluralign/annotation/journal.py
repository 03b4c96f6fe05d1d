"""The journal of one annotator: one line for each thing they do, on the disk before the next question is shown.

    {"pluralign": "annotation", "format_version": 1, "annotator": "me", "group": null, "mode": "rate", ...}
    {"event": "rated", "question": 0, "score": 4.0}

A line that a crash cut off was never shown as kept, and is dropped when the file is opened again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from pluralign.annotation import events
from pluralign.annotation.events import Event
from pluralign.annotation.questions import Mode
from pluralign.data import lines
from pluralign.data.objective import Objective
from pluralign.data.strict import Parser, index, object_of, one_of, optional, text, tuple_of
from pluralign.errors import DataError, StorageError
from pluralign.storage import check_format_version, fingerprint, storage_errors

FORMAT_VERSION = 1
KIND = "annotation"


@dataclass(frozen=True, slots=True)
class Header:
    """Who answers what: it cannot change once the first question was asked."""

    annotator: str
    group: str | None
    mode: Mode
    objectives: tuple[Objective, ...]
    seed: int


_PARSERS: dict[str, Parser] = {
    "annotator": text,
    "group": optional(text),
    "mode": one_of(*get_args(Mode)),
    "objectives": tuple_of(lambda value, where: Objective.from_json(value)),
    "seed": index,
}


def path_of(folder: Path, annotator: str) -> Path:
    """The journal's file: the readable part of the id, and a mark that keeps ids apart that read alike."""
    readable = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in annotator)[:40]
    return folder / f"{readable}-{fingerprint(annotator)[:8]}.journal.jsonl"


def journals(folder: Path) -> list[Path]:
    """All journals of a folder, in the order of their names."""
    return sorted(folder.glob("*.journal.jsonl"))


def begun(path: Path) -> bool:
    """Whether the journal has its header (a crash may come before that)."""
    return path.exists() and whole_lines(path) > 0


def read(path: Path) -> tuple[Header, list[Event]]:
    """The header and the events of a journal that has begun. Raises DataError with file and line."""
    (line, row), *rest = _rows(path)
    with _located(path, line):
        if row.pop("pluralign", None) != KIND:
            raise DataError("this is no journal of annotations")
        check_format_version(row.pop("format_version", None), FORMAT_VERSION, path)
        header: Header = object_of(Header, _PARSERS)(row, "the header")
    return header, [_event(path, line, row) for line, row in rest]


def _event(path: Path, line: int, row: dict[str, Any]) -> Event:
    with _located(path, line):
        return events.from_json(row)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The whole lines of the file; a last line without its line feed was never finished."""
    for line, content in lines.raw(path):
        if isinstance(content, DataError):
            raise content
        if not content.endswith(b"\n"):
            return
        with _located(path, line):
            row = lines.parse(content)
        yield line, row


@contextlib.contextmanager
def _located(path: Path, line: int) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(error.reason, path=path, line=line) from error


def remove(path: Path, annotator: str) -> bool:
    """Take a journal away; True if there was one. Raises StorageError while its annotator is being asked."""
    if not path.exists():
        return False
    with storage_errors(path), path.open("rb") as file:
        _hold(file.fileno(), path, annotator)
        path.unlink()
    return True


def _hold(file: int, path: Path, annotator: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageError(f"{annotator!r} is being asked in another terminal ({path}); finish there first") from error


class Journal:
    """`with Journal(path, header) as journal: journal.append(event)`; one process at a time may hold it.

    `events` are those of earlier sessions. Raises StorageError where another process holds it or the disk refuses.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header, self.events = path, header, list[Event]()
        self._file = -1

    def __enter__(self) -> Journal:
        with storage_errors(self.path):
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _hold(self._file, self.path, self.header.annotator)
            self._load()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def append(self, event: Event) -> None:
        """Keep an event: when this returns it is on the disk. A line that fails half-way leaves nothing."""
        self._write(events.to_json(event))

    def _load(self) -> None:
        kept = whole_lines(self.path)
        with storage_errors(self.path):
            os.ftruncate(self._file, kept)
        if kept:
            header, self.events = read(self.path)
            if header != self.header:
                raise DataError("was begun with other settings", path=self.path, line=1)
            return
        self._write({"pluralign": KIND, "format_version": FORMAT_VERSION, **_plain(self.header)})
        with storage_errors(self.path):
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)  # the file's name too
            os.close(folder)

    def _write(self, row: dict[str, Any]) -> None:
        before = os.fstat(self._file).st_size
        with storage_errors(self.path):
            try:
                left = memoryview(lines.dump(row))
                while left:
                    left = left[os.write(self._file, left) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)  # which gives the lock back
        self._file = -1


def _plain(header: Header) -> dict[str, Any]:
    return {**asdict(header), "objectives": [objective.to_json() for objective in header.objectives]}


def whole_lines(path: Path) -> int:
    """Bytes up to the last line feed: what follows was cut off by a crash."""
    with storage_errors(path), path.open("rb") as file:
        length = 0
        for content in file:
            length += len(content) if content.endswith(b"\n") else 0
    return length
