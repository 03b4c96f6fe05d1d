"""What is wrong with a request is said before anything is queued: which field, and what is allowed instead."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from served import Served

ASK = [{"role": "user", "content": "Hello."}]
CHAT: dict[str, Any] = {"model": "desk", "messages": ASK, "max_tokens": 2}
TEXT: dict[str, Any] = {"model": "desk", "prompt": "Hello.", "max_tokens": 2}


@pytest.fixture(scope="module")
def post(server: Served) -> Any:
    """(status, error) of a body; (200, the reply)."""
    with httpx2.Client(base_url=server.url) as http:

        def send(body: Any, path: str = "/v1/chat/completions") -> tuple[int, Any]:
            before = server.workers["desk"].waiting, server.workers["desk"].running
            got = http.post(path, json=body)
            if got.status_code != 200:
                assert (server.workers["desk"].waiting, server.workers["desk"].running) == before == (0, 0)
                assert set(got.json()) == {"error"} and set(got.json()["error"]) == {"message", "type", "param", "code"}
                return got.status_code, got.json()["error"]
            return 200, got.json()

        yield send


@pytest.mark.parametrize(
    ("steering", "told"),
    [
        ({"weights": {"helpful": 0.7, "fun": 0.3}}, ["'fun'", "helpful", "funny"]),  # unknown objective
        ({"weights": {"helpful": 1.5}}, ["helpful=1.5", "[0, 1]"]),  # outside the bound, which is named
        ({"weights": {"helpful": 0.2, "funny": 0.2}}, ["sum to 1", "helpful=0.5"]),
        ({"weights": {"helpful": "0.7"}}, ["helpful", "number", "'0.7'"]),  # wrong type
        ({"weights": {"helpful": True}}, ["helpful", "number", "True"]),
        ({"weights": {"helpful": 1}, "strength": -1}, ["-1", "0 or more"]),
        ({"weights": {"helpful": 1}, "strength": 1e9}, ["1e+09", "bound 10"]),
        ({"weights": {}}, ["no objective"]),
        ({"weights": ["helpful"]}, ["object of objective -> number"]),
        ({"weights": {"helpful": 1}, "targets": {"helpful": 4}}, ["exactly one"]),
        ({"weights": {"helpful": 1}, "strengh": 2}, ["'weights', 'targets', 'feedback'"]),
        ({"targets": {"helpful": 4}}, ["steered by weights"]),  # not this policy's kind
        ({"feedback": "kind"}, ["weights"]),
        ({"preset": "loud"}, ["'loud'", "calm", "strong"]),
        ({"preset": "calm", "strength": 2}, ["a preset stands alone"]),
        ({"preset": 3}, ["calm"]),
        ("helpful=1", ["'weights', 'targets' or 'feedback'"]),
        ([1], ["object"]),
    ],
)
def test_steering_that_this_model_cannot_follow(post: Any, steering: Any, told: list[str]) -> None:
    status, error = post(CHAT | {"steering": steering})
    assert (status, error["param"], error["type"]) == (422, "steering", "invalid_request_error")
    for each in [*told, "Allowed: weights of helpful [0, 1]", "the presets calm, strong"]:
        assert each in error["message"]


@pytest.mark.parametrize(
    ("model", "status", "told"),
    [
        ("nobody", 404, ["'nobody'", "desk, words, scores"]),
        ("nobody@calm", 404, ["'nobody'"]),
        ("desk@", 422, ["desk@PRESET"]),
        ("desk@loud", 422, ["'loud'", "the presets calm, strong"]),
        ("desk@helpful=2", 422, ["helpful=2", "[0, 1]"]),
        ("desk@helpful=a", 422, ["'helpful=a'", "helpful=0.7"]),
        ("desk@kindly", 422, ["'kindly'"]),  # a preset of the other model
    ],
)
def test_names_of_models(post: Any, model: str, status: int, told: list[str]) -> None:
    found, error = post(CHAT | {"model": model})
    assert (found, error["param"]) == (status, "model")
    assert (error["code"] == "model_not_found") == (status == 404)
    for each in told:
        assert each in error["message"]


def test_steering_is_given_once(post: Any) -> None:
    status, error = post(CHAT | {"model": "desk@calm", "steering": {"preset": "calm"}})
    assert (status, error["param"]) == (422, "steering") and "twice" in error["message"]


UNSUPPORTED = {
    "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required", "functions": [{"name": "f"}],
    "function_call": {"name": "f"}, "audio": {"voice": "v", "format": "wav"}, "modalities": ["text", "audio"],
    "logit_bias": {"50": 10}, "frequency_penalty": 0.5, "presence_penalty": -1, "metadata": {"a": "b"}, "store": True,
    "prediction": {"type": "content", "content": "x"}, "reasoning_effort": "high", "service_tier": "flex",
    "response_format": {"type": "json_object"}, "web_search_options": {}, "verbosity": "low", "moderation": {"model": "m"},
    "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"},
}  # fmt: skip
NEUTRAL = {
    "tools": [], "tool_choice": "auto", "functions": [], "function_call": "none", "audio": None, "modalities": ["text"],
    "logit_bias": {}, "frequency_penalty": 0, "presence_penalty": 0.0, "metadata": {}, "store": False, "prediction": None,
    "reasoning_effort": None, "service_tier": "auto", "response_format": {"type": "text"}, "web_search_options": None,
    "verbosity": "medium", "moderation": None, "user": "somebody", "parallel_tool_calls": True, "safety_identifier": "s",
    "prompt_cache_key": "k", "prompt_cache_retention": None, "prompt_cache_options": {},
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_the_server_does_not_have_is_refused_by_name(post: Any, name: str) -> None:
    status, error = post(CHAT | {name: UNSUPPORTED[name]})
    assert (status, error["code"], error["param"]) == (422, "unsupported_parameter", name)
    assert error["message"].startswith(f"{name} is not supported: ")


def test_where_it_changes_nothing_it_is_allowed(post: Any) -> None:
    status, reply = post(CHAT | NEUTRAL)
    assert status == 200, reply


def test_every_parameter_of_the_client_is_known() -> None:
    """None of the real client's parameters is answered with 'unknown'."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsBase as Chat
    from openai.types.completion_create_params import CompletionCreateParamsBase as Text

    from pluralign.serving.neutral import CHAT as OF_CHAT
    from pluralign.serving.neutral import COMPLETION as OF_TEXT
    from pluralign.serving.schemas import ChatRequest, CompletionRequest

    assert set(Chat.__annotations__) - set(OF_CHAT) - set(ChatRequest.model_fields) == set()
    assert set(Text.__annotations__) - set(OF_TEXT) - set(CompletionRequest.model_fields) == set()


