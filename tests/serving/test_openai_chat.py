"""The real OpenAI client, pointed at the server: chats, streams, several replies, steering in all its forms."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from served import Served

from pluralign.data.condition import Weights, parse, to_json
from pluralign.data.record import Record, user
from pluralign.sampling.engine import Engine
from pluralign.sampling.local import Decoding, complete
from pluralign.sampling.request import Request

PROMPT = "My printer is broken."
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]
TRADE_OFF = {"weights": {"helpful": 0.7, "funny": 0.3}}


def _ask(client: openai.OpenAI, model: str = "desk", steering: Any = None, **others: Any) -> ChatCompletion:
    others = {"seed": 5, "max_tokens": 24} | others
    extra = {} if steering is None else {"extra_body": {"steering": steering}}
    return client.chat.completions.create(model=model, messages=ASK, **others, **extra)


def _texts(reply: ChatCompletion) -> list[str]:
    return [choice.message.content or "" for choice in reply.choices]


def test_a_reply_is_the_one_that_sampling_draws(server: Served, client: openai.OpenAI) -> None:
    """The server, at whatever batch, and `pluralign sample` give the same replies for the same seed."""
    policy, weights = server.workers["desk"].policy, Weights({"helpful": 0.7, "funny": 0.3})
    (drawn,) = complete(policy, [Record(user(PROMPT))], [weights], 3, 5, Decoding(0.9, 0.95, 24))
    reply = _ask(client, steering=TRADE_OFF, n=3, temperature=0.9, top_p=0.95)
    assert _texts(reply) == [completion.text for completion in drawn]
    assert [c.finish_reason for c in reply.choices] == ["stop" if c.finished else "length" for c in drawn]
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(drawn[0].prompt_ids)  # once, not three times
    assert reply.usage.completion_tokens == sum(len(completion.ids) for completion in drawn)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_what_the_api_promises_of_every_reply(client: openai.OpenAI) -> None:
    one, two = _ask(client, steering=TRADE_OFF), _ask(client)
    assert one.object == "chat.completion" and one.model == "desk"
    assert one.id.startswith("chatcmpl-") and one.id != two.id
    assert one.created > 1_700_000_000
    assert one.system_fingerprint == two.system_fingerprint and (one.system_fingerprint or "").startswith("fp_")
    assert one.choices[0].message.role == "assistant" and one.choices[0].logprobs is None
    assert one.model_extra == {"steering": TRADE_OFF}
    assert two.model_extra == {"steering": None}


@pytest.mark.parametrize(
    ("model", "steering", "condition"),
    [
        ("desk", TRADE_OFF, "helpful=.7,funny=.3"),
        ("desk@helpful=0.7,funny=0.3", None, "helpful=.7,funny=.3"),
        ("desk@helpful=1@1.5", None, "helpful=1 @1.5"),
        ("desk@calm", None, "helpful=.7,funny=.3"),
        ("desk", {"preset": "strong"}, "helpful=1 @1.5"),
        ("desk", {"weights": {"helpful": 1}, "strength": 1.5}, "helpful=1 @1.5"),
        ("scores", {"targets": {"funny": 4}}, "funny:4"),
        ("scores@funny:4", None, "funny:4"),
        ("scores@four", None, "funny:4"),
        ("scores", {"weights": {"warm": 0.5, "formal": 0.5}}, "warm=.5,formal=.5"),
        ("words", {"feedback": "kind, and in one sentence"}, '"kind, and in one sentence"'),
        ('words@"kind, and in one sentence"', None, '"kind, and in one sentence"'),
        ("words", {"feedback": "kind", "strength": 8}, '"kind" @8'),  # guidance: two rows of the cache
        ("words@kindly", None, '"kind, and in one sentence"'),
    ],
)
def test_every_way_to_steer(
    server: Served, client: openai.OpenAI, model: str, steering: dict[str, Any] | None, condition: str
) -> None:
    """The reply is the condition's own, and the response says which condition that was."""
    name, wanted = model.partition("@")[0], parse(condition)
    reply = _ask(client, model, steering, temperature=0, max_tokens=12)
    assert reply.model_extra is not None
    used = reply.model_extra["steering"]
    assert {key: value for key, value in used.items() if key != "preset"} == to_json(wanted)
    policy = server.workers[name].policy
    (drawn,) = complete(policy, [Record(user(PROMPT))], [wanted], 1, 5, Decoding(0.0, 1.0, 12))
    (plain,) = complete(policy, [Record(user(PROMPT))], [None], 1, 5, Decoding(0.0, 1.0, 12))
    assert _texts(reply) == [drawn[0].text] != [plain[0].text]


