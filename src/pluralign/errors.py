"""The one exception tree. Every message says what was given, what is allowed and what to do next.

Each class is also a standard error, so `except ValueError` keeps working for people who do not know us.
The command line turns every `PluralignError` into one message and exit code 2 (a traceback with `--debug`).
"""

from __future__ import annotations

from pathlib import Path


class PluralignError(Exception):
    """Root of every error that pluralign raises on purpose."""

    exit_code = 2


class DataError(PluralignError, ValueError):
    """Bad data; carries the file and the line (1-based) where it stands, when known."""

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        self.path, self.line, self.reason = path, line, message
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(where + message)


class ConditionError(PluralignError, ValueError):
    """A condition that does not parse, or that this policy cannot be asked for."""


class ConfigError(PluralignError, ValueError):
    """An option or hyper-parameter out of its range, or two that exclude each other."""


class ModelError(PluralignError, ValueError):
    """A model, tokenizer or policy folder that cannot be used, with the reason."""


class FormatVersionError(PluralignError, ValueError):
    """A file written by a newer pluralign than this one."""


class RunError(PluralignError, RuntimeError):
    """A run folder in the wrong state, or a training that cannot go on."""


class StorageError(PluralignError, OSError):
    """The disk refused: full, read-only, or a limit; nothing half-written is left behind."""


class MissingExtraError(PluralignError, ImportError):
    """An optional dependency is not installed; the message prints its install line."""
