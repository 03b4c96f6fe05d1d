"""Rows of any table that people bring, streamed: JSON lines, CSV, Parquet, Arrow, plain text, a folder, a hub dataset.

A row is (place, content): the place is the line of a text file, the number of the row (from 1) elsewhere. JSON lines
stay bytes until `decode`, so that one bad line can be rejected without losing the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from pluralign.data import documents, lines, separated, tables
from pluralign.errors import DataError

Content = bytes | dict[str, Any] | DataError
Row = tuple[int, Content]
_HUB = re.compile(r"(?P<name>[\w.\-]+/[\w.\-]+)(:(?P<config>[\w.\-]+))?(@(?P<split>[\w.\-\[\]:%]+))?")


def stream(source: str | Path) -> Iterator[Row]:
    """The rows of a file, of the data files of a folder (in the order of their names), or of a dataset of the hub.

    A hub dataset is named `owner/name`, `owner/name:config`, `owner/name@split` or both; the split is "train" by default,
    and a folder of the dataset does for a configuration.
    Raises DataError for what cannot be read, and for a source without a row.
    """
    path = Path(source)
    hub = _HUB.fullmatch(str(source))
    if path.is_dir():
        return _folder(path)
    if hub and hub_name(source):
        return _hub(hub["name"], hub["config"], hub["split"] or "train")
    return (_format(path) or documents.stream)(path)


def hub_name(source: str | Path) -> str | None:
    """The `owner/name` of the hub dataset that a source names; None where it names a file or a folder."""
    path, hub = Path(source), _HUB.fullmatch(str(source))
    here = path.exists() or path.parent.exists() or _format(path) is not None
    return hub["name"] if hub and not here else None


def decode(content: Content) -> dict[str, Any]:
    """The row as a JSON-like object (DataError)."""
    if isinstance(content, DataError):
        raise content
    return lines.parse(content) if isinstance(content, bytes) else content


def _format(path: Path) -> Callable[[Path], Iterator[Row]] | None:
    return next((reader for ending, reader in _FORMATS.items() if _name(path).endswith(ending)), None)


def _name(path: Path) -> str:
    """The name without the ending of a packed file."""
    name = path.name.lower()
    return path.stem.lower() if name.endswith((".gz", ".bz2", ".xz", ".zst")) else name


def _folder(folder: Path) -> Iterator[Row]:
    """The tables of a folder, or of its `data` folder, as people save or download datasets; JSON beside them is about them."""
    endings = [ending for ending in _FORMATS if ending not in (".json", ".txt")]
    files = [path for path in [*folder.iterdir(), *(folder / "data").glob("*")] if path.is_file() and _format(path)]
    tables = sorted(path for path in files if _name(path).endswith(tuple(endings)))
    if not tables:
        raise DataError(f"is a folder without data files; expected files ending in {', '.join(endings)}", path=folder)
    for path in tables:
        yield from stream(path)


def _hub(name: str, config: str | None, split: str) -> Iterator[Row]:
    try:
        for place, row in enumerate(_load(name, config, split), start=1):
            yield place, tables.plain(row)
    except Exception as error:  # the hub library raises errors of many libraries
        reason = f"neither a file or folder here, nor readable from the hub ({type(error).__name__}: {error})"
        raise DataError(reason, path=f"{name}@{split}") from error


def _load(name: str, config: str | None, split: str) -> Iterable[Any]:
    """A configuration, or where there is none of that name, a folder of the dataset."""
    from datasets import load_dataset

    try:
        return cast(Iterable[Any], load_dataset(name, config, split=split, streaming=True))
    except ValueError as error:
        if config is None or "BuilderConfig" not in str(error):
            raise
        return cast(Iterable[Any], load_dataset(name, data_dir=config, split=split, streaming=True))


_FORMATS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": documents.stream,
    ".ndjson": documents.stream,
    ".json": documents.stream,
    ".parquet": tables.parquet,
    ".arrow": tables.arrow,
    ".csv": separated.reader(","),
    ".tsv": separated.reader("\t"),
    ".txt": separated.plain_text,
}
