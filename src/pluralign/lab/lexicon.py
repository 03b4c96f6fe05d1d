"""The words of the lab: topics, and every sentence a reply may contain, in a formal and a casual form.

All words live in `world.json`. A sentence knows its kind and its number within that kind; the pair orders a
reply (openers, steps or the generic line, cautions, jokes, closers) and makes a repetition visible.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Any


class Kind(IntEnum):
    """What a sentence does; the value is its place in a reply."""

    OPENER = 0
    STEP = 1
    GENERIC = 2
    CAUTION = 3
    JOKE = 4
    CLOSER = 5


@dataclass(frozen=True, slots=True, order=True)
class Element:
    """A thing that can be said, in whatever style: a kind and a number from 0. Replies are sorted by it."""

    kind: Kind
    number: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence in one style. Jokes exist in the casual style only."""

    element: Element
    formal: bool
    text: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A thing that people need help with: "My {noun} {symptom}", its hazard class and its six own steps."""

    noun: str
    symptom: str
    hazard: str
    steps: tuple[str, ...]


@cache
def world() -> Mapping[str, Any]:
    """The content of world.json."""
    content: dict[str, Any] = json.loads(files("pluralign.lab").joinpath("world.json").read_text(encoding="utf-8"))
    return content


@cache
def topics() -> tuple[Topic, ...]:
    """The 24 topics: 8 electric, 8 data, 8 physical."""
    rows = world()["topics"]
    return tuple(Topic(row["noun"], row["symptom"], row["hazard"], tuple(row["steps"])) for row in rows)


@cache
def sentences(topic: Topic) -> tuple[Sentence, ...]:
    """Every sentence that a reply about this topic may contain, in canonical order, formal before casual."""
    forms = [
        *_styled(Kind.OPENER, world()["openers"]),
        *_styled(Kind.STEP, _step_forms(topic)),
        *_styled(Kind.GENERIC, [world()["generic"]]),
        *_styled(Kind.CAUTION, world()["cautions"][topic.hazard]),
        *_jokes(topic),
        *_styled(Kind.CLOSER, world()["closers"]),
    ]
    return tuple(forms)


def _styled(kind: Kind, forms: list[dict[str, str]]) -> list[Sentence]:
    return [
        Sentence(Element(kind, number), style == "formal", form[style])
        for number, form in enumerate(forms)
        for style in ("formal", "casual")
    ]


def _step_forms(topic: Topic) -> list[dict[str, str]]:
    # The frame of a step goes with its number, so that six steps in a row do not all sound alike.
    frames = world()["step_forms"]
    return [
        {style: frame[style].format(step=step) for style in ("formal", "casual")}
        for frame, step in zip(frames, topic.steps, strict=True)
    ]


def _jokes(topic: Topic) -> list[Sentence]:
    templates = world()["jokes"][topic.hazard]
    return [
        Sentence(Element(Kind.JOKE, number), False, template.format(noun=topic.noun))
        for number, template in enumerate(templates)
    ]


@cache
def sentence_by_text(topic: Topic) -> Mapping[str, Sentence]:
    """The sentences of a topic by their exact text."""
    return {sentence.text: sentence for sentence in sentences(topic)}


@cache
def sentence_by_element(topic: Topic) -> Mapping[tuple[Element, bool], Sentence]:
    """The sentences of a topic by (element, formal)."""
    return {(sentence.element, sentence.formal): sentence for sentence in sentences(topic)}
