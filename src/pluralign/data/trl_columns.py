"""The dataset formats of TRL (huggingface.co/docs/trl/dataset_formats): their columns, and which one a row has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pluralign.errors import ConfigError, DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "language_modeling": ("text",),  # conversational: ("messages",)
    "prompt_only": ("prompt",),
    "prompt_completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "preference_implicit": ("chosen", "rejected"),
    "unpaired_preference": ("prompt", "completion", "label"),
    "stepwise_supervision": ("prompt", "completions", "labels"),
}
SETS = {frozenset(columns): name for name, columns in COLUMNS.items()} | {frozenset({"messages"}): "language_modeling"}
CORE = frozenset().union(*SETS)
# what our writer and views add, and what TRL's trainers also take: no sign of a foreign format
KNOWN = CORE | {"id", "objective", "margin", "weights", "condition", "tools", "chat_template_kwargs"}
NOTES = "trl_notes"  # the key of `extra` for what only a TRL writer needs


def format_of(columns: Iterable[str]) -> str:
    """The format whose columns these are, further columns aside. Raises DataError naming expected and found ones."""
    found = sorted(columns)
    name = SETS.get(frozenset(found) & CORE)
    if name is None:
        expected = "; ".join(f"{kind}: {', '.join(columns)}" for kind, columns in COLUMNS.items())
        raise DataError(f"no TRL format has these columns: {', '.join(found)}; expected one of {expected}; or messages")
    return name


def check_format(name: str) -> str:
    """The name of a format, or ConfigError naming the allowed ones."""
    if name not in COLUMNS:
        raise ConfigError(f"unknown TRL format {name!r}; allowed are {', '.join(COLUMNS)}")
    return name


def check_same(row: dict[str, Any], name: str) -> None:
    """Raise DataError unless the row has the format of the file's first row."""
    found = SETS.get(frozenset(row) & CORE)
    if found != name:
        raise DataError(
            f"the file began with format {name} (columns {', '.join(COLUMNS[name])}), this row has the columns "
            f"{', '.join(sorted(row))}"
        )
