"""What replies look like, without a model: length, repetition, diversity, truncation.

Source: methods.md E7. A word is a maximal run of letters, digits or apostrophes, in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[\w'’]+")


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text.lower())


def ngrams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """All runs of `size` consecutive tokens, in order; none when the text is shorter."""
    return [tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)]


def repetition(text: str, size: int = 4) -> float:
    """Share of a reply's n-grams of words (n = 4) that occurred before in it: 0 none, towards 1 a loop."""
    grams = ngrams(words(text), size)
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def distinct_n(replies: Iterable[str], size: int = 2) -> float:
    """Distinct n-grams over the total number of words, of one prompt's replies; 0 when there are no words.

    methods.md E7: average this over prompts. It falls with the number of replies: compare equal numbers only.
    """
    tokenised = [words(reply) for reply in replies]
    grams = {gram for tokens in tokenised for gram in ngrams(tokens, size)}
    return len(grams) / max(sum(map(len, tokenised)), 1)


def truncation(finished: Iterable[bool]) -> float:
    """Share of replies cut off by a length limit; NaN without replies."""
    flags = list(finished)
    return sum(not flag for flag in flags) / len(flags) if flags else float("nan")
