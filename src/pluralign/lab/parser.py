"""From a reply's text back to its sentences: exact, without a model, and hard to game.

A reply is grammatical when it has one to eight sentences, every one of them a sentence of its topic, in canonical
order, none said twice (in whatever style), with at least one step or the generic line, and not both. Everything
else, such as keyword stuffing, another topic's steps or an endless reply, is not, and earns nothing.
"""

from __future__ import annotations

import re
from itertools import pairwise

from pluralign.lab.grammar import MAX_SENTENCES
from pluralign.lab.lexicon import Kind, Sentence, Topic, sentence_by_text

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?]) ")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, cut after '.', '!' or '?' and a space; an empty text has none."""
    stripped = text.strip()
    return _BETWEEN_SENTENCES.split(stripped) if stripped else []


def parse(topic: Topic, text: str) -> tuple[Sentence, ...] | None:
    """The sentences of a grammatical reply, or None."""
    texts = split_sentences(text)
    if not 1 <= len(texts) <= MAX_SENTENCES:
        return None
    known = sentence_by_text(topic)
    if any(sentence not in known for sentence in texts):
        return None
    found = tuple(known[sentence] for sentence in texts)
    return found if _in_order(found) and _answers(found) else None


def _in_order(reply: tuple[Sentence, ...]) -> bool:
    # Strictly increasing elements: canonical order and no repetition in one test.
    return all(before.element < after.element for before, after in pairwise(reply))


def _answers(reply: tuple[Sentence, ...]) -> bool:
    kinds = {sentence.element.kind for sentence in reply}
    return (Kind.STEP in kinds) != (Kind.GENERIC in kinds)


def grammatical(topic: Topic, text: str) -> bool:
    """Whether `text` is a grammatical reply about `topic`."""
    return parse(topic, text) is not None


def repetition(text: str) -> float:
    """Share of a text's sentences that repeat an earlier one word for word, 0..1 (0 for an empty text)."""
    texts = split_sentences(text)
    return 1.0 - len(set(texts)) / len(texts) if texts else 0.0
