"""The words of the lab and its prompts: counts, no ambiguity, ordinary English, and the split's rule."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from pluralign import lab
from pluralign.data.record import Message, user
from pluralign.lab.lexicon import Kind, sentence_by_text, sentences, topics, world
from pluralign.lab.prompt_set import SPLITS, prompt_text, split_of, topic_of

ENGLISH = re.compile(r"[A-Z][A-Za-z ,]*[a-z][.!?]")


def test_counts_of_the_world() -> None:
    assert len(topics()) == 24
    assert Counter(topic.hazard for topic in topics()) == {"electric": 8, "data": 8, "physical": 8}
    for topic in topics():
        kinds = Counter(sentence.element.kind for sentence in sentences(topic))
        assert kinds == {Kind.OPENER: 4, Kind.STEP: 12, Kind.GENERIC: 2, Kind.CAUTION: 8, Kind.JOKE: 6, Kind.CLOSER: 4}


def test_steps_are_unique_over_all_topics() -> None:
    steps = [step for topic in topics() for step in topic.steps]
    assert len(set(steps)) == len(steps) == 144


@pytest.mark.parametrize("topic", topics(), ids=lambda topic: topic.noun)
def test_sentences_are_english_and_unambiguous(topic) -> None:
    texts = [sentence.text for sentence in sentences(topic)]
    assert len(set(texts)) == len(texts) == len(sentence_by_text(topic))
    assert all(ENGLISH.fullmatch(text) for text in texts)
    assert all(not sentence.formal for sentence in sentences(topic) if sentence.element.kind == Kind.JOKE)


def test_another_topics_steps_jokes_and_cautions_are_unknown() -> None:
    for topic in topics():
        for other in topics():
            shared = set(sentence_by_text(topic)) & set(sentence_by_text(other))
            kinds = {sentence_by_text(topic)[text].element.kind for text in shared}
            allowed = {Kind.OPENER, Kind.CLOSER, Kind.GENERIC} | (
                {Kind.CAUTION} if topic.hazard == other.hazard else set()
            )
            assert topic == other or kinds <= allowed


def test_split_sizes_and_topics() -> None:
    sizes = {split: len(lab.prompts(split)) for split in SPLITS}
    assert sizes == {"train": 130, "validation": 24, "test": 38}
    for split in SPLITS:
        assert {record.extra["topic"] for record in lab.prompts(split)} == {topic.noun for topic in topics()}
    texts = [record.messages[0].content for split in SPLITS for record in lab.prompts(split)]
    assert len(set(texts)) == 192


def test_every_template_trains_and_is_tested() -> None:
    for split in SPLITS:
        assert {record.extra["template"] for record in lab.prompts(split)} == set(range(len(world()["prompts"])))
    assert split_of(0, 0) == "validation"
    assert split_of(0, 3) == split_of(0, 5) == "test"
    assert split_of(14, 6 + 5 - 8) == "train"


def test_topic_of_reads_the_last_user_turn() -> None:
    for topic in topics():
        for template in range(len(world()["prompts"])):
            assert topic_of(user(prompt_text(topic, template))) == topic
    dialogue = (Message("user", "My sink drains slowly."), Message("assistant", "Ok."), Message("user", "And my DOOR?"))
    found = topic_of(dialogue)
    assert found is not None and found.noun == "door"
    assert topic_of(user("My sink and my door.")) is None
    assert topic_of(user("Tell me about whales.")) is None
    assert topic_of(()) is None
