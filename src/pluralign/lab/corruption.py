"""Spoilt replies: negatives that are bad whatever the weights, made by damaging a good reply.

A sentence is said again later (60 %), the sentences are shuffled, or a word is deleted (20 % each). What comes out
is never grammatical.
"""

from __future__ import annotations

import numpy as np

from pluralign.lab.lexicon import Topic
from pluralign.lab.parser import grammatical, split_sentences

REPEAT, SHUFFLE, DELETE = 0.6, 0.2, 0.2


def repeat_sentence(text: str, rng: np.random.Generator) -> str:
    """Say one sentence again, somewhere after its place."""
    found = split_sentences(text)
    source = int(rng.integers(len(found)))
    target = int(rng.integers(source + 1, len(found) + 1))
    return " ".join([*found[:target], found[source], *found[target:]])


def shuffle_sentences(text: str, rng: np.random.Generator) -> str:
    """The same sentences in a random order."""
    found = split_sentences(text)
    return " ".join(found[int(place)] for place in rng.permutation(len(found)))


def delete_word(text: str, rng: np.random.Generator) -> str:
    """The text without one of its words; a final punctuation mark goes with its word."""
    words = text.split()
    gone = int(rng.integers(len(words)))
    return " ".join(words[:gone] + words[gone + 1 :])


def corrupt(topic: Topic, text: str, rng: np.random.Generator) -> str:
    """An ungrammatical neighbour of a reply (not empty); tries again where the damage does not show."""
    kinds = (repeat_sentence, shuffle_sentences, delete_word)
    while True:
        damage = kinds[int(rng.choice(len(kinds), p=(REPEAT, SHUFFLE, DELETE)))]
        spoilt = damage(text, rng)
        if spoilt and not grammatical(topic, spoilt):
            return spoilt
