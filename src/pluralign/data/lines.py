"""JSON lines as a stream: one row in memory at a time, plain or gzip (by the file's ending), damage named by line."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from pluralign.errors import DataError
from pluralign.storage import atomic_file

LONGEST_LINE = 64 * 2**20
_BOM = b"\xef\xbb\xbf"
_GZIP_LEVEL = 1  # a fifth larger than the default 9, in a sixth of the time


def raw(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The non-blank lines of a file with their numbers (from 1). A leading byte-order mark is dropped.

    Raises DataError for a file that cannot be read, a damaged or cut gzip stream, a line above 64 MiB, or no line.
    """
    found = False
    for line, content in _numbered(Path(path)):
        if content.strip():
            found = True
            yield line, content
    if not found:
        raise DataError("is empty; expected one JSON object per line", path=path)


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    line = 0
    try:
        with _open(path) as file:
            for line, content in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), start=1):
                yield line, _checked(content, line, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = f"the gzip stream is damaged or cut off ({error}); fetch the file again"
        raise DataError(reason, path=path, line=line + 1) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def _checked(content: bytes, line: int, path: Path) -> bytes:
    if len(content) > LONGEST_LINE:
        raise DataError(f"the line is longer than {LONGEST_LINE >> 20} MiB", path=path, line=line)
    return content.removeprefix(_BOM) if line == 1 else content


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object of one line; NaN, infinity, a key that occurs twice and half characters are errors (DataError)."""
    try:
        value = _DECODER.decode(content.decode("utf-8"))
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason} at byte {error.start}; convert the file to UTF-8") from error
    except UnicodeEncodeError as error:
        raise DataError(r"a text holds half a character (a lone surrogate \ud800-\udfff); repair or drop it") from error
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise DataError("not usable JSON: nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"not usable JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _no_constant(name: str) -> NoReturn:
    raise DataError(f"{name} is not JSON; leave a missing score out, write null for an abstention")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise DataError(f"the number {digits[:40]} is too large")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise DataError(f"the key {twice!r:.60} occurs twice in one object")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def dump(value: dict[str, Any]) -> bytes:
    """One line of JSON with its line feed. Raises DataError for what JSON or UTF-8 cannot hold."""
    try:
        return _ENCODER.encode(value).encode("utf-8") + b"\n"
    except UnicodeEncodeError as error:
        raise DataError("a text holds half a character (a lone surrogate); repair or drop it") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be written as JSON: {error}") from error


def write(path: str | Path, rows: Iterable[bytes]) -> int:
    """Write lines (of `dump`) as they come, whole or not at all, gzip for `.gz`; returns how many (StorageError)."""
    num = 0
    with atomic_file(path) as temporary, contextlib.ExitStack() as stack:
        file: io.BufferedIOBase = stack.enter_context(temporary.open("wb"))
        if Path(path).suffix == ".gz":  # no name and no time inside, so that equal rows give equal bytes
            file = stack.enter_context(gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0))
        for row in rows:
            file.write(row)
            num += 1
    return num
