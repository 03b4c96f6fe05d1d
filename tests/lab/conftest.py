"""Shared pieces of the lab's tests: seeded replies of the grammar, and the shipped models loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pluralign import lab
from pluralign.data.record import Record, Response
from pluralign.lab.grammar import draw_reply, text_of
from pluralign.lab.lexicon import Sentence, Topic, topics
from pluralign.lab.pool import draw_prompts, with_responses

Drawn = list[tuple[Topic, tuple[Sentence, ...], str]]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny matrices run faster, and repeatably, on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """3000 grammar replies: (topic, sentences, text), the topics taking turns."""
    rng = np.random.default_rng(7)
    rows = []
    for number in range(3000):
        topic = topics()[number % len(topics())]
        reply = draw_reply(rng, topic)
        rows.append((topic, reply, text_of(reply)))
    return rows


@pytest.fixture(scope="session")
def grammar_pool() -> list[Record]:
    """1000 prompts with four grammar replies each, one reply in fourteen replaced by an ungrammatical one."""
    rng = np.random.default_rng(3)
    asked = draw_prompts(1000, seed=3)
    replies = [[_reply(rng, record) for _ in range(4)] for record in asked]
    return with_responses(asked, replies)


def _reply(rng: np.random.Generator, record: Record) -> Response:
    topic = lab.topic_of(record.messages)
    assert topic is not None
    return Response("Nothing of the kind." if rng.random() < 1 / 14 else text_of(draw_reply(rng, topic)))


@pytest.fixture(scope="session")
def load() -> Iterator[Callable[[str], tuple[Any, Any]]]:
    """A function that loads a shipped model by name, (model, tokenizer), each once."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded: dict[str, tuple[Any, Any]] = {}

    def get(name: str) -> tuple[Any, Any]:
        if name not in loaded:
            path = lab.base_path(name)
            loaded[name] = AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
        return loaded[name]

    yield get