def test_a_stream_says_what_the_whole_reply_says(client: openai.OpenAI) -> None:
    whole = _ask(client, steering=TRADE_OFF, n=2)
    chunks = list(
        client.chat.completions.create(
            model="desk", messages=ASK, n=2, seed=5, max_tokens=24, stream=True,
            stream_options={"include_usage": True}, extra_body={"steering": TRADE_OFF},
        )
    )  # fmt: skip
    *body, last = chunks
    assert last.choices == [] and last.usage == whole.usage
    assert all(chunk.usage is None for chunk in body)
    assert len({chunk.id for chunk in chunks}) == 1 and {c.object for c in chunks} == {"chat.completion.chunk"}
    for place, choice in enumerate(whole.choices):
        own = [chunk.choices[0] for chunk in body if chunk.choices[0].index == place]
        assert (own[0].delta.role, own[0].delta.content) == ("assistant", "")
        assert "".join(each.delta.content or "" for each in own) == choice.message.content
        assert [each.finish_reason for each in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].finish_reason == choice.finish_reason
        assert len(own) > 5
    assert body[0].model_extra == {"steering": TRADE_OFF}


def test_the_clients_own_way_to_read_a_stream(client: openai.OpenAI) -> None:
    """`chat.completions.stream` keeps the books of a stream, and is strict about what it sees."""
    with client.chat.completions.stream(
        model="desk", messages=ASK, seed=5, max_tokens=24, stop=".", logprobs=True, extra_body={"steering": TRADE_OFF}
    ) as stream:
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    whole = _ask(client, steering=TRADE_OFF, stop=".")
    assert whole.choices[0].finish_reason == "stop"  # of "length" the client's book-keeping makes an error
    assert [said] == [final.choices[0].message.content] == _texts(whole)
    assert final.choices[0].finish_reason == "stop"


def test_nothing_is_as_good_as_left_out(client: openai.OpenAI) -> None:
    """Clients that write every field, empty ones as null."""
    names = ("temperature", "top_p", "stop", "n", "stream", "logprobs", "top_logprobs", "max_completion_tokens")
    empty: dict[str, Any] = dict.fromkeys((*names, "stream_options", "steering", "tools", "user", "response_format"))
    asked = {"model": "desk", "messages": ASK, "seed": 5, "max_tokens": 8}
    one = client.post("/chat/completions", body=asked | empty, cast_to=ChatCompletion)
    assert _texts(one) == _texts(_ask(client, max_tokens=8))
    assert _texts(one) == _texts(_ask(client, max_tokens=8, top_logprobs=0, stop=[]))


def test_without_being_asked_a_stream_counts_nothing(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="desk", messages=ASK, max_tokens=4, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_stop_string_that_straddles_tokens(client: openai.OpenAI, stream: bool) -> None:
    """The end of one word and the beginning of the next: no token holds it."""
    text = _texts(_ask(client, temperature=0))[0]
    words = text.split(" ")
    stop = f"{words[3][-1]} {words[4][:2]}"
    expected = text[: text.index(stop)]
    assert expected
    if not stream:
        reply = _ask(client, temperature=0, stop=[stop, "not there"])
        assert (_texts(reply), reply.choices[0].finish_reason) == ([expected], "stop")
        assert reply.usage is not None and reply.usage.completion_tokens < 24
        return
    chunks = client.chat.completions.create(
        model="desk", messages=ASK, temperature=0, max_tokens=24, stream=True, stop=stop
    )
    choices = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.delta.content or "" for choice in choices) == expected
    assert choices[-1].finish_reason == "stop"


