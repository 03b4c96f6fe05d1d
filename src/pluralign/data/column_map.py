"""Which column of a table holds what, as people write it: `prompt=question,response=answer,helpful[1:5]=stars`.

A column may stand deeper: `meta.lang` is the key `lang` of the object `meta`; behind a list, `answers.text` is the list
of all its texts and `answers.0.text` the first one. A column whose own name has dots goes before. Names with commas
stand in double quotes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pluralign.data.objective import NAME
from pluralign.errors import ConfigError

ONCE = ("prompt", "responses", "chosen", "rejected", "system", "id", "rater", "group", "language")
OFTEN = ("response", "model", "comment", "thumb")
DEMOGRAPHICS, PAIRWISE = "demographics.", "pairwise"
MISSING = object()
"""What stands at a path that a row does not have (null is something else)."""
_ITEM = re.compile(
    r'\s*(?P<target>[\w.\-]+)\s*(\[(?P<options>[^\]]*)\])?\s*=\s*("(?P<quoted>[^"]+)"|(?P<plain>[^,"=]+))\s*(,|$)'
)
_HOW = (
    "write TARGET=COLUMN,..., e.g. prompt=question,response=answer,helpful[1:5]=stars; targets are "
    f"{', '.join((*ONCE, *OFTEN))}, {DEMOGRAPHICS}NAME, {PAIRWISE}, {PAIRWISE}.OBJECTIVE, and names of objectives"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One `target[options]=path`: an objective's options are its range and direction, those of a choice its words."""

    target: str
    path: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """A parsed map; the columns in the order they were written."""

    columns: tuple[Column, ...]

    def of(self, target: str) -> tuple[Column, ...]:
        """The columns of one target."""
        return tuple(column for column in self.columns if column.target == target)

    def ratings(self) -> tuple[str, ...]:
        """The objectives that are rated, each once."""
        return tuple(dict.fromkeys(column.target for column in self.columns if _is_objective(column.target)))

    def choices(self) -> tuple[Column, ...]:
        """The columns that say which of two replies is better."""
        return tuple(column for column in self.columns if objective_of_choice(column.target) is not MISSING)

    def demographics(self) -> dict[str, str]:
        """The path of each demographic column by its name."""
        start = len(DEMOGRAPHICS)
        return {one.target[start:]: one.path for one in self.columns if one.target.startswith(DEMOGRAPHICS)}


def objective_of_choice(target: str) -> Any:
    """The objective of `pairwise.OBJECTIVE`, None (overall) of `pairwise`, MISSING of every other target."""
    if target == PAIRWISE:
        return None
    return target.removeprefix(PAIRWISE + ".") if target.startswith(PAIRWISE + ".") else MISSING


def _is_objective(target: str) -> bool:
    return "." not in target and target not in (*ONCE, *OFTEN, PAIRWISE)


def parse(words: str) -> ColumnMap:
    """The map that is written; ConfigError names what is wrong and how to write it."""
    columns, place = [], 0
    while place < len(words):
        item = _ITEM.match(words, place)
        if item is None:
            raise ConfigError(f"--map cannot be read from {words[place : place + 40]!r} on; {_HOW}")
        options = tuple(part.strip() for part in item["options"].split(":")) if item["options"] is not None else ()
        columns.append(Column(item["target"], (item["quoted"] or item["plain"]).strip(), options))
        place = item.end()
    found = ColumnMap(tuple(columns))
    _check(found)
    return found


def _check(found: ColumnMap) -> None:
    num = Counter(column.target for column in found.columns)
    for column in found.columns:
        _check_column(column)
    twice = [name for name in num if num[name] > 1 and not (name in OFTEN or _is_objective(name))]
    if twice:
        raise ConfigError(f"--map names {', '.join(twice)} more than once; only one column each can be used")
    kinds = [name for name in ("response", "responses", "chosen") if num[name]]
    if len(kinds) > 1 or bool(num["chosen"]) != bool(num["rejected"]):
        raise ConfigError(
            "--map takes replies from response=... (once or more), responses=..., or chosen=... and rejected=..."
        )
    if not kinds and not num["prompt"]:
        raise ConfigError(f"--map names neither a prompt nor a reply; {_HOW}")
    judged = [*found.ratings(), *(one.target for one in found.choices()), *(name for name in OFTEN[1:] if num[name])]
    if judged and not kinds:
        raise ConfigError(
            f"--map names {', '.join(judged)}, which are about a reply, and no reply; add response=COLUMN"
        )
    if kinds == ["chosen"] and not num["prompt"]:
        raise ConfigError(
            "--map has chosen and rejected without a prompt; for whole dialogues use --reader trl or hh_rlhf"
        )
    _check_numbers(found, num)


def _check_column(column: Column) -> None:
    objective = objective_of_choice(column.target)
    name = column.target if _is_objective(column.target) else objective
    named = (
        column.target in (*ONCE, *OFTEN, PAIRWISE) or column.target.startswith(DEMOGRAPHICS) or isinstance(name, str)
    )
    if not named or (isinstance(name, str) and not NAME.fullmatch(name)):
        raise ConfigError(f"--map: {column.target!r} is no target and cannot be an objective's name; {_HOW}")
    if column.options and not (isinstance(name, str) or column.target in (PAIRWISE, "thumb")):
        raise ConfigError(f"--map: {column.target} takes nothing in brackets; objectives, pairwise and thumb do")


def _check_numbers(found: ColumnMap, num: Mapping[str, int]) -> None:
    """A target that is about one reply is named once for each (once for the list of all)."""
    replies = 1 if num["responses"] else 2 if num["chosen"] else num["response"]
    for name in (*found.ratings(), "model", "thumb", "comment"):
        if num[name] not in (0, replies) and not (name == "comment" and replies == 1 and not num["responses"]):
            raise ConfigError(
                f"--map names {name} {num[name]} times for {replies} replies; name it once for each, in their order"
            )
    if found.choices() and replies != 2 and not num["responses"]:
        raise ConfigError(f"--map: {PAIRWISE} compares two replies, and {replies} are mapped")


def value_at(row: Any, path: str) -> Any:
    """What stands at a path: null is null, MISSING is not there; behind a list, the list of what stands there."""
    if isinstance(row, list):
        head, _, below = path.partition(".")
        if head.isdecimal():
            item = row[int(head)] if int(head) < len(row) else MISSING
            return value_at(item, below) if below else item
        return [value_at(item, path) for item in row]
    if row is None or not isinstance(row, dict):
        return row if row is None else MISSING
    if path in row:
        return row[path]
    dots = [place for place, letter in enumerate(path) if letter == "."]
    place = next((place for place in dots if path[:place] in row), None)
    return MISSING if place is None else value_at(row[path[:place]], path[place + 1 :])


def without(value: Any, path: str) -> Any:
    """A copy of a row (or a part of it) without what stands at a path; emptied objects and lists become null."""
    if isinstance(value, list):
        head, _, below = path.partition(".")
        if head.isdecimal():
            kept = [_pruned(item, below) if place == int(head) else item for place, item in enumerate(value)]
        else:
            kept = [without(item, path) for item in value]
        return kept if any(item is not None for item in kept) else None
    if not isinstance(value, dict):
        return value
    dots = [place for place, letter in enumerate(path) if letter == "."]
    at = path if path in value else next((path[:place] for place in dots if path[:place] in value), None)
    if at is None:
        return value
    left = {key: _pruned(item, path[len(at) + 1 :]) if key == at else item for key, item in value.items()}
    left = {key: item for key, item in left.items() if key != at or item is not None}
    return left or None


def _pruned(value: Any, below: str) -> Any:
    return without(value, below) if below else None
