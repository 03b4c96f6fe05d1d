"""Length, repetition, diversity and truncation by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.evaluation import text

replies = st.lists(st.text(alphabet="abc ,.", max_size=30), max_size=5)


def test_words_ignore_case_and_punctuation() -> None:
    assert text.words("Don't panic, re-plug it!") == ["don't", "panic", "re", "plug", "it"]
    assert text.words(" . ") == []


def test_repetition_by_hand() -> None:
    # a b c d a b c d: 4-grams abcd bcda cdab dabc abcd: one of five repeats
    assert text.repetition("a b c d a b c d") == pytest.approx(0.2)
    assert text.repetition("a a a a a a a a") == pytest.approx(0.8)
    assert text.repetition("too short here") == 0.0
    assert text.repetition("") == 0.0


def test_distinct_by_hand() -> None:
    # bigrams ab bc | ab: 2 distinct over 5 words
    assert text.distinct_n(["a b c", "a b"], 2) == pytest.approx(0.4)
    assert text.distinct_n(["a b c", "a b"], 1) == pytest.approx(0.6)
    assert text.distinct_n([], 2) == 0.0


@given(replies)
def test_copies_never_add_diversity_and_shares_are_shares(several: list[str]) -> None:
    assert 0 <= text.distinct_n(several * 2) <= text.distinct_n(several) <= 1
    assert all(0 <= text.repetition(reply) < 1 for reply in several)


def test_truncation_is_the_share_of_unfinished_replies() -> None:
    assert text.truncation([True, False, False, True]) == 0.5
    assert math.isnan(text.truncation([]))
