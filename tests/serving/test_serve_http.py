"""What goes over the wire: headers, events, lists of models, the documents that describe it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx2
import openai
import pytest
from served import Served

import tiny
from pluralign.data.condition import Bounds, Weights
from pluralign.serving.documents import ChatReply, ErrorReply, ModelList, TextReply, chat_examples
from pluralign.serving.steering_field import read_steering, split_model
from pluralign.steering.plural import PluralSteering

CHAT: dict[str, Any] = {
    "model": "desk@calm",
    "messages": [{"role": "user", "content": "My printer is broken."}],
    "max_tokens": 6,
    "seed": 1,
}


@pytest.fixture(scope="module")
def http(server: Served) -> Iterator[httpx2.Client]:
    """A plain client."""
    with httpx2.Client(base_url=server.url) as made:
        yield made


def test_a_stream_byte_by_byte(http: httpx2.Client) -> None:
    """Events of one line each; who speaks comes first, [DONE] last, and nothing behind it."""
    with http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as got:
        assert got.status_code == 200
        assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert got.headers["cache-control"] == "no-cache" and got.headers["x-accel-buffering"] == "no"
        assert "content-length" not in got.headers
        events = b"".join(got.iter_raw()).decode("ascii").split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") and "\n" not in event for event in events[:-2])
    first, *middle, last = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "", "refusal": None},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert first["steering"] == {"weights": {"helpful": 0.7, "funny": 0.3}, "preset": "calm"}
    assert len(middle) == 6 and all(set(each["choices"][0]["delta"]) == {"content"} for each in middle)
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    assert all("usage" not in each for each in (first, *middle, last))


def test_replies_have_the_shape_that_is_documented(http: httpx2.Client) -> None:
    for more in ({}, {"logprobs": True, "top_logprobs": 2, "n": 2}):
        got = http.post("/v1/chat/completions", json=CHAT | more)
        assert got.headers["content-type"] == "application/json"
        ChatReply.model_validate_json(got.content, strict=True)
    text = {"model": "desk", "prompt": ["Hello.", "Thanks."], "logprobs": 2, "max_tokens": 4}
    TextReply.model_validate_json(http.post("/v1/completions", json=text).content, strict=True)
    ModelList.model_validate_json(http.get("/v1/models").content, strict=True)
    ErrorReply.model_validate_json(http.post("/v1/completions", json={}).content, strict=True)


def test_every_policy_and_every_preset_is_a_model(http: httpx2.Client) -> None:
    listed = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
    assert list(listed) == [
        "desk", "words", "scores",
        "desk@calm", "desk@strong", "words@calm", "words@strong", "words@kindly",
        "scores@calm", "scores@strong", "scores@four",
    ]  # fmt: skip
    assert listed["desk"]["steering"]["accepts"] == ["weights"]
    assert listed["desk"]["steering"]["weights_sum_to_1"] is True
    assert listed["desk"]["steering"]["objectives"][0] == {
        "name": "helpful", "description": "gives steps that fit the problem", "weight": [0, 1], "range": [0, 4],
        "direction": "higher", "safety": False,
    }  # fmt: skip
    assert (
        listed["scores@four"]["condition"] == {"targets": {"funny": 4.0}}
        and listed["scores@four"]["parent"] == "scores"
    )
    for name, model in listed.items():
        assert http.get(f"/v1/models/{name}").json() == model
        assert model["object"] == "model" and model["owned_by"] == "pluralign"


def test_a_model_through_the_client(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()][3] == "desk@calm"
    assert client.models.retrieve("desk@calm").parent == "desk"  # type: ignore[attr-defined]


def test_models_that_are_none(http: httpx2.Client) -> None:
    got = http.get("/v1/models/nobody@calm")
    assert got.status_code == 404 and got.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_paths_that_are_none(http: httpx2.Client, method: str, path: str, status: int, code: str) -> None:
    got = http.request(method, path)
    assert (got.status_code, got.json()["error"]["code"]) == (status, code)
    if status == 405:
        assert got.headers["allow"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"model": "desk", ', 400, "invalid_json"),
        (b"", 422, "invalid_type"),
        (b"[]", 422, "invalid_type"),
        (b'"desk"', 422, "invalid_type"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"model": "\\ud800", "prompt": "x"}', 400, "invalid_json"),
        (b'{"model": "desk", "prompt": "x", "temperature": NaN}', 422, "invalid_value"),
        (b'{"model": "desk", "prompt": "x", "temperature": 1e999}', 422, "invalid_value"),
    ],
)
def test_bodies_that_are_no_requests(http: httpx2.Client, content: bytes, status: int, code: str) -> None:
    got = http.post("/v1/completions", content=content, headers={"content-type": "application/json"})
    assert (got.status_code, got.json()["error"]["code"]) == (status, code)


def test_a_body_of_another_type(http: httpx2.Client) -> None:
    got = http.post("/v1/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert got.status_code == 422 and "application/json" in got.json()["error"]["message"]


def test_the_documents_describe_it(server: Served, http: httpx2.Client) -> None:
    described = http.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/models/{model}", "/healthz", "/metrics",
    }  # fmt: skip
    chat = described["paths"]["/v1/chat/completions"]["post"]
    assert {"200", "400", "404", "422", "429", "500", "503", "504"} <= set(chat["responses"])
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    body = chat["requestBody"]["content"]["application/json"]
    assert all(each["value"]["model"].startswith("desk") for each in body["examples"].values())
    schema = described["components"]["schemas"]["ChatRequest"]
    assert {"model", "messages", "steering", "seed", "stop", "logprobs"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


class _Sources(HTMLParser):
    """What a page names, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.examples: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Tags that load, and the options of the examples."""
        found = dict(attrs)
        if tag == "option":
            self.examples.append(found["value"] or "")
        elif tag not in ("a", "meta"):
            self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def test_the_page_needs_nothing_from_elsewhere(http: httpx2.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    sources = _Sources()
    sources.feed(page.text)
    assert sources.loaded == [] and "://" not in page.text
    assert [json.loads(each)["max_tokens"] for each in sources.examples] == [60] * 8
    for told in ("POST</span> /v1/chat/completions", "temperature", "number from 0 to 2", "Retry-After", "/healthz"):
        assert told in page.text
    script = page.text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.headers["content-security-policy"]


def test_every_example_is_answered(http: httpx2.Client) -> None:
    """As it stands: the page's button sends it."""
    paths = http.get("/openapi.json").json()["paths"]
    for path in ("/v1/chat/completions", "/v1/completions"):
        examples = paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert list(examples) == ["a trade-off", "in the model's name, streamed", "a preset", "without steering"]
        for example in examples.values():
            got = http.post(path, json=example["value"] | {"max_tokens": 2})
            assert got.status_code == 200, got.text


def test_examples_of_other_policies(server: Served) -> None:
    """Each is a request that the policy takes."""
    for name in ("words", "scores"):
        worker = server.workers[name]
        for body in chat_examples(name, worker.policy, {}).values():
            _, suffix = split_model(body["model"], server.workers)
            read_steering(worker.policy, {}, suffix, body.get("steering"))
    bounded = tiny.policy(PluralSteering())
    bounded.bounds = Bounds({"kind": (0.0, 0.2), "brief": (0.1, 0.5)})
    assert chat_examples("m", bounded, {})["a trade-off"]["steering"] == {
        "weights": pytest.approx({"kind": 0.2, "brief": 0.5, "funny": 0.3})
    }
    bounded.bounds = Bounds({"kind": (0.0, 0.2)}, simplex=False)
    example = chat_examples("m", bounded, {})["a trade-off"]["steering"]
    assert read_steering(bounded, {}, None, example).condition == Weights({"kind": 0.0, "brief": 0.0, "funny": 0.0})


def test_health(http: httpx2.Client) -> None:
    got = http.get("/healthz")
    assert (got.status_code, got.json()) == (
        200,
        {"status": "ok", "models": {"desk": "ok", "words": "ok", "scores": "ok"}},
    )
