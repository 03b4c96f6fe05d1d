"""The parser and the exact scorer: equal to what the grammar meant, and closed to loopholes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign import lab
from pluralign.data.objective import names
from pluralign.data.record import Record, Response, user
from pluralign.lab.corruption import corrupt, delete_word
from pluralign.lab.grammar import Counts, draw_counts, draw_elements, draw_reply, text_of
from pluralign.lab.lexicon import Kind, sentence_by_text, sentences, topics
from pluralign.lab.parser import grammatical, parse, split_sentences
from pluralign.lab.scoring import ZERO, ExactScorer, reply_scores, rounded_share, score_text

PHONE = topics()[0]
TOPICS = st.sampled_from(topics())


def test_every_grammar_reply_scores_as_its_latent_counts() -> None:
    rng = np.random.default_rng(0)
    for number in range(2000):
        topic = topics()[number % 24]
        reply = draw_reply(rng, topic)
        kinds = Counter(sentence.element.kind for sentence in reply)
        counts = Counts(
            kinds[Kind.STEP], kinds[Kind.OPENER] + kinds[Kind.CLOSER], kinds[Kind.CAUTION], kinds[Kind.JOKE]
        )
        formal = sum(sentence.formal for sentence in reply)
        concise = {1: 4, 2: 3, 3: 2, 4: 2, 5: 1, 6: 1, 7: 0, 8: 0}[counts.sentences]
        expected = (
            counts.steps,
            concise,
            counts.warm,
            counts.jokes,
            int(4 * formal / len(reply) + 0.5),
            counts.cautions,
        )
        assert parse(topic, text_of(reply)) == reply
        assert score_text(topic, text_of(reply)) == expected


def test_grammar_statistics(drawn) -> None:
    points = np.array([reply_scores(reply) for _, reply, _ in drawn])
    assert np.allclose(points.mean(axis=0), [1.823, 1.425, 1.031, 0.797, 1.718, 0.979], atol=0.1)
    lengths = [len(reply) for _, reply, _ in drawn]
    assert abs(np.mean(lengths) - 4.735) < 0.12 and max(lengths) <= 8 and min(lengths) >= 1
    correlation = np.corrcoef(points.T)
    assert (correlation[1, [0, 2, 3, 5]] < -0.25).all() and correlation[3, 4] < -0.1


def test_words_per_reply_fit_the_generation_limit(drawn) -> None:
    assert 20 < np.mean([len(text.split()) for _, _, text in drawn]) < 32


@given(st.integers(0, 2**32), st.sampled_from([Counts(0, 0, 0, 0), Counts(4, 2, 1, 1), Counts(1, 4, 3, 0)]))
def test_elements_are_canonical_and_match_the_counts(seed: int, counts: Counts) -> None:
    elements = draw_elements(np.random.default_rng(seed), counts)
    assert elements == sorted(set(elements)) and len(elements) == counts.sentences


@given(st.integers(0, 2**32))
def test_counts_fit_the_budget(seed: int) -> None:
    counts = draw_counts(np.random.default_rng(seed))
    assert 1 <= counts.sentences <= 8


@pytest.mark.parametrize(
    ("formal", "sentences_", "points"), [(0, 5, 0), (1, 8, 1), (1, 9, 0), (3, 8, 2), (5, 8, 3), (7, 8, 4), (3, 3, 4)]
)
def test_formal_rounds_half_up(formal: int, sentences_: int, points: int) -> None:
    assert rounded_share(formal, sentences_) == points


LEGAL = "I am sorry to hear that. Please check the charging cable. Even your phone hates my jokes. You got this, champ!"


def test_a_reply_by_hand() -> None:
    assert dict(zip(names(lab.objectives), score_text(PHONE, LEGAL), strict=True)) == {
        "helpful": 1, "concise": 2, "warm": 2, "funny": 1, "formal": 2, "cautious": 0,
    }  # fmt: skip
    assert score_text(PHONE, "The matter may resolve itself.") == (0, 4, 0, 0, 4, 0)
    assert score_text(PHONE, f"  {LEGAL}\n") == score_text(PHONE, LEGAL)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "Please",
        "I am sorry to hear that.",  # neither a step nor the generic line
        "Please check the charging cable. Please check the charging cable.",
        "Please check the charging cable. Just check the charging cable.",  # said twice, in two styles
        "Go clean the charging port, buddy. Please check the charging cable.",  # out of order
        "Please check the charging cable. I am sorry to hear that.",
        "Please check the charging cable. The matter may resolve itself.",
        "Please oil the hinges.",  # a door's step
        "Please check the charging cable. Even your door sighs at me.",
        "Please check the charging cable. Please save a copy first.",  # another hazard
        "Please check the charging cable. Please check",
        "please check the charging cable.",
        "Please check the charging cable.Go clean the charging port, buddy.",
        "Please check the charging cable.  Go clean the charging port, buddy.",
        "helpful helpful warm funny",
        LEGAL + " " + LEGAL,
    ],
)
def test_loopholes_earn_nothing(text: str) -> None:
    assert not grammatical(PHONE, text) and score_text(PHONE, text) == ZERO


def test_more_than_eight_sentences_earn_nothing() -> None:
    formal = {sentence.element: sentence.text for sentence in sentences(PHONE)}
    everything = [text for element, text in sorted(formal.items()) if element.kind != Kind.GENERIC]
    assert len(everything) == 20
    for num in range(2, 21):
        assert grammatical(PHONE, " ".join(everything[2 : 2 + num])) == (num <= 8)


def test_more_than_four_steps_or_jokes_count_four() -> None:
    assert score_text(PHONE, " ".join(f"{form}" for form in _formal(Kind.STEP)))[0] == 4
    assert score_text(PHONE, " ".join(["The matter may resolve itself.", *_formal(Kind.JOKE)]))[3] == 4


def _formal(kind: Kind) -> list[str]:
    return [s.text for s in sentences(PHONE) if s.element.kind == kind and (s.formal or kind == Kind.JOKE)]


@settings(max_examples=300, deadline=None)
@given(TOPICS, st.data())
def test_any_sequence_of_sentences_is_judged_by_the_rules(topic, data) -> None:
    said = data.draw(st.lists(st.sampled_from(sentences(topic)), max_size=10))
    elements = [sentence.element for sentence in said]
    kinds = {element.kind for element in elements}
    legal = (
        1 <= len(said) <= 8 and elements == sorted(set(elements)) and (Kind.STEP in kinds) != (Kind.GENERIC in kinds)
    )
    text = " ".join(sentence.text for sentence in said)
    assert grammatical(topic, text) == legal
    assert any(score_text(topic, text)) == legal


def test_only_one_order_of_a_reply_is_legal() -> None:
    said = split_sentences(LEGAL)
    legal = [order for order in permutations(said) if grammatical(PHONE, " ".join(order))]
    assert legal == [tuple(said)]


@settings(max_examples=200, deadline=None)
@given(TOPICS, st.text(max_size=80))
def test_any_text_is_answered_without_an_error(topic, text: str) -> None:
    expected = text.strip() in sentence_by_text(topic)
    assert expected or grammatical(topic, text) is (parse(topic, text) is not None)
    assert 0.0 <= lab.repetition(text) <= 1.0


@settings(max_examples=200, deadline=None)
@given(TOPICS, st.integers(0, 2**32))
def test_corruption_always_shows(topic, seed: int) -> None:
    rng = np.random.default_rng(seed)
    spoilt = corrupt(topic, text_of(draw_reply(rng, topic)), rng)
    assert spoilt and score_text(topic, spoilt) == ZERO


def test_corruption_takes_any_text() -> None:
    rng = np.random.default_rng(0)
    for text in ("Hm", "Hm.", "Please check the charging cable."):
        assert not grammatical(PHONE, corrupt(PHONE, text, rng))
    assert delete_word("One", rng) == ""


def test_repetition() -> None:
    assert lab.repetition("A. B. A. A.") == 0.5
    assert lab.repetition("") == lab.repetition("A. B.") == 0.0


def test_scorer_fills_all_objectives_and_leaves_the_unknown_absent() -> None:
    known = Record(
        user("My phone will not charge."), (Response(LEGAL, scores={"helpful": 9.0, "other": 1.0}), Response("Hm."))
    )
    cut_off = replace(known, responses=(Response(LEGAL, finished=False),))
    unknown = Record(user("Sing."), (Response(LEGAL),))
    found = list(ExactScorer().score(iter([known, cut_off, unknown])))
    assert found[0].responses[0].scores == {
        "helpful": 1.0, "other": 1.0, "concise": 2.0, "warm": 2.0, "funny": 1.0, "formal": 2.0, "cautious": 0.0,
    }  # fmt: skip
    assert set(found[0].responses[1].scores.values()) == {0.0}
    assert set(found[1].responses[0].scores.values()) == {0.0}
    assert found[2] == unknown
    assert lab.score_vectors(found[:2]).shape == (3, 6)
    assert all(objective.low == 0 and objective.high == 4 for objective in lab.objectives)
