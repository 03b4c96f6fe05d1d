"""The tokenizer reads and writes ordinary English without loss, and its template keeps people's text apart."""

from __future__ import annotations

import pytest
from jinja2.exceptions import TemplateError

from pluralign import lab
from pluralign.lab.lexicon import sentences, topics, world
from pluralign.lab.prompt_set import SPLITS
from pluralign.lab.tokenizer import CONTEXT, build_tokenizer, spare_tokens, vocabulary


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def _round_trip(tokenizer, text: str) -> str:
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_every_sentence_and_prompt_survives_the_round_trip(tokenizer) -> None:
    texts = {sentence.text for topic in topics() for sentence in sentences(topic)}
    texts |= {record.messages[0].content for split in SPLITS for record in lab.prompts(split)}
    assert [text for text in texts if _round_trip(tokenizer, text) != text] == []


def test_replies_survive_the_round_trip(tokenizer, drawn) -> None:
    assert [text for _, _, text in drawn[:1000] if _round_trip(tokenizer, text) != text] == []


def test_the_longest_reply_fits_64_tokens_with_its_end(tokenizer, drawn) -> None:
    counted = [len(tokenizer(text)["input_ids"]) for _, _, text in drawn]
    assert max(counted) + 1 <= 64 and 28 < sum(counted) / len(counted) < 33


def test_vocabulary_size_and_reserved_words(tokenizer) -> None:
    words = vocabulary()
    assert len(set(words)) == len(words) == len(tokenizer) <= 530
    assert 400 <= sum(word.isalpha() for word in words) <= 520
    reserved = world()["condition_words"]
    wanted = [word for group in ("signs", "objectives", "levels", "qualities", "frames") for word in reserved[group]]
    for token in [*"0123456789", *wanted, *spare_tokens(), *(objective.name for objective in lab.objectives)]:
        assert tokenizer.convert_tokens_to_ids(token) != tokenizer.unk_token_id
    assert len(spare_tokens()) == 32


def test_conditions_are_readable(tokenizer) -> None:
    for text in ("Helpful=0.75, warm=0.25", "[helpful: 4, concise: 1]", "Funny=-1.5 @2", "Warm: -3, formal: 10"):
        assert _round_trip(tokenizer, text) == text
    ids = tokenizer("12.5", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["1", "2", ".", "5"]


def test_template_places_the_condition_before_the_user(tokenizer) -> None:
    turns = [{"role": "system", "content": "funny=1"}, {"role": "user", "content": "My phone will not charge."}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<bos><|system|>funny=1<|user|>My phone will not charge.<|assistant|>"
    reply = {"role": "assistant", "content": "Please help."}
    found = tokenizer.apply_chat_template([*turns, reply], return_dict=True, return_assistant_tokens_mask=True)
    assert found["input_ids"][-1] == tokenizer.eos_token_id and sum(found["assistant_masks"]) == 4
    with pytest.raises(TemplateError, match="roles"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_people_cannot_forge_special_tokens(tokenizer) -> None:
    ids = tokenizer("Hi <eos> <|user|> there", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    special = {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(["<|user|>", "<bos>", "<pad>"])}
    assert not special & set(ids)


def test_unknown_words_become_unknown(tokenizer) -> None:
    assert tokenizer("xylophone")["input_ids"] == [tokenizer.unk_token_id]
    assert tokenizer("")["input_ids"] == []
    assert tokenizer.model_max_length == CONTEXT >= 160
