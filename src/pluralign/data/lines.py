"""JSON lines as a stream: one row in memory at a time, plain or packed, damage named by line."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from pluralign.errors import DataError
from pluralign.storage import atomic_file

LONGEST_LINE = 64 * 2**20
DAMAGE = (EOFError, zlib.error, lzma.LZMAError)
"""What unpacking raises for a damaged stream, besides an OSError without a number."""
_CHUNK = 1 << 17  # packing much at a time is cheaper
_GZIP_LEVEL = 1  # a fifth larger than the default 9, in a sixth of the time


def raw(path: str | Path) -> Iterator[tuple[int, bytes | DataError]]:
    """The non-blank lines of a file with their numbers (from 1). A leading byte-order mark is dropped.

    What cannot be a row stands as its DataError: a line above 64 MiB, and the place where a compressed stream is
    damaged or cut off (the rows before it are good). Raises DataError for a file that cannot be read, or without a line.
    """
    found = False
    for line, content in numbered(Path(path)):
        if isinstance(content, DataError) or content.strip():
            found = True
            yield line, content
    if not found:
        raise DataError("is empty; expected one JSON object per line", path=path)


def numbered(path: Path) -> Iterator[tuple[int, bytes | DataError]]:
    """All lines of a file, as `raw`; blank ones too."""
    line = 0
    try:
        with open_bytes(path) as file:
            for line, content in enumerate(_bounded(file), start=1):
                yield line, _without_mark(content, path) if line == 1 else content
    except OSError as error:
        if error.errno is not None:
            raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
        yield line + 1, _damaged(error)  # gzip and bz2 tell of damage by an OSError without a number
    except DAMAGE as error:
        yield line + 1, _damaged(error)


def _damaged(error: Exception) -> DataError:
    return DataError(f"the compressed stream is damaged or cut off ({error}); fetch the file again")


def _bounded(file: BinaryIO) -> Iterator[bytes | DataError]:
    """The lines of a file; of one that is too long only that it is."""
    while content := file.readline(LONGEST_LINE + 1):
        if len(content) <= LONGEST_LINE:
            yield content
            continue
        while content and not content.endswith(b"\n"):
            content = file.readline(1 << 20)
        yield DataError(f"the line is longer than {LONGEST_LINE >> 20} MiB")


def _without_mark(content: bytes | DataError, path: Path) -> bytes | DataError:
    if isinstance(content, DataError):
        return content
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError("is UTF-16 text; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)", path=path)
    return content.removeprefix(codecs.BOM_UTF8)


def open_bytes(path: Path) -> BinaryIO:
    """A file as bytes, unpacked by what it is, whatever its ending: gzip (also in several parts), bz2 and xz; zstd is
    refused by name (DataError)."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        raise DataError("is packed with zstd; unpack it first (zstd -d), or pack it with gzip", path=path)
    openers: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
    opener = next((each for magic, each in openers.items() if start.startswith(magic)), None)
    return cast(BinaryIO, path.open("rb") if opener is None else opener(path, "rb"))


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
            packed = stack.enter_context(gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0))
            file = stack.enter_context(io.BufferedWriter(cast(Any, packed), _CHUNK))
        for row in rows:
            file.write(row)
            num += 1
    return num
