"""Replies for prompts that have none, streamed: what an annotator is to judge."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pluralign.data.condition import Condition
from pluralign.data.record import Record
from pluralign.policy import Policy
from pluralign.sampling.engine import Completion
from pluralign.sampling.local import Decoding, as_response, complete

_CHUNK = 64
_ROUNDS = 4


def fill(
    policy: Policy,
    records: Iterable[Record],
    num: int = 2,
    condition: Condition | None = None,
    seed: int = 0,
    decoding: Decoding | None = None,
) -> Iterator[Record]:
    """The records in order; those without a reply get `num` drawn ones, different from each other.

    A prompt that gives the same text four times over keeps fewer. Raises ConfigError (see `complete`), ConditionError.
    """
    policy.check(condition)
    stream = iter(records)
    for place, chunk in enumerate(iter(lambda: list(itertools.islice(stream, _CHUNK)), [])):
        bare = [record for record in chunk if not record.responses]
        for again in range(_ROUNDS):
            turn = ((seed << 16) + place * _ROUNDS + again) % 2**64
            bare = _drawn(policy, bare, num, condition, turn, decoding)
        filled = iter(bare)
        yield from (record if record.responses else next(filled) for record in chunk)


def _drawn(
    policy: Policy, bare: list[Record], num: int, condition: Condition | None, seed: int, decoding: Decoding | None
) -> list[Record]:
    """The records, those that are short of replies with the new ones among `num` more."""
    short = [record for record in bare if len(record.responses) < num]
    if not short:
        return bare
    found = iter(complete(policy, short, [condition] * len(short), num, seed, decoding))
    return [record if len(record.responses) >= num else _joined(record, next(found), num, condition) for record in bare]


def _joined(record: Record, completions: list[Completion], num: int, condition: Condition | None) -> Record:
    replies = (*record.responses, *(as_response(completion, condition) for completion in completions))
    different = {reply.text: reply for reply in replies}
    return replace(record, responses=tuple(different.values())[:num])
