"""Tokenizers as GGUF: what is kept of those that it can hold, and a reason for each that it cannot."""

from __future__ import annotations

import json

import pytest
from gguf_words import GOOD, byte_level, changed, few_bytes, pieces, stripping, without_a_byte
from tokenizers import normalizers

from pluralign.encoding import Encoder
from pluralign.errors import ModelError
from pluralign.export.gguf_pieces import encode, piece_scores
from pluralign.export.gguf_tokens import PRE_TOKENIZERS, vocabulary


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_byte_level_tokenizers_keep_their_merges(pre: str) -> None:
    words = byte_level(pre)
    found = vocabulary(Encoder(words), len(words))
    file = json.loads(words.backend_tokenizer.to_str())
    assert (found.model, found.pre) == ("gpt2", pre)
    assert [tuple(pair.split(" ")) for pair in found.merges] == [tuple(pair) for pair in file["model"]["merges"]]


def test_pieces_get_scores_in_the_order_of_merges() -> None:
    scores = piece_scores({"a": 0, "b": 1, "c": 2, "▁": 3, "ab": 4, "▁a": 5, "abc": 6, "▁ab": 7}, GOOD)
    assert scores == {"ab": -1.0, "▁a": -2.0, "abc": -3.0, "▁ab": -4.0}
    vocab = {text: place for place, text in enumerate(["▁", "a", "b", "c", *scores, "<0x64>"])}
    # "▁abcad": ab joins first, then ▁a (of "▁" and the second a? no: "▁" is only in front), then abc, which leaves ▁
    assert encode("abcad", scores, vocab, True) == [vocab[each] for each in ("▁", "abc", "a", "<0x64>")]
    found = vocabulary(Encoder(pieces(GOOD)), 268)
    assert found.model == "llama" and found.space_first and found.kinds[3] == 6 and found.kinds[0] == 2
    assert found.scores[found.tokens.index("abc")] == -3.0


BAD_WORDS = {
    "does not join 'a' and 'bc'": lambda: pieces([("a", "b"), ("b", "c"), ("ab", "c")]),
    "stand apart": lambda: pieces([("a", "b"), ("b", "c"), ("ab", "c"), ("a", "a"), ("a", "bc")]),
    "normalises texts as SentencePiece": lambda: pieces(GOOD, normalizer=normalizers.NFKC()),
    "no token for 1 of them": lambda: without_a_byte(),
    "normalises texts (NFC)": lambda: changed(byte_level("qwen2"), normalizer={"type": "NFC"}),
    "cuts words in a way": lambda: changed(byte_level(), pre_tokenizer={"type": "Whitespace"}),
    "has no token for": lambda: few_bytes(),
    "is lstrip": lambda: stripping(),
}  # fmt: skip


@pytest.mark.parametrize("reason", BAD_WORDS)
def test_a_tokenizer_without_an_exact_form_is_refused(reason: str) -> None:
    with pytest.raises(ModelError) as told:
        vocabulary(Encoder(BAD_WORDS[reason]()), 400)
    assert reason in str(told.value) and "Export without gguf" in str(told.value)
