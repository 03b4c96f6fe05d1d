"""Readers, found by their file name: one file of this folder per format, no import until one is used.

A reader is a module (or, outside the package, any object, named "module:object") with

    recognise(row) -> int        how many columns of a file's first row are its own; 0 for another format
    read(path, on_error) -> Dataset
    COLUMNS                      the columns it expects, for people
    HUB                          the hub dataset it is made for, if any, e.g. "nvidia/HelpSteer"
    OBJECTIVES, LICENCE, SOURCE  what it declares, where that does not depend on the file
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol, cast

from pluralign.data.dataset import Dataset, OnError, check_on_error, first_row
from pluralign.data.rows import hub_name
from pluralign.errors import ConfigError, DataError

MAPPING = "mapping"
"""The reader of tables whose columns the user describes."""
_FOLDER = Path(__file__).parent


class Reader(Protocol):
    """What a reader file offers."""

    COLUMNS: str

    def recognise(self, row: dict[str, Any]) -> int:
        """How many columns of the first row are this format's own; 0 if it is another format."""

    def read(self, path: str | Path, on_error: OnError = "raise") -> Dataset:
        """The file as a dataset; problems of the whole file raise at once."""


class _Mapped(Protocol):
    def read(self, path: str | Path, on_error: OnError, columns: str) -> Dataset: ...


def reader_names() -> tuple[str, ...]:
    """The readers of this package, in alphabetical order."""
    found = (module.name for module in pkgutil.iter_modules([str(_FOLDER)]))
    return tuple(sorted(name for name in found if name != "registry" and not name.startswith("_")))


def find(name: str) -> Reader:
    """A reader by its file name, or by "module:object" outside the package. Raises ConfigError naming the others."""
    module, _, attribute = name.partition(":")
    if not attribute and name not in reader_names():
        raise ConfigError(
            f"unknown reader {name!r}; allowed are auto, {', '.join(reader_names())}, or 'module:object' for your own"
        )
    try:
        found = importlib.import_module(module if attribute else f"{__package__}.{name}")
        return cast(Reader, getattr(found, attribute) if attribute else found)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"the reader {name!r} cannot be imported: {error}") from error


def about(name: str) -> dict[str, Any]:
    """What a reader says of itself: columns, hub dataset, licence, source, objectives; None for what depends on the file."""
    reader = find(name)
    objectives = getattr(reader, "OBJECTIVES", None)
    return {
        "columns": reader.COLUMNS,
        "hub": getattr(reader, "HUB", None),
        "licence": getattr(reader, "LICENCE", None),
        "source": getattr(reader, "SOURCE", None),
        "objectives": None if objectives is None else [objective.to_json() for objective in objectives],
    }


def read(path: str | Path, reader: str = "auto", on_error: OnError = "raise", mapping: str | None = None) -> Dataset:
    """A file as a re-iterable, streamed dataset; "auto" chooses the reader by the first row's columns.

    `mapping` describes the columns of a table that no reader knows, "prompt=question,response=answer" (see
    `column_map`); no reader can be named beside it (ConfigError). With on_error="skip" bad rows are left out and counted in the tally given to `Dataset.records`. Raises DataError
    naming the expected and the found columns when no reader, or more than one, knows the file.
    """
    check_on_error(on_error)
    if mapping is not None:
        if reader not in ("auto", MAPPING):
            raise ConfigError(f"a map of the columns is a reader of its own; leave out --map or --reader {reader}")
        return cast(_Mapped, find(MAPPING)).read(path, on_error, mapping)
    return find(recognise(path) if reader == "auto" else reader).read(path, on_error)


def recognise(path: str | Path) -> str:
    """The reader made for the hub dataset that is named, else the one that knows the most columns of the first row."""
    hub = hub_name(path)
    own = [name for name in reader_names() if hub and getattr(find(name), "HUB", None) == hub]
    if len(own) == 1:
        return own[0]
    row = first_row(path)
    known = {name: find(name).recognise(row) for name in own or reader_names()}
    best = max(known.values())
    winners = [name for name, num in known.items() if num == best]
    if best > 0 and len(winners) == 1:
        return winners[0]
    problem = f"readers {' and '.join(winners)} both know the format" if best else "no reader knows the format"
    expected = "".join(f"\n  {name}: {find(name).COLUMNS}" for name in reader_names())
    found = ", ".join(map(str, row))
    advice = "name the reader, describe the columns (--map prompt=COLUMN,response=COLUMN), or bring one of"
    raise DataError(f"{problem}; found the columns {found}; {advice}:{expected}", path=path)
