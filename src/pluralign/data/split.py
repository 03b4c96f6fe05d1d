"""Split: which part a record belongs to, decided by its prompt alone, so that no prompt is ever in two parts.

Where nobody was asked anything (a text that people rated has a prompt without words), the replies decide instead: else
a whole table of ratings would be one part. All records of such a text are in one part, as they are for a prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pluralign.data.record import Message, Record
from pluralign.errors import ConfigError
from pluralign.storage import fingerprint


def split(records: Iterable[Record], fractions: Mapping[str, float], seed: int = 0) -> Iterator[tuple[str, Record]]:
    """(part, record) for each record, streamed. The fractions are expected shares of prompts and sum to 1.

    The part is a function of the prompt's roles and texts (of the replies where it has no words) and of the seed, not
    of the file's order or size.
    Raises ConfigError for fractions that are not shares.
    """
    check_shares(fractions)
    return ((part_of_record(record, fractions, seed), record) for record in records)


def select(records: Iterable[Record], name: str, fractions: Mapping[str, float], seed: int = 0) -> Iterator[Record]:
    """The records of one part, streamed."""
    if name not in fractions:
        raise ConfigError(f"no part is called {name!r}; the parts are {', '.join(fractions)}")
    return (record for found, record in split(records, fractions, seed) if found == name)


def part(messages: Sequence[Message], fractions: Mapping[str, float], seed: int = 0) -> str:
    """The part of a prompt."""
    return part_of_key([[message.role, message.content] for message in messages], fractions, seed)


def part_of_record(record: Record, fractions: Mapping[str, float], seed: int = 0) -> str:
    """The part of a record: of its prompt, or, where that has no words, of its replies (white space does not count).

    Several replies decide together, in whatever order. Two such records that share some of their replies, not all, may
    be parted.
    """
    if any(message.content.strip() for message in record.messages):
        return part(record.messages, fractions, seed)
    replies = {" ".join(reply.text.split()) for reply in record.responses} - {""}
    if not replies:
        return part(record.messages, fractions, seed)
    return part_of_key({"replies": sorted(replies)}, fractions, seed)


def part_of_key(key: Any, fractions: Mapping[str, float], seed: int = 0) -> str:
    """The part of whatever is to stay together, by any JSON value that names it."""
    digest = fingerprint(seed, key)
    place = int(digest[:13], 16) / 16**13  # 52 bits: exact in a float, and below 1
    edge, named = 0.0, [name for name, share in fractions.items() if share > 0]
    for name in named:
        edge += fractions[name]
        if place < edge:
            return name
    return named[-1]


def check_shares(fractions: Mapping[str, float]) -> None:
    """Raise ConfigError unless the fractions are shares that sum to 1."""
    shares = list(fractions.values())
    if not shares or not all(0 <= share <= 1 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-9):
        raise ConfigError(f"the parts need shares from 0 to 1 that sum to 1, got {dict(fractions)}")
