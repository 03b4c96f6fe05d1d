"""Divide a file into parts without a leak: by prompt, by annotator, by group, or by what raters say about themselves.

By prompt a record goes to one part, whole. By people its feedback is divided: each part holds the record with the
feedback of its own raters, and records without any are left out of it. What names no rater (or none of the asked kind)
would leak into whatever part it went, so it goes to a file of its own, `unattributed`; a score that is the mean of the
ratings in the file is made anew in each part from the part's own.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pluralign.data import attribution, jsonl, lines
from pluralign.data.dataset import OnError, Tally
from pluralign.data.readers.registry import read
from pluralign.data.record import Rater, Record
from pluralign.data.record_json import to_json
from pluralign.data.split import check_shares, part_of_key, part_of_record
from pluralign.errors import ConfigError, DataError
from pluralign.storage import atomic_folder

UNATTRIBUTED = "unattributed"
_NAME = re.compile(r"[A-Za-z0-9_\-]+")


@dataclass(slots=True)
class Divided:
    """What became of a file: feedback by kind before (`given`) and in each part, records in each part.

    `given` is the sum of `feedback` over the parts; by prompt, `records` is the sum too.
    """

    tally: Tally = field(default_factory=Tally)
    given: Counter[str] = field(default_factory=Counter)
    feedback: dict[str, Counter[str]] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    """parts that were asked for and got nothing"""


def parse_fractions(text: str) -> dict[str, float]:
    """Shares from "train=.9,validation=.05,test=.05". Raises ConfigError unless they are shares of named parts."""
    found: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = (side.strip() for side in item.partition("="))
        if not _NAME.fullmatch(name) or name == UNATTRIBUTED or name in found:
            raise ConfigError(f"cannot read the part {item!r:.60}; write e.g. train=.9,test=.1, each name once")
        try:
            found[name] = float(share)
        except ValueError as error:
            raise ConfigError(f"cannot read the share of {item!r:.60}; write e.g. train=.9,test=.1") from error
    check_shares(found)
    return found


def divide_file(
    path: str | Path,
    out: str | Path,
    fractions: Mapping[str, float],
    by: str = "prompt",
    seed: int = 0,
    reader: str = "auto",
    on_error: OnError = "raise",
    tally: Tally | None = None,
) -> Divided:
    """Write one record file per part into the new folder `out`, all or none; returns the counts.

    `by` is prompt, annotator, group, or the name of something in the raters' demographics. The part is a function of
    the prompt's (see `split`) or the person's key and of the seed. Raises ConfigError, DataError (nobody is named), StorageError.
    """
    check_shares(fractions)
    dataset = read(path, reader, on_error)
    counts = Divided(tally or Tally())
    ending = ".jsonl.gz" if Path(path).suffix == ".gz" else ".jsonl"
    with atomic_folder(out) as folder, contextlib.ExitStack() as stack:
        header = jsonl.header_line(dataset.objectives, dataset.licence, dataset.source)
        files = _Files(lambda name: stack.enter_context(_open(folder / f"{name}{ending}")), header)
        for name in fractions:
            files[name]  # a part that stays empty has its file too
        pieces = (
            piece for record in dataset.records(counts.tally) for piece in divide(record, fractions, by, seed, counts)
        )
        for name, piece in pieces:
            files[name].write(lines.dump(to_json(piece)))
        _check(counts, by, path)
    counts.empty = [name for name in fractions if not counts.records[name]]
    return counts


def divide(
    record: Record, fractions: Mapping[str, float], by: str, seed: int, counts: Divided
) -> Iterator[tuple[str, Record]]:
    """(part, what of the record goes there); `counts` is filled."""
    everything = attribution.restrict(record, lambda rater: True, nameless=True)[1]
    counts.given.update(everything)
    if by == "prompt":
        name = part_of_record(record, fractions, seed)
        _count(counts, name, everything)
        yield name, record
        return
    keys = {key: part_of_key([by, key], fractions, seed) for key in _keys(record, by)}
    for name in fractions:
        piece, num = attribution.restrict(record, lambda rater: keys.get(_key(rater, by) or "") == name, nameless=False)  # noqa: B023
        if num.total():
            _count(counts, name, num)
            yield name, attribution.scrubbed(piece, _others(record, by, keys, name))[0]
    rest, num = attribution.restrict(record, lambda rater: _key(rater, by) is None, nameless=True)
    if num.total() or not everything.total():
        _count(counts, UNATTRIBUTED, num)
        yield UNATTRIBUTED, attribution.scrubbed(rest, _others(record, by, keys, UNATTRIBUTED))[0]


def _key(rater: Rater | None, by: str) -> str | None:
    """What decides about a rater; None where they do not say."""
    if rater is None:
        return None
    found = {"annotator": rater.id, "group": rater.group}.get(by, rater.demographics.get(by))
    return found or None


def _keys(record: Record, by: str) -> set[str]:
    return {key for _, item in attribution.feedback(record) if (key := _key(item.rater, by)) is not None}


def _others(record: Record, by: str, keys: Mapping[str, str], name: str) -> set[str]:
    """The ids of those whose feedback goes elsewhere."""
    raters = [item.rater for _, item in attribution.feedback(record) if item.rater is not None and item.rater.id]
    return {rater.id for rater in raters if keys.get(_key(rater, by) or "", UNATTRIBUTED) != name}


def _count(counts: Divided, name: str, num: Counter[str]) -> None:
    counts.records[name] += 1
    counts.feedback.setdefault(name, Counter()).update(num)


def _check(counts: Divided, by: str, path: str | Path) -> None:
    if by != "prompt" and not set(counts.records) - {UNATTRIBUTED}:
        named = {"annotator": "an annotator", "group": "a group"}.get(by, f"a demographic called {by!r}")
        raise DataError(f"no feedback names {named} of its rater; split by prompt, or by what raters do say", path=path)
    divided = sum((+num for num in counts.feedback.values()), Counter[str]())
    assert divided == +counts.given, "what goes in comes out"


class _Files(dict[str, io.BufferedIOBase]):
    """Open files by the part's name, each begun with the header when it is first asked for."""

    def __init__(self, opened: Callable[[str], io.BufferedIOBase], header: bytes) -> None:
        self._opened, self._header = opened, header

    def __missing__(self, name: str) -> io.BufferedIOBase:
        file = self[name] = self._opened(name)
        file.write(self._header)
        return file


@contextlib.contextmanager
def _open(path: Path) -> Iterator[io.BufferedIOBase]:
    with path.open("wb") as file:
        if path.suffix != ".gz":
            yield file
            return
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            yield packed
