"""The 192 prompts of the lab (24 topics x 8 templates) and their fixed split.

The split follows a rule, so that it needs no seed: topic t gives template t mod 8 to validation and template
(t + 3) mod 8 to test; the first fourteen topics also give (t + 5) mod 8 to test; the rest is for training. So
130 prompts train, 24 validate and 38 test, every topic is in each, and what is held out is a new combination.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

from pluralign.data.record import Message, Record, user
from pluralign.lab.lexicon import Topic, topics, world

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_TOPICS_WITH_TWO_TESTS = 14


def prompt_text(topic: Topic, template: int) -> str:
    """One prompt in ordinary English; `template` is 0..7."""
    text: str = world()["prompts"][template].format(noun=topic.noun, symptom=topic.symptom)
    return text


def split_of(topic_number: int, template: int) -> Split:
    """Where the combination of a topic (0..23) and a template (0..7) belongs."""
    offset = (template - topic_number) % len(world()["prompts"])
    if offset == 0:
        return "validation"
    if offset == 3 or (offset == 5 and topic_number < _TOPICS_WITH_TWO_TESTS):
        return "test"
    return "train"


@cache
def prompts(split: Split) -> tuple[Record, ...]:
    """The prompts of a split as records without responses; `extra` names the topic and the template."""
    templates = range(len(world()["prompts"]))
    return tuple(
        _record(topic, template)
        for number, topic in enumerate(topics())
        for template in templates
        if split_of(number, template) == split
    )


def _record(topic: Topic, template: int) -> Record:
    return Record(
        messages=user(prompt_text(topic, template)),
        id=f"{topic.noun}-{template}",
        language="en",
        source="pluralign lab",
        extra={"topic": topic.noun, "template": template},
    )


def topic_of(messages: Sequence[Message]) -> Topic | None:
    """The topic that the last user turn is about: the only topic noun it names, else None."""
    last = next((message.content for message in reversed(messages) if message.role == "user"), "")
    words = set(re.findall(r"[a-z]+", last.lower()))
    named = [topic for topic in topics() if topic.noun in words]
    return named[0] if len(named) == 1 else None
