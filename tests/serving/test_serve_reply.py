"""One reply: text, log-probabilities and the reason why it ended, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from test_serve_detokenise import byte_fallback, byte_level, fallback_ids
from transformers import PreTrainedTokenizerFast

from pluralign.sampling.loop import Drawn
from pluralign.serving.reply import IMPOSSIBLE, Piece, Reply
from pluralign.serving.token_text import Speller, TokenText

WORDS = ["<end>", "Yes", ",", " no", " END", " EN", "D"]


def _words(ids: Sequence[int]) -> str:
    return "".join(WORDS[number] for number in ids if number)


class _Words:
    """A vocabulary of whole pieces, as far as a speller looks at it."""

    all_special_ids = (0,)

    def convert_ids_to_tokens(self, number: int) -> str:
        """The piece."""
        return WORDS[number]


def _drawn(token: int, ended: bool = False, top: tuple[tuple[int, float], ...] = ()) -> Drawn:
    return Drawn(ticket=0, token=token, logprob=-1.0, own=-2.0, top=top, ended=ended)


def _read(tokens: Sequence[int], stops: Sequence[str] = (), named: bool = False) -> tuple[Reply, list[Piece]]:
    """All but the last token go on; the last one is the limit, or the end."""
    reply = Reply(_words, 0, stops, Speller(_Words()) if named else None)
    return reply, [reply.push(_drawn(token, place == len(tokens) - 1)) for place, token in enumerate(tokens)]


def _told(pieces: Sequence[Piece]) -> list[tuple[str, str | None]]:
    return [(piece.text, piece.finish) for piece in pieces]


@pytest.mark.parametrize(
    ("tokens", "stops", "told"),
    [
        ([1, 2, 3, 0], (), [("Yes", None), (",", None), (" no", None), ("", "stop")]),
        ([1, 2, 3], (), [("Yes", None), (",", None), (" no", "length")]),
        ([1, 3, 2], (",",), [("Yes", None), (" no", None), ("", "stop")]),
        ([1, 5, 6, 2], ("END",), [("Yes", None), (" ", None), ("", "stop"), ("", None)]),
        ([1, 5, 0], ("END",), [("Yes", None), (" ", None), ("EN", "stop")]),
        ([1, 5], ("END",), [("Yes", None), (" EN", "length")]),
        ([0], (), [("", "stop")]),
    ],
)
def test_text_and_reason(tokens: list[int], stops: tuple[str, ...], told: list[tuple[str, str | None]]) -> None:
    assert _told(_read(tokens, stops)[1]) == told


def test_every_token_is_counted_up_to_the_one_that_ended_it() -> None:
    assert _read([1, 2, 3, 0])[0].tokens == 4  # the end token too
    assert _read([1, 5, 6, 2], ("END",))[0].tokens == 3  # what was drawn after the stop string is nobody's


def test_log_probabilities_come_with_their_text() -> None:
    """What is held back for a stop string keeps its tokens back too; those of the stop string are left out."""
    _, pieces = _read([1, 5, 2, 0], ("END",), named=True)
    assert [(p.text, [e.token.text for e in p.entries]) for p in pieces] == [
        ("Yes", ["Yes"]),
        (" ", []),  # " EN" could still become the stop string
        ("EN,", [" EN", ","]),
        ("", []),
    ]
    _, pieces = _read([1, 5, 6], ("END",), named=True)
    assert [[e.token.text for e in p.entries] for p in pieces] == [["Yes"], [], [" EN"]]  # its blank is in the reply
    _, pieces = _read([1, 4, 0], (" END",), named=True)
    assert [[e.token.text for e in p.entries] for p in pieces] == [["Yes"], [], []]


def test_log_probabilities_are_the_models_own_and_finite() -> None:
    reply = Reply(_words, 0, (), Speller(_Words()))
    (entry,) = reply.push(_drawn(1, top=((1, -0.5), (0, -math.inf)))).entries
    assert (entry.logprob, entry.start, entry.end) == (-2.0, 0, 3)
    assert entry.top == ((TokenText("Yes", b"Yes"), -0.5), (TokenText("<end>", b""), IMPOSSIBLE))


@pytest.mark.parametrize("kind", ["level", "fallback"])
def test_parts_of_characters_have_their_bytes(kind: str) -> None:
    """Joined, the tokens' bytes are the text's, although two of three tokens are no text."""
    backend = byte_level() if kind == "level" else byte_fallback()
    ids = backend.encode("a€").ids if kind == "level" else fallback_ids("a€")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    reply = Reply(backend.decode, -1, (), Speller(tokenizer))
    pieces = [reply.push(_drawn(token, place == len(ids) - 1)) for place, token in enumerate(ids)]
    entries = [entry for piece in pieces for entry in piece.entries]
    assert [piece.text for piece in pieces] == ["a", "", "", "€"]
    assert [entry.token.text for entry in entries] == ["a", "\\xe2", "\\x82", "\\xac"]
    assert b"".join(entry.token.data for entry in entries) == "a€".encode()
