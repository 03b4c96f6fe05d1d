"""Files: written whole or not at all, with a format version, and named by their content.

Every artefact goes through here, so that a full disk, a killed process or a newer file is handled in one place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pluralign.errors import DataError, FormatVersionError, ModelError, PluralignError, StorageError


@contextlib.contextmanager
def storage_errors(path: str | Path) -> Iterator[None]:
    """Turn an OSError raised while writing `path` into a StorageError that says what to do."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}; nothing was left half-written. Free space, check the folder's "
            "permissions, or choose another place"
        ) from error


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; renamed over it on success, removed on failure (StorageError)."""
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        with storage_errors(target):  # a device or pipe (/dev/stdout, /dev/full) is written to, never replaced
            yield target
        return
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
    temporary = Path(name)
    try:
        with storage_errors(target):
            yield temporary
            _flush(temporary)
            temporary.chmod(0o644)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, data: str | bytes) -> None:
    """Write a text (UTF-8) or bytes to `path`, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; renamed to it on success, removed on failure.

    An existing non-empty `path` is refused (StorageError) unless `overwrite`, which replaces it at the end.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())) and not overwrite:
        raise StorageError(f"{target} exists already; choose another place or remove it first")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with storage_errors(target):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            temporary.chmod(0o755)
            _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.replace(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    target.replace(old / target.name)
    temporary.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically; NaN and infinity are refused (ValueError)."""
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a missing or damaged one raises DataError with file and line."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg}", path=path, line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason} at byte {error.start}", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error


@contextlib.contextmanager
def damage(path: str | Path) -> Iterator[None]:
    """Turn whatever wrong values in a JSON file lead to into a DataError that names the file."""
    try:
        yield
    except (ModelError, FormatVersionError):
        raise
    except PluralignError as error:
        raise DataError(getattr(error, "reason", None) or str(error), path=path) from error
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise DataError(f"is damaged: {type(error).__name__} {error}", path=path) from error


def check_format_version(found: Any, supported: int, path: str | Path) -> int:
    """Return the version of a file; refuse a newer one (FormatVersionError) and a missing one (DataError)."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise DataError(f"has no valid format_version (found {found!r})", path=path)
    if found > supported:
        raise FormatVersionError(
            f"{path}: format_version {found} is newer than this pluralign reads ({supported}); upgrade pluralign"
        )
    return found


def fingerprint(*parts: Any) -> str:
    """SHA-256 (hex) of the parts: paths by their content, bytes as they are, everything else as canonical JSON."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            _digest_file(digest, part)
        else:
            data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, ensure_ascii=False).encode()
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _digest_file(digest: Any, path: Path) -> None:
    digest.update(path.stat().st_size.to_bytes(8, "little"))
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
