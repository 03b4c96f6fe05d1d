"""Tokenizers that people use: what comes out token by token is the text, and the tokens' bytes are its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pluralign.encoding import Encoder
from pluralign.sampling.loop import Drawn
from pluralign.serving.reply import Reply
from pluralign.serving.token_text import Speller

TEXTS = (
    "Once upon a time, there was a little girl named Lily. She had $3.50!\n\nThe end.",
    "Grüße aus Köln – naïve café, 10 €; 你好世界, 안녕하세요, Привет! 😀👩‍👩‍👧 𝄞",
)


def test_a_byte_level_vocabulary_with_merges() -> None:
    """As GPT-2, Llama 3 and Qwen have: a token may end inside a character and begin inside the next."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    odd = [text.encode()[place:].decode(errors="ignore") for text in TEXTS for place in range(3)]
    made.train_from_iterator([*TEXTS, *odd], trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet))
    made.add_special_tokens(["<end>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")
    encoder, text = Encoder(tokenizer), TEXTS[1] + TEXTS[0]
    ids = encoder.text_ids(text)
    reply = Reply(encoder.decode, encoder.end_id, (), Speller(tokenizer))
    pieces = [reply.push(Drawn(0, token, -1.0, -1.0, (), False)) for token in ids]
    pieces.append(reply.push(Drawn(0, encoder.end_id, -1.0, -1.0, (), True)))
    assert "".join(piece.text for piece in pieces) == text
    assert not any("\ufffd" in piece.text for piece in pieces)
    data = [entry.token.data for piece in pieces for entry in piece.entries]
    assert b"".join(data) == text.encode() and len(data) == len(ids)
    assert max(map(len, data)) > 1 and sum(len(each.text) == 0 for each in pieces) > 10


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["stories260k", "stories_char105"])
@pytest.mark.parametrize("text", TEXTS, ids=["ascii", "world"])
def test_token_by_token(real_data: Path, name: str, text: str) -> None:
    encoder = Encoder(AutoTokenizer.from_pretrained(real_data / name))
    ids = encoder.text_ids(text)
    reply = Reply(encoder.decode, encoder.end_id, (), Speller(encoder.tokenizer))
    drawn = [Drawn(0, token, -1.0, -1.0, ((token, -1.0),), place == len(ids) - 1) for place, token in enumerate(ids)]
    pieces = [reply.push(each) for each in drawn]
    whole = encoder.decode(ids)
    assert "".join(piece.text for piece in pieces) == whole
    entries = [entry for piece in pieces for entry in piece.entries]
    assert len(entries) == len(ids)
    if encoder.tokenizer.unk_token_id not in ids:  # what is unknown has no bytes
        assert b"".join(entry.token.data for entry in entries).strip() == whole.strip().encode()
    if text == TEXTS[0] and name == "stories260k":
        assert whole == text
