"""Small tokenizers: some that GGUF can hold, and some that it cannot."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pluralign.export.gguf_tokens import PRE_TOKENIZERS

TEXT = ["tell me a joke, please! It's 3.14 or 1000.", "a good  and very very funny joke\n\n", "don't — naïve 你好 🙂"]


def byte_level(pre: str = "gpt-2", **options: Any) -> PreTrainedTokenizerFast:
    """A small byte-level BPE that cuts words as llama.cpp's `pre` does."""
    cut, ignore = PRE_TOKENIZERS[pre]
    made = Tokenizer(models.BPE(ignore_merges=ignore))
    made.pre_tokenizer = _cutter(cut)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(TEXT * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", **options)


def _cutter(cut: dict[str, Any]) -> Any:
    """A pre-tokenizer from its JSON."""
    shell = json.loads(Tokenizer(models.BPE()).to_str())
    shell["pre_tokenizer"] = _with_offsets(cut)
    return Tokenizer.from_str(json.dumps(shell)).pre_tokenizer


def _with_offsets(cut: Any) -> Any:
    if isinstance(cut, list):
        return [_with_offsets(each) for each in cut]
    if not isinstance(cut, dict):
        return cut
    inner = {name: _with_offsets(value) for name, value in cut.items()}
    return {**inner, "trim_offsets": True} if cut.get("type") == "ByteLevel" else inner


def pieces(merges: list[tuple[str, str]], *more: str, **options: Any) -> PreTrainedTokenizerFast:
    """SentencePiece's BPE with those merges, in Hugging Face's form."""
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abc", *more]
    texts += [whole for whole in dict.fromkeys("".join(pair) for pair in merges) if whole not in texts]
    vocab = {text: place for place, text in enumerate(texts)}
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    made.normalizer = options.pop("normalizer", normalizers.Sequence(steps))
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>", **options)  # fmt: skip


GOOD = [("a", "b"), ("▁", "a"), ("ab", "c"), ("▁", "ab"), ("▁a", "b")]


def changed(words: PreTrainedTokenizerFast, **parts: Any) -> PreTrainedTokenizerFast:
    file = {**json.loads(words.backend_tokenizer.to_str()), **parts}
    made = Tokenizer.from_str(json.dumps(file))
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def without_a_byte() -> PreTrainedTokenizerFast:
    file = json.loads(pieces(GOOD).backend_tokenizer.to_str())
    vocab = {text: place for text, place in file["model"]["vocab"].items() if text != "<0xFF>"}
    return changed(pieces(GOOD), model={**file["model"], "vocab": vocab})


def few_bytes() -> PreTrainedTokenizerFast:
    file = json.loads(byte_level().backend_tokenizer.to_str())
    vocab = {text: place for text, place in file["model"]["vocab"].items() if text != "ÿ"}
    return changed(byte_level(), model={**file["model"], "vocab": vocab})


def stripping() -> PreTrainedTokenizerFast:
    file = json.loads(byte_level().backend_tokenizer.to_str())
    return changed(byte_level(), added_tokens=[{**token, "lstrip": True} for token in file["added_tokens"]])