def test_log_probabilities(client: openai.OpenAI) -> None:
    reply = _ask(client, steering=TRADE_OFF, logprobs=True, top_logprobs=3, temperature=0)
    found = reply.choices[0].logprobs
    assert found is not None and found.content is not None
    text = reply.choices[0].message.content
    assert "".join(each.token for each in found.content) == text
    assert b"".join(bytes(each.bytes or []) for each in found.content).decode() == text
    for each in found.content:
        assert len(each.top_logprobs) == 3 and each.logprob <= 0
        assert [top.logprob for top in each.top_logprobs] == sorted(
            (t.logprob for t in each.top_logprobs), reverse=True
        )
        assert each.logprob == each.top_logprobs[0].logprob  # greedy takes the likeliest
    only = _ask(client, steering=TRADE_OFF, logprobs=True, temperature=0).choices[0].logprobs
    assert only is not None and only.content is not None
    assert [each.logprob for each in only.content] == pytest.approx([each.logprob for each in found.content], abs=1e-4)
    assert all(each.top_logprobs == [] for each in only.content)


def test_a_stream_brings_the_same_log_probabilities(client: openai.OpenAI) -> None:
    whole = _ask(client, logprobs=True, top_logprobs=2).choices[0].logprobs
    assert whole is not None and whole.content is not None
    chunks = client.chat.completions.create(
        model="desk", messages=ASK, seed=5, max_tokens=24, logprobs=True, top_logprobs=2, stream=True
    )
    found = [e for chunk in chunks if (own := chunk.choices[0].logprobs) for e in own.content or []]
    assert [each.token for each in found] == [each.token for each in whole.content]
    assert [each.logprob for each in found] == pytest.approx([each.logprob for each in whole.content], abs=1e-4)


def test_many_at_once_from_the_asynchronous_client(server: Served) -> None:
    """Thirty requests, each with its own weights, share the batches; each gets the reply that it gets alone."""

    async def every() -> list[list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            asked = [
                client.chat.completions.create(
                    model=f"desk@helpful={place / 10:g},funny={1 - place / 10:g}",
                    messages=ASK, seed=place, max_tokens=16, temperature=0.8,
                )
                for place in range(10)
            ]  # fmt: skip
            together = [_texts(reply) for reply in await asyncio.gather(*asked)]
            stream = await client.chat.completions.create(model="desk", messages=ASK, stream=True, max_tokens=6)
            assert len([chunk async for chunk in stream]) >= 6
            return together

    together = asyncio.run(every())
    conditions = [Weights({"helpful": place / 10, "funny": 1 - place / 10}) for place in range(10)]
    asked = [Request(user(PROMPT), weights, place << 32, 0.8, 1.0, 16) for place, weights in enumerate(conditions)]
    alone = [completion for each in asked for completion in Engine(server.workers["desk"].policy).generate([each])]
    assert together == [[completion.text] for completion in alone]


def test_the_same_seed_gives_the_same_reply_and_no_seed_another(client: openai.OpenAI) -> None:
    texts = [_texts(_ask(client, seed=seed, max_tokens=12, temperature=2)) for seed in (-3, -3, 4)]
    assert texts[0] == texts[1] != texts[2]
    free = [_texts(_ask(client, seed=None, max_tokens=12, temperature=2)) for _ in range(2)]
    assert free[0] != free[1]


def test_no_mass_is_the_likeliest_token(client: openai.OpenAI) -> None:
    assert _texts(_ask(client, top_p=0)) == _texts(_ask(client, temperature=0))


def test_a_dialogue_goes_on_with_what_the_client_kept(client: openai.OpenAI) -> None:
    """Clients send back the message object that they got, with all its empty fields."""
    first = _ask(client).choices[0].message
    dialogue: list[Any] = [
        {"role": "developer", "content": "Be kind."},
        *ASK,
        first.model_dump(),
        {"role": "user", "content": [{"type": "text", "text": "Thank "}, {"type": "text", "text": "you."}]},
    ]
    parts = client.chat.completions.create(model="desk", messages=dialogue, seed=1, max_completion_tokens=8)
    dialogue[-1] = {"role": "user", "content": "Thank you."}
    plain = client.chat.completions.create(model="desk", messages=dialogue, seed=1, max_tokens=8)
    assert _texts(parts) == _texts(plain)
    assert parts.usage is not None and parts.usage.prompt_tokens > 15
