"""Encoding: what is cut where a row is too long, responses apart from prompts, and back to text."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pluralign.data.record import Message, user
from pluralign.encoding import CONDITION, Encoder
from pluralign.lab.grammar import draw_reply, text_of
from pluralign.lab.lexicon import topics
from pluralign.lab.shipped import base_path
from test_encoding import special_ids, steered_encoder
from tiny import tokenizer

LAB = Encoder(AutoTokenizer.from_pretrained(base_path()))


@settings(max_examples=200)
@given(
    words=st.integers(0, 30),
    answer=st.integers(0, 12),
    limit=st.integers(2, 30),
    condition=st.booleans(),
    cut=st.booleans(),
    kind=st.sampled_from(["chat", "plain"]),
)
@example(words=30, answer=1, limit=10, condition=True, cut=True, kind="chat")
def test_the_prompt_is_cut_from_the_left_and_nothing_else(words, answer, limit, condition, cut, kind):
    encoder = steered_encoder() if kind == "chat" else Encoder(tokenizer())
    encoder.max_length, encoder.truncate = limit, "left" if cut else "reject"
    messages = [*([Message(CONDITION, "kind")] if condition else []), *user("good nice " * words)]
    whole, response = encoder.prompt(messages), encoder.response("short " * answer)
    found = encoder.fit(whole, len(response))
    kept_always = (1 if kind == "chat" else 0) + sum(whole.segments)
    if len(whole.ids) + len(response) <= limit:
        assert found == whole
    elif not cut or limit - len(response) < kept_always + 1:
        assert found is None
    else:
        assert len(found.ids) + len(response) == limit
        assert sum(found.segments) == sum(whole.segments)
        assert kind != "chat" or found.ids[0] == whole.ids[0]
        tail = len(found.ids) - kept_always
        assert [i for i, s in zip(found.ids, found.segments, strict=True) if not s][-tail:] == [
            i for i, s in zip(whole.ids, whole.segments, strict=True) if not s
        ][-tail:]
    pair = encoder.pair(messages, "short " * answer)
    assert (pair is None) == (found is None)
    assert pair is None or pair == (list(found.ids), response)


def test_a_response_ends_unless_it_was_cut_off():
    encoder = Encoder(tokenizer())
    assert encoder.response("good") == [*encoder.text_ids("good"), encoder.end_id]
    assert encoder.response("good", finished=False) == encoder.text_ids("good")
    assert encoder.response("") == [encoder.end_id]


def test_prompt_and_response_do_not_touch():
    """Together 'a' + 'b' may become another token; apart they never do."""
    encoder = Encoder(LAB.tokenizer, "plain")
    prompt, response = encoder.pair(user("1"), "0")
    assert (prompt, response) == (encoder.text_ids("1"), [*encoder.text_ids("0"), encoder.end_id])


@settings(max_examples=100)
@given(seed=st.integers(0, 10_000))
def test_replies_survive_encoding_and_decoding(seed):
    rng = np.random.default_rng(seed)
    text = text_of(draw_reply(rng, topics()[int(rng.integers(len(topics())))]))
    ids = LAB.response(text)
    assert LAB.decode(ids) == text
    assert LAB.response(LAB.decode(ids)) == ids


def test_real_tokenizers_of_others(real_data):
    for name in ("stories260k", "stories_char105"):
        encoder = Encoder(AutoTokenizer.from_pretrained(real_data / name))
        text = "once upon a time there was a little girl."
        assert encoder.decode(encoder.response(text)).lower().strip() == text
        assert special_ids(encoder).isdisjoint(encoder.text_ids("</s> <s> a"))


def test_an_encoder_tells_what_rebuilds_it():
    encoder = Encoder(tokenizer(), "dialogue", max_length=9, truncate="reject")
    assert Encoder(tokenizer(), **encoder.config()).config() == encoder.config()
