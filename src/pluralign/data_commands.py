"""The options of `pluralign data ACTION` and what each action prints; `cli.py` turns fields into flags.

`run_` returns (a JSON-able value for --json, the text for people).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from pluralign import data_api

Outcome = tuple[Any, str]


@dataclass(frozen=True)
class Validate:
    """Read a file to the end and say what it holds and what is wrong with it."""

    file: Positional[Path]
    """the file"""
    reader: str = "auto"
    """format; see `pluralign data readers`"""
    on_error: Literal["raise", "skip"] = "skip"
    """stop at the first bad row, or count them"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Counts, objectives, and the halo's advice."""
        value = data_api.validate(self.file, self.reader, self.on_error)
        lines = [f"{name}: {value[name]}" for name in ("reader", "objectives", "licence", "rows", "halo")]
        lines += [f"  {example}" for example in value["examples"]]
        return value, "\n".join(lines)


@dataclass(frozen=True)
class Convert:
    """Convert a file to another format."""

    source: Positional[Path]
    """the file"""
    out: Positional[Path]
    """the new file"""
    to: str = "pluralign"
    """pluralign, or trl-FORMAT (trl-preference, trl-prompt-completion, ...)"""
    reader: str = "auto"
    """format of the source"""
    conversational: bool = True
    """TRL only: lists of messages instead of texts"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """How many rows were written, and what could not be."""
        value = data_api.convert(self.source, self.out, self.to, self.reader, self.conversational)
        left = f"; left out: {value['left_out']}" if value["left_out"] else ""
        return value, f"{value['rows']} rows: {self.out}{left}"


@dataclass(frozen=True)
class Readers:
    """List the formats that can be read, with their columns."""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Names and columns."""
        from pluralign.data.readers.registry import find, reader_names

        rows = {name: find(name).COLUMNS for name in reader_names()}
        return rows, "\n".join(f"{name:<12} {columns}" for name, columns in rows.items())
