"""The real OpenAI client at /v1/completions: several prompts, echoes, log-probabilities in columns, streams."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types import Completion
from served import Served

from pluralign.data.condition import Weights
from pluralign.data.record import Record, user
from pluralign.sampling.local import Decoding, complete

PROMPTS = ["My printer is broken.", "My phone is slow."]
STEER: dict[str, Any] = {"steering": {"weights": {"warm": 0.6, "concise": 0.4}}}


def _ask(client: openai.OpenAI, **others: Any) -> Completion:
    asked = {"model": "desk", "prompt": PROMPTS, "seed": 2, "max_tokens": 16} | others
    return client.completions.create(extra_body=STEER, **asked)


def test_prompts_and_replies_in_their_order(server: Served, client: openai.OpenAI) -> None:
    policy, weights = server.workers["desk"].policy, Weights({"warm": 0.6, "concise": 0.4})
    records = [Record(user(prompt)) for prompt in PROMPTS]
    drawn = [c for each in complete(policy, records, [weights] * 2, 2, 2, Decoding(1.0, 1.0, 16)) for c in each]
    reply = _ask(client, n=2)
    assert [choice.text for choice in reply.choices] == [completion.text for completion in drawn]
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert reply.object == "text_completion" and reply.id.startswith("cmpl-")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == sum(len(completion.prompt_ids) for completion in drawn[::2])
    assert reply.usage.completion_tokens == sum(len(completion.ids) for completion in drawn)
    assert reply.model_extra == STEER


def test_sixteen_tokens_unless_more_are_asked_for(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="desk", prompt=PROMPTS[0], temperature=2, seed=1)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None and reply.usage.completion_tokens == 16


def test_an_echo_is_the_prompt_before_the_text(client: openai.OpenAI) -> None:
    plain, echoed = _ask(client), _ask(client, echo=True)
    for prompt, one, other in zip(PROMPTS, plain.choices, echoed.choices, strict=True):
        assert other.text == prompt + one.text
    chunks = client.completions.create(model="desk", prompt=PROMPTS, echo=True, seed=2, stream=True, extra_body=STEER)
    texts = ["", ""]
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in echoed.choices]


def test_log_probabilities_in_columns(client: openai.OpenAI) -> None:
    choice = _ask(client, logprobs=2).choices[0]
    found = choice.logprobs
    assert found is not None
    assert found.tokens is not None and found.token_logprobs is not None
    assert found.top_logprobs is not None and found.text_offset is not None
    assert "".join(found.tokens) == choice.text
    assert [
        choice.text[at : at + len(t)] for at, t in zip(found.text_offset, found.tokens, strict=True)
    ] == found.tokens
    for token, logprob, top in zip(found.tokens, found.token_logprobs, found.top_logprobs, strict=True):
        assert top[token] == logprob  # the drawn one is always there
        assert 2 <= len(top) <= 3 and max(top.values()) >= logprob
    only = _ask(client, logprobs=0).choices[0].logprobs
    assert only is not None and only.top_logprobs == [
        {t: lp} for t, lp in zip(found.tokens, found.token_logprobs, strict=True)
    ]


@pytest.mark.parametrize("stop", [None, " "])
def test_a_stream_says_what_the_whole_reply_says(client: openai.OpenAI, stop: str | None) -> None:
    whole = _ask(client, stop=stop)
    chunks = list(
        client.completions.create(
            model="desk", prompt=PROMPTS, seed=2, max_tokens=16, stop=stop, stream=True, logprobs=1,
            stream_options={"include_usage": True}, extra_body=STEER,
        )
    )  # fmt: skip
    assert chunks[-1].usage == whole.usage and chunks[-1].choices == []
    for choice in whole.choices:
        own = [chunk.choices[0] for chunk in chunks[:-1] if chunk.choices[0].index == choice.index]
        assert "".join(each.text for each in own) == choice.text
        assert [each.finish_reason for each in own if each.finish_reason] == [choice.finish_reason]
        tokens = [token for each in own if each.logprobs for token in each.logprobs.tokens or []]
        assert "".join(tokens) == choice.text
