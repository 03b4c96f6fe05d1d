"""Stop strings: what comes out, when, and never a character too much."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.serving.stops import StopStrings


def _run(stops: Sequence[str], pieces: Sequence[str]) -> tuple[list[str], bool]:
    made = StopStrings(stops)
    given_out = [made.push(piece) for piece in pieces]
    return [*given_out, made.flush()], made.found


@pytest.mark.parametrize(
    ("stops", "pieces", "expected", "found"),
    [
        ((), ["ab", "c"], ["ab", "c", ""], False),
        (("X",), ["abXcd"], ["ab", ""], True),
        (("END",), ["an E", "N", "D of"], ["an ", "", "", ""], True),  # across three pieces
        (("END",), ["an E", "N", "tity"], ["an ", "", "ENtity", ""], False),  # held back, then let go
        (("END",), ["an EN"], ["an ", "EN"], False),  # the reply ends while it is held back
        (("aab",), ["aaa", "b!"], ["a", "", ""], True),  # the string begins inside its own beginning
        (("bcd", "c"), ["abcd"], ["ab", ""], True),  # "c" is complete first
        (("abc", "c"), ["xabc"], ["x", ""], True),  # both at once: the longer one
        (("\n\n",), ["one\n", "\ntwo"], ["one", "", ""], True),
        (("é",), ["caf", "é"], ["caf", "", ""], True),
    ],
)
def test_by_hand(stops: tuple[str, ...], pieces: list[str], expected: list[str], found: bool) -> None:
    assert _run(stops, pieces) == (expected, found)


def test_after_a_stop_string_nothing_comes() -> None:
    made = StopStrings(("x",))
    assert [made.push("ax"), made.push("b"), made.flush()] == ["a", "", ""]


LETTERS = st.text(alphabet="ab", min_size=1, max_size=4)


@given(st.lists(LETTERS, min_size=1, max_size=4), st.lists(st.text(alphabet="ab", max_size=5), max_size=12))
def test_as_if_the_text_were_searched_at_every_letter(stops: list[str], pieces: list[str]) -> None:
    """The oracle: after each letter, does the text end with a stop string?"""
    text = "".join(pieces)
    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    expected = text
    if ends:
        longest = max(len(stop) for stop in stops if text[: ends[0]].endswith(stop))
        expected = text[: ends[0] - longest]
    given_out, found = _run(stops, pieces)
    assert ("".join(given_out), found) == (expected, bool(ends))


@given(st.lists(LETTERS, min_size=1, max_size=4), st.text(alphabet="ab", max_size=30))
def test_no_more_is_held_back_than_could_become_a_stop_string(stops: list[str], text: str) -> None:
    made, out = StopStrings(stops), ""
    for place, letter in enumerate(text):
        out += made.push(letter)
        if made.found:
            return
        held = text[len(out) : place + 1]
        beginnings = [stop[:length] for stop in stops for length in range(len(stop))]
        assert held == max((b for b in beginnings if text[: place + 1].endswith(b)), key=len)
