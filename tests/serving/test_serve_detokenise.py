"""Text token by token: the same as all at once, no half characters, and the cost of a short window."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

from pluralign import lab
from pluralign.encoding import Encoder
from pluralign.serving.detokenise import BROKEN, LONGEST, Detokeniser

BYTES = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
FALLBACK = {"<unk>": 0, "▁": 1, "a": 2, "▁b": 3, **{f"<0x{byte:02X}>": 4 + byte for byte in range(256)}}


def byte_level() -> Tokenizer:
    """One token per byte, as GPT-2 writes them."""
    made = Tokenizer(models.BPE(vocab=BYTES, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def byte_fallback() -> Tokenizer:
    """A few pieces, and single bytes for all else, as Llama 2 decodes them: a run of bytes is text only as a whole."""
    made = Tokenizer(models.BPE(vocab=FALLBACK, merges=[], unk_token="<unk>", byte_fallback=True))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(parts)
    return made


def fallback_ids(text: str) -> list[int]:
    """Pieces where there are some, else bytes."""
    pieces = {"a": [2], " ": [1]}
    return [token for letter in text for token in pieces.get(letter, [4 + byte for byte in letter.encode()])]


def pieces_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """What each token gives, and what is left at the end."""
    made = Detokeniser(tokenizer.decode)
    return [*(made.push(token) for token in ids), made.flush()]


TEXTS = st.text(alphabet=st.sampled_from("ab é€你好世😀𝄞\n"), max_size=60)
"""One to four bytes a character."""


@given(TEXTS)
def test_pieces_of_bytes_make_the_text(text: str) -> None:
    tokenizer = byte_level()
    pieces = pieces_of(tokenizer, tokenizer.encode(text).ids)
    assert "".join(pieces) == text
    assert not any(BROKEN in piece for piece in pieces)


@given(TEXTS)
@example("a€€€€𝄞𝄞𝄞")  # the window is shortened inside a character
def test_pieces_of_fallback_bytes_make_the_text(text: str) -> None:
    tokenizer, ids = byte_fallback(), fallback_ids(text)
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == tokenizer.decode(ids) == text.removeprefix(" ")
    assert not any(BROKEN in piece for piece in pieces)


def test_a_character_comes_out_with_its_last_byte() -> None:
    tokenizer = byte_level()
    assert pieces_of(tokenizer, tokenizer.encode("a€b").ids) == ["a", "", "", "€", "b", ""]
    assert pieces_of(byte_fallback(), fallback_ids("a€a")) == ["a", "", "", "€", "a", ""]


def test_what_is_cut_off_is_written_as_the_decoder_writes_it() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("a€").ids[:-1]
    assert pieces_of(tokenizer, ids) == ["a", "", "", BROKEN]
    assert tokenizer.decode(ids) == "a" + BROKEN


@given(st.lists(st.integers(0, 255), max_size=120))
def test_any_bytes_of_a_byte_level_vocabulary(tokens: list[int]) -> None:
    tokenizer = byte_level()
    assert "".join(pieces_of(tokenizer, tokens)) == tokenizer.decode(tokens)


@pytest.mark.parametrize("tokenizer", [byte_level(), byte_fallback()], ids=["level", "fallback"])
@pytest.mark.parametrize("token", [5 + 0xFF - 1, 70, 2], ids=["broken", "byte", "letter"])
def test_a_token_costs_a_short_window(tokenizer: Tokenizer, token: int) -> None:
    """Decoded tokens per token drawn are bounded, whatever the reply's length and even where it is no text."""
    read: list[int] = []

    def decode(ids: Sequence[int]) -> str:
        read.append(len(ids))
        return str(tokenizer.decode(list(ids)))

    token = min(token, tokenizer.get_vocab_size() - 1)
    made = Detokeniser(decode)
    for _ in range(500):
        made.push(token)
    assert max(read) <= LONGEST
    assert sum(read) <= 500 * LONGEST * 1.5


@given(st.lists(st.integers(7, 300), max_size=80))
def test_the_labs_decoder_looks_back(words: list[int]) -> None:
    """It writes capitals, closes up signs and numbers: all of it depends on the tokens before."""
    encoder = _lab()
    made = Detokeniser(encoder.decode)
    assert "".join([*(made.push(token) for token in words), made.flush()]) == encoder.decode(words)


_LAB: list[Encoder] = []


def _lab() -> Encoder:
    if not _LAB:
        _LAB.append(Encoder(AutoTokenizer.from_pretrained(lab.base_path())))
    return _LAB[0]


def test_peeking_keeps_nothing() -> None:
    tokenizer = byte_level()
    made = Detokeniser(tokenizer.decode)
    assert made.push(BYTES["a"]) == "a"
    assert made.peek(BYTES["b"]) == "b"
    assert made.peek(tokenizer.encode("€").ids[0]) == BROKEN
    assert made.push(BYTES["c"]) == "c"
