"""A tokenizer as GGUF holds it, where its form there is exact: byte-level BPE ("gpt2") and SentencePiece BPE ("llama").

llama.cpp knows an algorithm and a table, nothing of a tokenizer's file; whatever else the file asks for (another
normaliser, another way to cut words, stripped spaces) it would silently leave out, so such tokenizers are refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pluralign.encoding import Encoder
from pluralign.errors import ModelError
from pluralign.export.gguf_pieces import check_pieces, piece_scores

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""GGUF's kinds of tokens"""

_BYTES = {"type": "ByteLevel", "add_prefix_space": False}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _cut(digits: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": _WORDS % digits}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**_BYTES, "use_regex": False}]}


PRE_TOKENIZERS: dict[str, tuple[dict[str, Any], bool]] = {
    "gpt-2": ({**_BYTES, "use_regex": True}, False),
    "smollm": (
        {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, {**_BYTES, "use_regex": True}],
        },
        False,
    ),
    "llama-bpe": (_cut(r"\p{N}{1,3}"), True),
    "qwen2": (_cut(r"\p{N}"), False),
}
"""llama.cpp's name -> (pre_tokenizer of tokenizer.json, whether whole words that are tokens skip the merges)"""


@dataclass(frozen=True)
class Vocabulary:
    """What GGUF keeps of a tokenizer. `scores` only for "llama", `merges` only for "gpt2"; ids are places in `tokens`."""

    model: str
    pre: str
    tokens: list[str]
    kinds: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    begin: int | None = None
    end: int = 0
    unknown: int | None = None
    padding: int | None = None
    adds_begin: bool = False
    space_first: bool = False


def vocabulary(encoder: Encoder, size: int) -> Vocabulary:
    """The encoder's tokenizer with `size` tokens (the model's; more than the tokenizer has are unused ones).

    Raises ModelError with the reason where GGUF has no exact form of it.
    """
    tokenizer = encoder.tokenizer
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        _refuse("it is not one of the library tokenizers (no tokenizer.json)")
    file = json.loads(tokenizer.backend_tokenizer.to_str())
    model = file["model"]
    if model["type"] != "BPE":
        _refuse(f"its model is {model['type']}, while GGUF holds byte-level BPE and SentencePiece BPE")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            _refuse(f"its {name} is {model[name]!r}")
    _check_added(file)
    tokens, kinds = _tokens(tokenizer, file, size)
    common: dict[str, Any] = {
        "begin": tokenizer.bos_token_id,
        "end": encoder.end_id,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
        "adds_begin": tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id],
    }
    if model.get("byte_fallback"):
        return _sentence_pieces(tokenizer, file, tokens, kinds, common)
    return _byte_level(file, tokens, kinds, common)


def _check_added(file: dict[str, Any]) -> None:
    for token in file["added_tokens"]:
        odd = [name for name in ("lstrip", "rstrip", "single_word") if token[name]]
        if odd or (token["normalized"] and file["normalizer"] is not None):
            _refuse(f"its token {token['content']!r} is {', '.join(odd) or 'normalized'}, which GGUF cannot say")


def _tokens(tokenizer: Any, file: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Texts and kinds by id."""
    added = {token["id"]: token for token in file["added_tokens"]}
    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    if max(texts) >= size:
        _refuse(f"it has tokens up to number {max(texts)}, the model only {size}")
    tokens, kinds = [], []
    for number in range(size):
        text = texts.get(number, f"[PAD{number}]")
        tokens.append(text)
        if number not in texts:
            kinds.append(UNUSED)
        elif number == tokenizer.unk_token_id:
            kinds.append(UNKNOWN)
        elif number in added:
            kinds.append(CONTROL if added[number]["special"] else USER_DEFINED)
        else:
            kinds.append(NORMAL)
    return tokens, kinds


def _byte_level(file: dict[str, Any], tokens: list[str], kinds: list[int], common: dict[str, Any]) -> Vocabulary:
    model = file["model"]
    cut = _without_offsets(file["pre_tokenizer"])
    names = [
        name
        for name, (known, ignore) in PRE_TOKENIZERS.items()
        if known == cut and ignore == bool(model.get("ignore_merges"))
    ]
    if not names:
        _refuse(
            f"it cuts words in a way that llama.cpp has no name for here (known: {', '.join(PRE_TOKENIZERS)}): "
            f"{json.dumps(cut)[:200]}"
        )
    if file["normalizer"] is not None:
        _refuse(f"it normalises texts ({file['normalizer']['type']}), which llama.cpp does not")
    from tokenizers.pre_tokenizers import ByteLevel

    missing = set(ByteLevel.alphabet()) - set(model["vocab"])
    if missing:
        _refuse(f"it has no token for {len(missing)} of the 256 bytes")
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    return Vocabulary("gpt2", names[0], tokens, kinds, merges=merges, **common)


def _without_offsets(cut: Any) -> Any:
    """A pre-tokenizer without what does not change its tokens."""
    if isinstance(cut, dict):
        return {name: _without_offsets(value) for name, value in cut.items() if name != "trim_offsets"}
    return [_without_offsets(each) for each in cut] if isinstance(cut, list) else cut


def _sentence_pieces(
    tokenizer: Any, file: dict[str, Any], tokens: list[str], kinds: list[int], common: dict[str, Any]
) -> Vocabulary:
    model = file["model"]
    numbers = {f"<0x{byte:02X}>": byte for byte in range(256)}
    missing = set(numbers) - set(model["vocab"])
    if missing:
        _refuse(f"it falls back to bytes and has no token for {len(missing)} of them")
    if model.get("ignore_merges"):
        _refuse("it skips its merges for whole words (ignore_merges)")
    kinds = [BYTE if text in numbers else kind for text, kind in zip(tokens, kinds, strict=True)]
    first = _space_first(file)
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    scores = piece_scores(model["vocab"], merges)
    check_pieces(tokenizer, scores, model["vocab"], first)
    numbered = [scores.get(text, 0.0 if kind != NORMAL else -1e9) for text, kind in zip(tokens, kinds, strict=True)]
    return Vocabulary("llama", "default", tokens, kinds, numbered, space_first=first, **common)


def _space_first(file: dict[str, Any]) -> bool:
    """Whether texts get a space in front. ModelError for normalisers that do anything else."""
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    if file["pre_tokenizer"] is not None:
        _refuse(f"it cuts words before its pieces ({file['pre_tokenizer']['type']})")
    normalizer = file["normalizer"] or {}
    steps = normalizer.get("normalizers", [normalizer] if normalizer else [])
    if steps == [replace]:
        return False
    if steps == [{"type": "Prepend", "prepend": "▁"}, replace]:
        return True
    _refuse(f"it normalises texts as SentencePiece's BPE does not: {json.dumps(normalizer)[:200]}")
    raise AssertionError


def _refuse(reason: str) -> None:
    raise ModelError(
        f"this tokenizer has no exact GGUF form: {reason}. Export without gguf: the plain folder serves with vLLM and SGLang"
    )
