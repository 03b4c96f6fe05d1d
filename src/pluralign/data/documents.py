"""JSON as people store it: one object per line; or one array of objects, or objects on several lines, split as they
are streamed. What stands between them, and where the file is cut off, is a rejected row of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pluralign.data import lines
from pluralign.errors import DataError

Row = tuple[int, bytes | DataError]
_CHUNK = 1 << 16
_TOKEN = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}"]', re.DOTALL
)  # a lone quote: the text goes on in the next chunk


def stream(path: Path) -> Iterator[Row]:
    """The objects of a file with the lines where they begin (from 1). Raises DataError as `lines.raw` does."""
    rows = lines.raw(path)
    first = next(rows)
    start = b"" if isinstance(first[1], DataError) else first[1].strip()
    if start == b"{" or start.startswith(b"["):
        rows.close()  # type: ignore[attr-defined]
        yield from _Splitter(1 if start.startswith(b"[") else 0).rows(path)
        return
    yield first
    yield from rows


class _Splitter:
    """Cuts a stream into its objects. `base` is the depth at which they stand: 1 inside an array, else 0."""

    def __init__(self, base: int) -> None:
        self._base, self._depth = base, 0
        self._rest, self._line = b"", 1  # what is not given out yet, and the line where it begins
        self._start = 0  # of the object that is open, in the rest
        self._seen = 0  # how much of the rest was scanned

    def rows(self, path: Path) -> Iterator[Row]:
        """The objects of a file."""
        try:
            with lines.open_bytes(path) as file:
                yield from self._chunks(file)
        except lines.DAMAGE as error:
            yield self._line, DataError(f"the compressed stream is damaged or cut off ({error}); fetch the file again")
        except OSError as error:
            if error.errno is not None:
                raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
            yield self._line, DataError(f"the compressed stream is damaged or cut off ({error}); fetch the file again")

    def _chunks(self, file: BinaryIO) -> Iterator[Row]:
        while chunk := file.read(_CHUNK):
            self._rest += chunk
            yield from self._scan()
            if len(self._rest) > lines.LONGEST_LINE:
                size = lines.LONGEST_LINE >> 20
                yield self._line, DataError(f"longer than {size} MiB: the rest of the file cannot be read")
                return
        yield from self._end()

    def _scan(self) -> Iterator[Row]:
        while token := _TOKEN.search(self._rest, self._seen):
            mark = token[0]
            if mark == b'"':
                self._seen = token.start()
                return
            self._seen = token.end()
            if mark in b"[{":
                self._depth += 1
                if self._depth == self._base and self._base:
                    yield from self._drop(token.start())
                    self._drop_mark()
                elif self._depth == self._base + 1:
                    yield from self._drop(token.start())
            elif mark in b"]}":
                yield from self._close()

    def _close(self) -> Iterator[Row]:
        if self._depth == 0:
            return  # a stray bracket stays between the objects and is told there
        self._depth -= 1
        if self._depth == self._base:
            yield self._line, self._take(self._seen)
        elif self._depth < self._base:
            yield from self._drop(self._seen - 1)
            self._drop_mark()

    def _take(self, end: int) -> bytes:
        taken, self._rest = self._rest[:end], self._rest[end:]
        self._line += taken.count(b"\n")
        self._seen = 0
        return taken

    def _drop(self, end: int) -> Iterator[Row]:
        """What stands before an object: blanks and commas, or something that is none."""
        seen, line = self._seen - end, self._line
        stray = self._take(end).strip(b" \t\r\n,").removeprefix(b"\xef\xbb\xbf")
        self._seen = seen
        if stray:
            yield line, DataError(f"expected a JSON object, got {stray[:60].decode('utf-8', 'backslashreplace')}")

    def _drop_mark(self) -> None:
        self._take(1)

    def _end(self) -> Iterator[Row]:
        if self._depth > self._base or (self._rest.count(b'"') and self._depth):
            yield self._line, DataError("the file ends in the middle of an object: it is cut off")
            return
        yield from self._drop(len(self._rest))
        if self._depth:
            yield self._line, DataError("the file ends before its array does: it is cut off")
