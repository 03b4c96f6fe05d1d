"""The pool: what people would be shown. Prompts in, sampled replies put beside them, spoilt replies added.

Pure functions; the sampling stands between `draw_prompts` and `with_responses` and is the caller's:

    asked = draw_prompts(1500)
    pool = with_responses(asked, [four replies to each of `asked`])
    pool = add_corrupted(pool, seed=0)
    rated = Ratings(NoisyRater()).score(pool)

A record without a spoilt reply keeps its four (the prototype filled up with a repeat, which says nothing new).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError
from pluralign.lab.corruption import corrupt
from pluralign.lab.prompt_set import Split, prompts, topic_of

NUM_PROMPTS = 1_500
NUM_REPLIES = 4
CORRUPTED_SHARE = 0.5


def draw_prompts(num: int = NUM_PROMPTS, seed: int = 0, split: Split = "train") -> list[Record]:
    """`num` prompts of a split in random order, repeated evenly: each occurs num // size or one time more."""
    if num < 1:
        raise ConfigError(f"num must be at least 1, got {num}")
    rng = np.random.default_rng(seed)
    available = prompts(split)
    rounds = [rng.permutation(len(available)) for _ in range(-(-num // len(available)))]
    order = np.concatenate(rounds)[:num]
    return [
        replace(available[int(index)], id=f"{available[int(index)].id}-{number}") for number, index in enumerate(order)
    ]


def with_responses(records: Sequence[Record], responses: Sequence[Sequence[Response]]) -> list[Record]:
    """The records with their sampled responses added, in order. Raises ConfigError for unequal lengths."""
    if len(records) != len(responses):
        raise ConfigError(f"{len(records)} prompts but responses to {len(responses)}; give one list for each prompt")
    return [
        replace(record, responses=record.responses + tuple(drawn))
        for record, drawn in zip(records, responses, strict=True)
    ]


def add_corrupted(records: Iterable[Record], seed: int = 0, share: float = CORRUPTED_SHARE) -> Iterator[Record]:
    """To a random `share` of the records, add a spoilt copy of one of their responses.

    It is marked `extra={"corrupted": True}`. Records without a non-empty response, or about no topic of the lab,
    are left as they are.
    """
    for number, record in enumerate(records):
        rng = np.random.default_rng([seed, number])
        yield _with_corrupted(record, rng) if rng.random() < share else record


def _with_corrupted(record: Record, rng: np.random.Generator) -> Record:
    topic = topic_of(record.messages)
    sources = [response for response in record.responses if response.text.strip()]
    if topic is None or not sources:
        return record
    source = sources[int(rng.integers(len(sources)))]
    spoilt = Response(corrupt(topic, source.text, rng), model=source.model, extra={"corrupted": True})
    return replace(record, responses=(*record.responses, spoilt))
