"""Where annotators work: a folder beside the result with a frozen copy of the records and one journal per person.

    mine.jsonl                       the result: the records with everything that stands in the journals
    mine.jsonl.annotation/           about.json, records.jsonl (frozen), index.json, one *.journal.jsonl per annotator

The copy makes the questions the same in every session, whatever becomes of the source; replies that a policy drew are
in it too. Records are read from it one at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pluralign.annotation import journal
from pluralign.annotation.feedback import Given, attach, given
from pluralign.annotation.questions import Plan
from pluralign.annotation.session import Session
from pluralign.data import jsonl, lines
from pluralign.data.dataset import Dataset
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Record
from pluralign.data.record_json import from_json
from pluralign.errors import ConfigError, DataError, StorageError
from pluralign.storage import atomic_folder, check_format_version, fingerprint, read_json, storage_errors, write_json

FORMAT_VERSION = 1
ABOUT, RECORDS, INDEX, LOCK = "about.json", "records.jsonl", "index.json", "lock"
Fill = Callable[[Iterable[Record]], Iterator[Record]]


@dataclass(frozen=True, slots=True)
class Replies:
    """Where replies come from for prompts that have none: `name` is kept, so that a later session can compare it."""

    name: str
    fill: Fill


def folder_of(out: str | Path) -> Path:
    """The working folder of a result."""
    return Path(out).with_name(Path(out).name + ".annotation")


def set_up(out: Path, source: str, read: Callable[[], Dataset], replies: Replies | None = None) -> Desk:
    """The desk of `out`: made from the source at the first call, opened and compared with it later.

    Raises StorageError where `out` is somebody else's file, DataError where the source's texts have changed since,
    ConfigError where other replies are asked for than the first time.
    """
    folder = folder_of(out)
    if not (folder / ABOUT).exists():
        if out.exists():
            raise StorageError(f"{out} exists already, and was not made by annotating; choose another place")
        _freeze(folder, source, read(), replies)
    desk = Desk(out)
    _same_source(desk, source, read)
    if replies is not None and desk.about["replies"] != replies.name:
        was = desk.about["replies"] or "nobody"
        raise ConfigError(f"the replies in {out} were drawn from {was}, not {replies.name}; choose another --out")
    return desk


def _freeze(folder: Path, source: str, dataset: Dataset, replies: Replies | None) -> None:
    with atomic_folder(folder) as temporary:
        digest = hashlib.sha256()
        records = _digested(dataset.records(), digest)
        filled = records if replies is None else replies.fill(records)
        num = jsonl.write(temporary / RECORDS, filled, dataset.objectives, dataset.licence, dataset.source)
        if not num:
            raise DataError("holds no records", path=source)
        about = {
            "format_version": FORMAT_VERSION,
            "source": source,
            "bytes": _bytes_of(source),
            "texts": digest.hexdigest(),
            "replies": None if replies is None else replies.name,
            "written": [],
        }
        write_json(temporary / ABOUT, about)


def _digested(records: Iterable[Record], digest: Any) -> Iterator[Record]:
    """The records, their prompts and replies (not their feedback) added to the digest."""
    for record in records:
        texts = [[[turn.role, turn.content] for turn in record.messages], [reply.text for reply in record.responses]]
        digest.update(lines.dump({"texts": texts}))
        yield record


def _bytes_of(source: str) -> str | None:
    path = Path(source)
    return fingerprint(path) if path.is_file() else None


def _same_source(desk: Desk, source: str, read: Callable[[], Dataset]) -> None:
    """Equal bytes are equal texts; feedback may have changed (somebody was forgotten), prompts and replies may not."""
    found = _bytes_of(source)
    if found is not None and found == desk.about["bytes"]:
        return
    digest = hashlib.sha256()
    for _ in _digested(read().records(), digest):
        pass
    if digest.hexdigest() != desk.about["texts"]:
        reason = (
            f"has other prompts or replies than when {desk.out} was begun; choose another --out, or restore the file"
        )
        raise DataError(reason, path=source)


class Desk:
    """An existing working folder: its records by number, its people, and the result that they make together."""

    def __init__(self, out: str | Path) -> None:
        self.out, self.folder = Path(out), folder_of(out)
        self.about: dict[str, Any] = read_json(self.folder / ABOUT)
        check_format_version(self.about.get("format_version"), FORMAT_VERSION, self.folder / ABOUT)
        self.header = jsonl.read_header(self.folder / RECORDS)
        self.offsets, self.replies = self._index()
        self._file: BinaryIO | None = None

    def record(self, number: int) -> Record:
        """One record, read from the disk."""
        if self._file is None:
            self._file = (self.folder / RECORDS).open("rb")
        self._file.seek(self.offsets[number])
        return from_json(lines.parse(self._file.readline()), self.header.objectives)

    def close(self) -> None:
        """Close the file of records."""
        if self._file is not None:
            self._file.close()

    def session(self, header: journal.Header) -> Session:
        """The questions of one annotator."""
        return Session(Plan(self.replies, header.objectives, header.mode), header.annotator, header.seed)

    def check(self, header: journal.Header) -> None:
        """Raise ConfigError where an objective was asked on another range before."""
        known = {objective.name: objective for objective in self._objectives()}
        for objective in header.objectives:
            if known.get(objective.name, objective) != objective:
                raise ConfigError(
                    f"{objective.name!r} is asked on another range by another annotator of {self.out}; use theirs, "
                    "or another name"
                )

    def people(self) -> list[Given]:
        """What stands of everyone, from the journals on the disk."""
        found = []
        for path in journal.journals(self.folder):
            if journal.begun(path):
                header, events = journal.read(path)
                session = self.session(header)
                state = session.resume(events)
                rater = Rater(header.annotator, header.group)
                found.append(given(rater, session.plan, state.events, state.answered))
        return found

    def write_result(self) -> list[Given]:
        """Write the result, whole or not at all; returns what stands of everyone.

        Raises StorageError where the file was changed by anything else since it was last written here.
        """
        with self._locked():
            self.about = read_json(self.folder / ABOUT)
            self._check_ours()
            people = self.people()
            records = (attach(self.record(number), number, people) for number in range(len(self.offsets)))
            new = self.folder / f"new{''.join(self.out.suffixes[-2:])}"
            header = self.header
            jsonl.write(new, records, self._objectives(), header.licence, header.source)
            self._note([*self.about["written"], fingerprint(new)])  # either is ours if a crash comes now
            with storage_errors(self.out):
                new.replace(self.out)
            self._note(self.about["written"][-1:])
        return people

    def forget(self, annotator: str, rewrite: Callable[[Path], object]) -> bool:
        """Take an annotator's journal away and `rewrite` the frozen records and the result without them.

        `rewrite` changes a record file in place. True if there was a journal.
        """
        with self._locked():
            self.about = read_json(self.folder / ABOUT)
            existed = journal.remove(journal.path_of(self.folder, annotator), annotator)
            ours = not self.about["written"] or not self.out.exists() or self._is_ours()
            rewrite(self.folder / RECORDS)
            if self.out.exists():
                rewrite(self.out)
            if ours and self.out.exists():
                self._note([fingerprint(self.out)])
        return existed

    # -- inside ----------------------------------------------------------------------------------------------------

    def _index(self) -> tuple[array[int], array[int]]:
        """Where each record begins and how many replies it has; kept on the disk, made anew where the file changed."""
        size = (self.folder / RECORDS).stat().st_size
        known = read_json(self.folder / INDEX) if (self.folder / INDEX).exists() else {}
        if known.get("size") != size:
            known = {"size": size, **_scan(self.folder / RECORDS)}
            write_json(self.folder / INDEX, known)
        return array("q", known["offsets"]), array("q", known["replies"])

    def _objectives(self) -> list[Objective]:
        """Those of the records and of every journal (`check` keeps them from contradicting each other)."""
        found = {objective.name: objective for objective in self.header.objectives}
        for path in journal.journals(self.folder):
            asked = journal.read(path)[0].objectives if journal.begun(path) else ()
            found |= {objective.name: objective for objective in asked if objective.name not in found}
        return list(found.values())

    def _is_ours(self) -> bool:
        return not self.out.exists() or fingerprint(self.out) in self.about["written"]

    def _check_ours(self) -> None:
        if not self._is_ours():
            raise StorageError(
                f"{self.out} was changed by something else since it was last written; every answer is kept in "
                f"{self.folder}. Move the file away and start annotating again to have it written"
            )

    def _note(self, written: list[str]) -> None:
        self.about = {**self.about, "written": written}
        write_json(self.folder / ABOUT, self.about)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time writes the result."""
        with storage_errors(self.folder / LOCK), (self.folder / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _scan(path: Path) -> dict[str, list[int]]:
    offsets, replies = [], []
    with path.open("rb") as file:
        place = len(file.readline())  # the header
        for content in file:
            offsets.append(place)
            replies.append(len(lines.parse(content).get("responses", [])))
            place += len(content)
    return {"offsets": offsets, "replies": replies}
