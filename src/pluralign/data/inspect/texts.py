"""How texts look: their lengths in characters, and what seldom belongs into one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_EXACT, _STEP = 8192, 1.01
_MOST = 1500

_ANY = {
    "control characters": re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
    "what looks like a special token": re.compile(r"<\|[\w ]{1,40}\|>|</?s>|\[/?INST\]|<extra_id_\d+>"),
}
_BEYOND_ASCII = {
    "replacement characters (U+FFFD)": re.compile("\ufffd"),
    "garbled UTF-8": re.compile("[ÂÃ][\u0080-\u00bf\u0152-\u2122]|â€|ðŸ"),
    "invisible or direction marks": re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"),
    "half characters": re.compile("[\ud800-\udfff]"),
    "right-to-left letters": re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]"),
}


@dataclass(frozen=True, slots=True)
class TextFacts:
    """Lengths in characters; `median` and `p95` are exact up to 8,192 characters, then to 1 %. NaN without a text.

    `empty` texts have nothing but white space; `odd` counts texts by what they hold.
    """

    num: int
    empty: int
    shortest: int
    mean: float
    median: float
    p95: float
    longest: int
    odd: Mapping[str, int]


class Texts:
    """Texts of one kind (prompts, replies), as they come; a table of fixed size holds their lengths."""

    def __init__(self) -> None:
        self.lengths = np.zeros(_EXACT + _MOST, dtype=np.int64)
        self.num = self.empty = self.total = self.longest = 0
        self.shortest: int | None = None
        self.odd: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Count one text."""
        length = len(text)
        self.num += 1
        self.total += length
        self.longest = max(self.longest, length)
        self.shortest = length if self.shortest is None else min(self.shortest, length)
        self.lengths[_place(length)] += 1
        stripped = text.strip()
        if not stripped:
            self.empty += 1
        elif len(stripped) < length:
            self.odd["white space at an end"] += 1
        self.odd.update(name for name, pattern in _ANY.items() if pattern.search(text))
        if not text.isascii():
            self.odd.update(name for name, pattern in _BEYOND_ASCII.items() if pattern.search(text))

    def result(self) -> TextFacts:
        """The lengths and counts."""
        mean = self.total / self.num if self.num else float("nan")
        median, high = self._quantile(0.5), self._quantile(0.95)
        return TextFacts(
            self.num, self.empty, self.shortest or 0, mean, median, high, self.longest, dict(self.odd.most_common())
        )

    def _quantile(self, share: float) -> float:
        """The smallest length that at least this share of the texts does not exceed."""
        if not self.num:
            return float("nan")
        place = int(np.searchsorted(np.cumsum(self.lengths), share * self.num))
        return float(place) if place < _EXACT else round(_EXACT * _STEP ** (place - _EXACT + 0.5))


def _place(length: int) -> int:
    if length < _EXACT:
        return length
    return min(_EXACT + int(np.log(length / _EXACT) / np.log(_STEP)), _EXACT + _MOST - 1)
