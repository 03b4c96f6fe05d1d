"""API keys: who may ask. Only hashes are kept, in a file or in memory.

A line of the file is `NAME sha256:HEX`; `#` begins a comment. Keys are made here, from 32 random bytes: nobody can guess
one, so a plain hash guards them as well as a slow one would.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from pluralign.errors import ConfigError, DataError, StorageError

SHORTEST = 20
"""Characters of a key from the environment: shorter ones can be guessed."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def hashed(key: str) -> str:
    """What is kept of a key."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """Names by the hashes of their keys. Empty: no key is asked for."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = dict(names or {})

    def __len__(self) -> int:
        return len(self._names)

    def name_of(self, key: str) -> str | None:
        """Whose key it is; None for nobody's. Every hash is compared, each in constant time."""
        given, found = hashed(key), None
        for known, name in self._names.items():
            if hmac.compare_digest(known, given):
                found = name
        return found


def read_keys(path: Path | None, variable: str | None) -> Keys:
    """Keys of a file and of an environment variable (`NAME:KEY`, or `NAME:sha256:HEX`, separated by blanks).

    Raises DataError with file and line, ConfigError for a variable that is empty or a key that is too short.
    """
    names: dict[str, str] = {}
    for name, known in (*_of_file(path), *_of_variable(variable)):
        if name in names.values() or known in names:
            raise ConfigError(f"the key {name!r} is there twice; each name has one key, each key one name")
        names[known] = name
    return Keys(names)


def _of_file(path: Path | None) -> Iterator[tuple[str, str]]:
    if path is None:
        return
    found = False
    for number, line in enumerate(_lines(path), start=1):
        parts = line.split("#")[0].split()
        if not parts:
            continue
        if len(parts) != 2 or not _NAME.fullmatch(parts[0]) or not _HASH.fullmatch(parts[1]):
            raise DataError(
                "a line is `NAME sha256:HEX` (keys stand here as hashes only); let `pluralign serve --add-key NAME "
                f"--keys-file {path}` make one",
                path=path,
                line=number,
            )
        found = True
        yield parts[0], parts[1]
    if not found:
        raise ConfigError(
            f"{path} has no keys, so nobody could ask; make one: pluralign serve --add-key NAME --keys-file {path}"
        )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("a file of keys is plain text", path=path) from error
    except OSError as error:
        raise ConfigError(f"cannot read the keys in {path}: {error.strerror}") from error


def _of_variable(variable: str | None) -> Iterator[tuple[str, str]]:
    if variable is None:
        return
    entries = os.environ.get(variable, "").split()
    if not entries:
        raise ConfigError(f"the environment variable {variable} is empty; put NAME:KEY there, separated by blanks")
    for place, entry in enumerate(entries, start=1):
        name, _, key = entry.partition(":")
        if not _NAME.fullmatch(name) or not key:
            raise ConfigError(f"entry {place} of {variable} is not NAME:KEY (the name: letters, digits, '_', '-', '.')")
        if not _HASH.fullmatch(key) and len(key) < SHORTEST:
            raise ConfigError(f"the key {name!r} of {variable} has fewer than {SHORTEST} characters; use a random one")
        yield name, key if _HASH.fullmatch(key) else hashed(key)


def add_key(path: Path, name: str) -> str:
    """Make a key, write its hash to the file (only its owner may read it), return the key: it is kept nowhere.

    Raises ConfigError for a bad or a known name, StorageError where the disk refuses.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a key's name is 1 to 64 letters, digits, '_', '-' or '.', got {name!r:.80}")
    if path.exists() and any(known == name for known, _ in _of_file(path)):
        raise ConfigError(f"{path} has a key named {name!r} already; take its line out first, or choose another name")
    key = "pl-" + secrets.token_urlsafe(32)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as file:
            file.write(f"{name} {hashed(key)}\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return key
