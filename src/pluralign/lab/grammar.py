"""How a reply is made: counts of steps, warmth, cautions and jokes, one style, and a canonical order.

Counts are drawn independently and drawn again while the reply would have more than eight sentences. Steps and
jokes come in their canonical order because a tiny model that may use any order repeats itself five times as often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pluralign.lab.lexicon import Element, Kind, Sentence, Topic, sentence_by_element

MAX_SENTENCES = 8
NUM_STEPS = NUM_JOKES = 6
STEP_PROBABILITIES = (0.10, 0.30, 0.30, 0.20, 0.10)
WARM_PROBABILITIES = (0.40, 0.27, 0.17, 0.10, 0.06)
CAUTION_PROBABILITIES = (0.42, 0.27, 0.16, 0.09, 0.06)
JOKE_PROBABILITIES = (0.50, 0.25, 0.13, 0.08, 0.04)
FORMAL_PROBABILITIES = (0.9, 0.5, 0.1)
_WARM_ELEMENTS = (
    Element(Kind.OPENER, 0), Element(Kind.OPENER, 1), Element(Kind.CLOSER, 0), Element(Kind.CLOSER, 1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each a reply has (0..4 each). Without steps the generic line stands in for them."""

    steps: int
    warm: int
    cautions: int
    jokes: int

    @property
    def styled(self) -> int:
        """Sentences that have a style (all but the jokes)."""
        return max(self.steps, 1) + self.warm + self.cautions

    @property
    def sentences(self) -> int:
        """All sentences."""
        return self.styled + self.jokes


def draw_counts(rng: np.random.Generator) -> Counts:
    """Counts of one reply, rejected until they fit the sentence budget."""
    tables = (STEP_PROBABILITIES, WARM_PROBABILITIES, CAUTION_PROBABILITIES, JOKE_PROBABILITIES)
    while True:
        counts = Counts(*(int(rng.choice(5, p=table)) for table in tables))
        if counts.sentences <= MAX_SENTENCES:
            return counts


def _choose(rng: np.random.Generator, elements: list[Element], num: int) -> list[Element]:
    picked = rng.choice(len(elements), size=num, replace=False)
    return [elements[int(index)] for index in picked]


def draw_elements(rng: np.random.Generator, counts: Counts) -> list[Element]:
    """Which elements are said, uniformly among those of each kind, in canonical order."""
    steps = [Element(Kind.STEP, number) for number in range(NUM_STEPS)]
    cautions = [Element(Kind.CAUTION, number) for number in range(4)]
    jokes = [Element(Kind.JOKE, number) for number in range(NUM_JOKES)]
    said = [] if counts.steps else [Element(Kind.GENERIC, 0)]
    said += _choose(rng, steps, counts.steps) + _choose(rng, list(_WARM_ELEMENTS), counts.warm)
    said += _choose(rng, cautions, counts.cautions) + _choose(rng, jokes, counts.jokes)
    return sorted(said)


def draw_reply(rng: np.random.Generator, topic: Topic) -> tuple[Sentence, ...]:
    """One reply about `topic`: its sentences in order. Each but the jokes is formal with the reply's own P(formal)."""
    elements = draw_elements(rng, draw_counts(rng))
    chance = FORMAL_PROBABILITIES[int(rng.integers(len(FORMAL_PROBABILITIES)))]
    by_element = sentence_by_element(topic)
    formal = rng.random(len(elements)) < chance
    return tuple(
        by_element[element, bool(is_formal) and element.kind != Kind.JOKE]
        for element, is_formal in zip(elements, formal, strict=True)
    )


def text_of(reply: tuple[Sentence, ...]) -> str:
    """The sentences of a reply as one text."""
    return " ".join(sentence.text for sentence in reply)
