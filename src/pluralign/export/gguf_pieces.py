"""SentencePiece's BPE as llama.cpp runs it: the best-scored pair of neighbours is joined first, the leftmost of equals.

A tokenizer.json lists pairs in order instead. The two agree where every way to cut a token in two is in the list and
the ways to make one token stand together; and this is tried on texts, too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pluralign.errors import ModelError

SPACE = "▁"
TEXTS = (
    "Hello, world!", "  two  spaces   and\ttabs \n\n lines\r\n", "aaaaaaaa aaaaaaaaa llllll", "3.14159 1000000 0x1F",
    "naïve café — “quotes” … 你好 мир 🙂", "can't won't I'll they've", "()[]{}<>;:#@!?*&^%$", " leading", "trailing ", "é",
)  # fmt: skip
NUM_DRAWN = 200


def piece_scores(vocab: Mapping[str, int], merges: Sequence[tuple[str, ...]]) -> dict[str, float]:
    """A score per token that is made by merging: later ones lower. ModelError where an order of pairs is no order of tokens."""
    scores: dict[str, float] = {}
    last = ""
    for pair in merges:
        whole = "".join(pair)
        if whole in scores and whole != last:
            _refuse(f"its ways to make {whole!r} stand apart in the order of merges")
        scores.setdefault(whole, -float(len(scores) + 1))
        last = whole
    listed = set(merges)
    for token in vocab:
        for place in range(1, len(token)):
            pair = (token[:place], token[place:])
            if pair[0] in vocab and pair[1] in vocab and pair not in listed:
                _refuse(f"it does not join {pair[0]!r} and {pair[1]!r}, though {token!r} is a token")
    return scores


def encode(text: str, scores: Mapping[str, float], vocab: Mapping[str, int], space_first: bool) -> list[int]:
    """Token ids of a text as llama.cpp finds them."""
    text = (SPACE if space_first and text else "") + text.replace(" ", SPACE)
    pieces = list(text)
    while True:
        joined = [(-scores[pair], place) for place, pair in enumerate(map("".join, pairwise(pieces))) if pair in scores]
        if not joined:
            break
        _, place = min(joined)
        pieces[place : place + 2] = ["".join(pieces[place : place + 2])]
    ids: list[int] = []
    for piece in pieces:
        ids += [vocab[piece]] if piece in vocab else [vocab[f"<0x{byte:02X}>"] for byte in piece.encode()]
    return ids


def check_pieces(tokenizer: Any, scores: Mapping[str, float], vocab: Mapping[str, int], space_first: bool) -> None:
    """ModelError, with the text, where the tokenizer reads a text otherwise than llama.cpp would."""
    words = [token.replace(SPACE, " ") for token in scores] or ["a"]
    drawn = random.Random(0)
    made = ["".join(drawn.choices(words, k=drawn.randint(1, 8))) for _ in range(NUM_DRAWN)]
    for text in (*TEXTS, *made):
        own = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        if own != encode(text, scores, vocab, space_first):
            _refuse(f"it reads {text!r} otherwise than SentencePiece's algorithm")


def _refuse(reason: str) -> None:
    raise ModelError(
        f"this tokenizer has no exact GGUF form: {reason}. Export without gguf: the plain folder serves with vLLM and SGLang"
    )
