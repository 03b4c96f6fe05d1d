"""Norms: rules that people agreed on, in a file of their own: a law, a moral code, the rules of one user.

    {"text": "Do not share another person's address.", "source": "house rules §3", "topic": "privacy"}

JSON lines, where source and topic may be left out; or a text file (.txt) with one norm a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pluralign.data import lines
from pluralign.data.strict import located, object_of, text
from pluralign.errors import DataError


@dataclass(frozen=True, slots=True)
class Norm:
    """A rule in words, where it comes from and what it is about. Raises DataError without words."""

    text: str
    source: str = ""
    topic: str = ""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise DataError("a norm needs words")


_norm = object_of(Norm, {"text": text, "source": text, "topic": text})


def read_norms(path: str | Path) -> tuple[Norm, ...]:
    """The norms of a file, in order. Raises DataError with file and line for a bad one, and for a file without any."""
    read = _plain if Path(path).suffix == ".txt" else _row
    found = []
    for number, content in lines.raw(path):
        try:
            if isinstance(content, DataError):
                raise content
            found.append(read(content))
        except DataError as error:
            raise DataError(error.reason, path=path, line=number) from error
    return tuple(found)


def _row(content: bytes) -> Norm:
    norm: Norm = located(_norm, lines.parse(content), "a norm")
    return norm


def _plain(content: bytes) -> Norm:
    try:
        return Norm(content.decode("utf-8").strip())
    except UnicodeDecodeError as error:
        raise DataError(f"is no UTF-8 text: {error.reason}") from error
