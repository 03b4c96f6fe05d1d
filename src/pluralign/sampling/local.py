"""Records in, records with sampled replies out, in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pluralign.data.condition import Condition
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError
from pluralign.policy import Policy
from pluralign.sampling.engine import Completion, Engine, Request
from pluralign.sampling.search import Search
from pluralign.steering.search import SearchSteering
from pluralign.training.progress import Progress


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How replies are drawn: `temperature` (0 is greedy), nucleus `top_p`, `max_new_tokens`, rows per `batch_size`."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    batch_size: int = 256


def complete(
    policy: Policy,
    records: Sequence[Record],
    conditions: Sequence[Condition | None],
    num_each: int = 1,
    seed: int = 0,
    decoding: Decoding | None = None,
    title: str = "sampling",
) -> list[list[Completion]]:
    """`num_each` replies to each record under its condition: one list per record.

    Reply number n (counted over all) is drawn with seed `seed · 2^32 + n`: it does not depend on the batching. A policy
    that answers by search chooses each among candidates of its own (`search.py`).
    Raises ConfigError for less than one reply each or a seed outside [0, 2^64).
    """
    if num_each < 1:
        raise ConfigError(f"the number of replies must be at least 1, got {num_each}")
    if not 0 <= seed < 2**64:
        raise ConfigError(f"a seed is an integer in [0, 2^64), got {seed}")
    how = decoding or Decoding()
    requests = [
        Request(
            record.messages,
            condition,
            (seed << 32) + place * num_each + number,
            how.temperature,
            how.top_p,
            how.max_new_tokens,
        )
        for place, (record, condition) in enumerate(zip(records, conditions, strict=True))
        for number in range(num_each)
    ]
    decoder = Search if isinstance(policy.steering, SearchSteering) else Engine
    with Progress(title, len(requests)) as bar:
        done = decoder(policy, how.batch_size).generate(requests, bar.advance)
    return [done[start : start + num_each] for start in range(0, len(done), num_each)]


def sample(
    policy: Policy,
    records: Sequence[Record],
    condition: Condition | None = None,
    num_each: int = 1,
    seed: int = 0,
    decoding: Decoding | None = None,
    title: str = "sampling",
) -> list[Record]:
    """The records with `num_each` new responses each, which carry the condition that they were drawn under."""
    replies = complete(policy, records, [condition] * len(records), num_each, seed, decoding, title)
    return [
        dataclasses.replace(record, responses=(*record.responses, *(as_response(c, condition) for c in drawn)))
        for record, drawn in zip(records, replies, strict=True)
    ]


def as_response(completion: Completion, condition: Condition | None) -> Response:
    """What a record keeps of a completion."""
    return Response(completion.text, condition=condition, finished=completion.finished)
