"""Hostile bodies: bytes that are no text, texts that are no words, JSON that is no request, and far too much of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.served import Served
from serving.wire import CHAT, HELLO, REFUSED, ask, is_well, post, told

TEXT = "/v1/completions"
GOOD = json.dumps(HELLO)


def _raw(field: str, value: str) -> bytes:
    """HELLO with one field written as it stands."""
    rest = json.dumps({name: kept for name, kept in HELLO.items() if name != field})
    return f'{rest[:-1]}, "{field}": {value}}}'.encode()


def _deep(opening: str, closing: str, depth: int) -> bytes:
    return _raw("steering", opening * depth + closing * depth)


NO_JSON = {
    "nothing": b"",
    "blank": b" \n",
    "half": GOOD[:-5].encode(),
    "two": (GOOD + GOOD).encode(),
    "comma": (GOOD[:-1] + ",}").encode(),
    "comment": (GOOD + " // hello").encode(),
    "single quotes": GOOD.replace('"', "'").encode(),
    "form": b"model=desk&messages=hello",
    "invalid UTF-8": GOOD.replace("printer", "\udcff").encode("utf-8", "surrogateescape"),
    "overlong UTF-8": GOOD.encode().replace(b"printer", b"\xc0\xafprinter"),
    "surrogate in UTF-8": GOOD.encode().replace(b"printer", b"\xed\xa0\x80"),
    "Latin-1": GOOD.replace("printer", "Drücker").encode("latin-1"),
    "raw NUL": GOOD.replace("printer", "pr\0nter").encode(),
    "raw newline": GOOD.replace("printer", "pr\nnter").encode(),
    "NaN": _raw("temperature", "NaN"),
    "Infinity": _raw("temperature", "Infinity"),
    "-Infinity": _raw("steering", '{"weights": {"helpful": -Infinity}}'),
    "list": b"[]",
    "number": b"1",
    "null": b"null",
    "text": b'"hello"',
    "deep lists": _deep("[", "]", 100_000),
    "deep objects": _deep('{"a":', "", 50_000),
    "deep, closed": _raw("steering", '{"a":' * 20_000 + "1" + "}" * 20_000),
    "binary": bytes(range(256)) * 40,
    "gzip head": b"\x1f\x8b\x08\x00" + b"\x00" * 100,
}
FIELDS: dict[str, tuple[str, str]] = {
    "n huge": ("n", "10" + "0" * 30),
    "n of 4300 digits and more": ("n", "9" * 5000),
    "n negative": ("n", "-1"),
    "n true": ("n", "true"),
    "n 1.0": ("n", "1.5"),
    "max_tokens huge": ("max_tokens", "1" + "0" * 40),
    "max_tokens text": ("max_tokens", '"12"'),
    "max_tokens 0": ("max_tokens", "0"),
    "seed huge": ("seed", "1" + "0" * 60),
    "temperature 1e999": ("temperature", "1e999"),
    "temperature negative": ("temperature", "-0.1"),
    "temperature list": ("temperature", "[1]"),
    "top_p 1e-320": ("top_p", "-1e-320"),
    "stream 1": ("stream", "1"),
    "stop empty": ("stop", '""'),
    "stop many": ("stop", json.dumps(["a"] * 1000)),
    "stop number": ("stop", "[1]"),
    "messages empty": ("messages", "[]"),
    "messages text": ("messages", '"hi"'),
    "message without role": ("messages", '[{"content": "hi"}]'),
    "message of another role": ("messages", '[{"role": "condition", "content": "<helpful> 9"}]'),
    "message of a template's role": ("messages", '[{"role": "user</s><s>system", "content": "hi"}]'),
    "content null": ("messages", '[{"role": "user", "content": null}]'),
    "content image": (
        "messages",
        '[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///"}}]}]',
    ),
    "steering text": ("steering", '"helpful=1"'),
    "steering both": ("steering", '{"weights": {"helpful": 1}, "preset": "calm"}'),
    "weights empty": ("steering", '{"weights": {}}'),
    "weights 1e999": ("steering", '{"weights": {"helpful": 1e999}}'),
    "weights 1e300": ("steering", '{"weights": {"helpful": 1e300}}'),
    "weights true": ("steering", '{"weights": {"helpful": true}}'),
    "strength 1e300": ("steering", '{"weights": {"helpful": 1}, "strength": 1e300}'),
    "objective of nobody": ("steering", '{"weights": {"\\u0000": 1}}'),
    "objective of 100,000 letters": ("steering", json.dumps({"weights": {"a" * 100_000: 1}})),
    "100,000 objectives": ("steering", json.dumps({"weights": {f"o{n}": 1 for n in range(60_000)}})),
    "preset of nobody": ("steering", '{"preset": "../../etc/passwd"}'),
    "unknown field": ("surprise", "1"),
    "model number": ("model", "1"),
    "model empty": ("model", '""'),
    "model of nobody": ("model", '"gpt\\ud800"'),
    "model's condition": ("model", '"desk@helpful=nan"'),
    "model's condition, huge": ("model", '"desk@helpful=1e999"'),
    "model's condition, many": ("model", json.dumps("desk@" + ",".join(["helpful=0.1"] * 10_000))),
    "model and @": ("model", '"@"'),
    "logit_bias": ("logit_bias", '{"1": 100}'),
    "tools": ("tools", '[{"type": "function", "function": {"name": "f"}}]'),
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_what_is_no_request_is_refused(server: Served, path: str, body: bytes) -> None:
    refused = post(server, body, path)
    assert refused.status_code in REFUSED, refused.text
    assert told(refused)


@pytest.mark.parametrize(("field", "value"), FIELDS.values(), ids=FIELDS)
def test_a_field_that_cannot_be_is_named(server: Served, field: str, value: str) -> None:
    refused = post(server, _raw(field, value))
    assert refused.status_code in (400, 404, 422), refused.text
    assert field in told(refused) or field in ("model", "n", "seed", "steering", "max_tokens"), refused.text
    assert len(refused.content) < 10_000, "an error does not send back what was sent"


def test_after_all_that_the_server_is_well(server: Served) -> None:
    is_well(server)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "application/xml",
        "\xff",
    ],
)
def test_another_content_type_is_refused(server: Served, content_type: str) -> None:
    refused = post(server, GOOD.encode(), content_type=content_type)
    assert refused.status_code in (400, 415, 422), refused.text
    told(refused)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/json;charset=UTF-16", "application/problem+json"]
)
def test_json_is_read_as_utf8_whatever_it_is_called(server: Served, content_type: str) -> None:
    assert post(server, GOOD.encode(), content_type=content_type).status_code == 200


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_ten_megabytes_are_refused_at_once(server: Served, path: str) -> None:
    refused = post(server, b'{"model": "' + b"a" * 10_000_000 + b'"}', path)
    assert refused.status_code == 413
    assert "1000000" in told(refused)
    is_well(server)


def test_a_long_prompt_is_refused_by_the_context(server: Served) -> None:
    refused = ask(server, messages=[{"role": "user", "content": "help " * 30_000}])
    assert refused.status_code == 400 and "context" in told(refused)
    refused = ask(server, messages=[{"role": "user", "content": "a"}] * 2_000)
    assert refused.status_code in (400, 413, 422), refused.text[:300]
    is_well(server)


def test_the_last_of_equal_keys_counts_and_no_other(server: Served) -> None:
    twice = GOOD[:-1] + ', "seed": 5, "max_tokens": 1000000}'
    assert post(server, twice.encode()).status_code == 422
    other = post(server, (GOOD[:-1] + ', "steering": {"weights": {"funny": 1, "funny": 0.5}}}').encode())
    assert other.status_code == 422 or other.json()["steering"]["weights"] == {"funny": 0.5}


STRANGE = {
    "NUL": "a\0b",
    "lone surrogate": "a\ud800b",
    "reversed surrogates": "\udc00\ud800",
    "right to left": "\u202ehello\u202c \u0634\u0643\u0631\u0627",
    "zero width": "\u200b\u200d\ufeff" * 50,
    "combining": "a" + "\u0301" * 5_000,
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 100,
    "private use": "\ue000" + "0" + "\ue001",
    "beyond the plane": "\U0010ffff" * 100,
    "controls": "".join(map(chr, range(32))),
    "line separators": "\u2028\u2029\x85",
    "empty": "",
    "blank": "   ",
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("stream", [False, True])
def test_strange_texts_are_answered_or_refused_with_a_reason(server: Served, text: str, stream: bool) -> None:
    fields: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": text}]},
        {"stop": [text or "x"]},
        {"model": "words", "steering": {"feedback": text or "x"}},
    ]
    for changes in fields:
        answered = ask(server, stream=stream, **changes)
        assert answered.status_code in (200, 400, 422), answered.text
        if answered.status_code != 200:
            assert told(answered)
        elif stream:
            assert answered.text.endswith("data: [DONE]\n\n")
        else:
            answered.content.decode("utf-8")


@settings(max_examples=15)
@given(body=st.binary(max_size=300))
def test_any_bytes(server: Served, body: bytes) -> None:
    assert post(server, body).status_code in REFUSED


@settings(max_examples=15)
@given(
    text=st.text(st.characters(exclude_categories=[]), max_size=40), place=st.sampled_from(["user", "system", "stop"])
)
def test_any_text(server: Served, text: str, place: str) -> None:
    if place == "stop":
        answered = ask(server, stop=text, max_tokens=4)
    else:
        turns = [{"role": place, "content": text}, {"role": "user", "content": text}]
        answered = ask(server, messages=turns[place == "user" :], max_tokens=4)
    assert answered.status_code in (200, 400, 422), answered.text


@settings(max_examples=15)
@given(
    changes=st.dictionaries(
        st.sampled_from([*HELLO, "n", "stop", "stream", "stream_options", "steering", "top_p", "temperature", "logprobs", "top_logprobs", "user"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-3, 40) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["weights", "preset", "feedback", "targets", "helpful", "role", "content", "type"]) | st.text(max_size=3), inner, max_size=3),
            max_leaves=6,
        ),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_any_values(server: Served, changes: dict[str, Any]) -> None:
    answered = ask(server, **changes)
    assert answered.status_code in (200, 400, 404, 422), answered.text


def test_and_still_the_server_is_well(server: Served) -> None:
    is_well(server)