@pytest.mark.parametrize(
    ("change", "param", "told"),
    [
        ({"temperature": 2.5}, "temperature", "less than or equal to 2"),
        ({"temperature": "1"}, "temperature", "number"),
        ({"temperature": True}, "temperature", "number"),
        ({"top_p": -0.1}, "top_p", "greater than or equal to 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": 2.5}, "max_tokens", "integer"),
        ({"max_tokens": 5000}, "max_tokens", "at most 1024"),
        ({"max_completion_tokens": 3}, None, "two names of one limit"),
        ({"n": 9}, "n", "more than the 8 replies"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"seed": 1.5}, "seed", "integer"),
        ({"seed": 2**70}, "seed", "less than"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4"),
        ({"stop": ""}, "stop[0]", "at least 1 character"),
        ({"stop": [1]}, "stop", "a list of at most 4 texts"),
        ({"top_logprobs": 2}, None, "needs logprobs"),
        ({"logprobs": 2}, "logprobs", "boolean"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
        ({"stream_options": {"include_usage": True}}, None, "streams only"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation", "not supp"),
        ({"top_k": 5}, "top_k", "unknown"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": ASK * 2049}, "messages", "at most 2048 items"),
        ({"messages": "Hello"}, "messages", "list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "'system', 'developer', 'user' or 'assistant'"),
        ({"messages": [{"role": "condition", "content": "x"}]}, "messages[0].role", "'user'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "string"),
        ({"messages": [*ASK, {"role": "user", "content": "x", "name": "Ann"}]}, "messages[1].name", "not supported"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "messages[0].content", "text only"),
    ],
)  # fmt: skip
def test_types_and_ranges(post: Any, change: dict[str, Any], param: str | None, told: str) -> None:
    status, error = post(CHAT | change)
    assert (status, error["param"], error["type"]) == (422, param, "invalid_request_error")
    assert told in error["message"]


@pytest.mark.parametrize(
    ("change", "param", "told"),
    [
        ({"prompt": [1, 2, 3]}, "prompt", "token ids are not taken"),
        ({"prompt": []}, "prompt", "at least 1 item"),
        ({"prompt": ["a"] * 5, "n": 2}, "n", "5 prompts with n=2"),
        ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
        ({"logprobs": True}, "logprobs", "integer"),
        ({"best_of": 3}, "best_of", "only 1"),
        ({"suffix": "end"}, "suffix", "not supported"),
        ({"echo": True, "logprobs": 1}, None, "cannot be combined"),
        ({"messages": ASK}, "messages", "unknown"),
    ],
)
def test_types_and_ranges_of_completions(post: Any, change: dict[str, Any], param: str | None, told: str) -> None:
    status, error = post(TEXT | change, "/v1/completions")
    assert (status, error["param"]) == (422, param)
    assert told in error["message"]


def test_more_than_the_context_is_refused_and_never_cut(server: Served, post: Any) -> None:
    whole = server.workers["desk"].policy.model.config.max_position_embeddings
    status, error = post(CHAT | {"messages": [{"role": "user", "content": "printer " * whole}]})
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")
    assert f"{whole} tokens" in error["message"]
    status, error = post(CHAT | {"messages": [{"role": "user", "content": "printer " * 3 * whole}]})  # not even encoded
    assert (status, error["code"]) == (400, "context_length_exceeded") and f"{24 * whole} letters" in error["message"]
    status, error = post(CHAT | {"max_tokens": whole})
    assert (status, error["code"]) == (400, "context_length_exceeded")
    status, error = post(TEXT | {"prompt": "printer " * whole}, "/v1/completions")
    assert (status, error["param"]) == (400, "prompt")


def test_a_reply_without_a_limit_gets_what_the_context_leaves(server: Served, post: Any) -> None:
    whole = server.workers["desk"].policy.model.config.max_position_embeddings
    long = [{"role": "user", "content": "printer " * (whole - 8)}]
    status, reply = post({"model": "desk", "messages": long, "temperature": 2, "seed": 1})
    assert status == 200
    assert reply["usage"]["total_tokens"] <= whole


def test_the_clients_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hi"}])
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.UnprocessableEntityError) as wrong:
        client.completions.create(model="desk", prompt="Hi", extra_body={"steering": {"weights": {"nice": 1}}})
    assert (wrong.value.param, wrong.value.type) == ("steering", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="desk", prompt="printer " * 500)
    assert long.value.code == "context_length_exceeded"
