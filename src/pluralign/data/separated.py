"""Rows of CSV, TSV and plain text, streamed. A bad line (not UTF-8, too long, a wrong number of cells) rejects one row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pluralign.data import lines
from pluralign.errors import DataError

Row = tuple[int, dict[str, Any] | DataError]
_SEPARATORS = (",", ";", "\t")


class _Texts:
    """The lines of a file as texts; a bad one raises, and the next can still be asked for."""

    def __init__(self, path: Path) -> None:
        self._lines, self.line = lines.numbered(path), 0

    def __iter__(self) -> _Texts:
        return self

    def __next__(self) -> str:
        self.line, content = next(self._lines)
        if isinstance(content, DataError):
            raise content
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8 text: {error.reason}; convert the file to UTF-8") from error


def reader(separator: str) -> Callable[[Path], Iterator[Row]]:
    """The rows of a table of cells; where the header has only another usual separator, that one counts."""

    def rows(path: Path) -> Iterator[Row]:
        csv.field_size_limit(lines.LONGEST_LINE)
        texts, num = _Texts(path), 0
        table, header = _header(texts, separator, path)
        while True:
            try:
                cells = next(table)
            except StopIteration:
                break
            except DataError as error:
                num += 1
                yield texts.line, error
            except csv.Error as error:
                num += 1
                yield texts.line, DataError(f"not a readable row of cells: {error}")
            else:
                num += bool(cells)
                yield from [(texts.line, _cells(header, cells))] if cells else []
        if not num:
            raise DataError("is empty; expected at least one row below the header", path=path)

    return rows


def _header(texts: _Texts, separator: str, path: Path) -> tuple[Iterator[list[str]], list[str]]:
    """The table below the header, and the header. Raises DataError: without a header nothing can be read."""
    try:
        first = next(texts)
        found = next((each for each in (separator, *_SEPARATORS) if each in first), separator)
        header = next(csv.reader(_Continued(first, texts), delimiter=found, strict=True), [])
    except StopIteration:
        raise DataError("is empty; expected a header and at least one row", path=path) from None
    except DataError as error:
        raise DataError(error.reason, path=path, line=texts.line or None) from error  # no line: no file
    except csv.Error as error:
        raise DataError(f"the header is not readable: {error}", path=path, line=texts.line) from error
    if len(set(header)) != len(header):
        raise DataError(f"the header names a column twice: {', '.join(header)}"[:400], path=path, line=texts.line)
    return csv.reader(texts, delimiter=found, strict=True), header


class _Continued:
    """A line that was read already, and those after it."""

    def __init__(self, first: str, rest: _Texts) -> None:
        self._first: str | None = first
        self._rest = rest

    def __iter__(self) -> _Continued:
        return self

    def __next__(self) -> str:
        first, self._first = self._first, None
        return next(self._rest) if first is None else first


def _cells(header: list[str], cells: list[str]) -> dict[str, Any] | DataError:
    """An empty cell is null; everything else stays text, which readers of numbers accept."""
    if len(cells) != len(header):
        return DataError(f"expected {len(header)} cells, found {len(cells)}")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


def plain_text(path: Path) -> Iterator[Row]:
    """Each line that is not blank is a prompt."""
    texts, num = _Texts(path), 0
    while True:
        try:
            line = next(texts)
        except StopIteration:
            break
        except DataError as error:
            num += 1
            yield texts.line, error
            continue
        if line.strip():
            num += 1
            yield texts.line, {"prompt": line.rstrip("\r\n")}
    if not num:
        raise DataError("is empty; expected at least one line", path=path)
