"""The real OpenAI client meets a server that is full, and one that breaks off in the middle of a stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from endless import endless
from served import Served, served

from pluralign.serving.settings import ServeSettings

ASK: Any = [{"role": "user", "content": "tell me a joke"}]


@pytest.fixture
def small() -> Iterator[Served]:
    """A tiny model whose replies never end, one place and no line."""
    with served({"tiny": endless()}, settings=ServeSettings(port=0, rows=1, queue=0, max_tokens=50_000)) as running:
        yield running


def _client(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def _endless(client: openai.OpenAI) -> openai.Stream[Any]:
    """A stream of minutes."""
    return client.chat.completions.create(model="tiny@kind=1", messages=ASK, max_tokens=50_000, stream=True)


def test_a_full_server_says_when_to_come_again(small: Served) -> None:
    with _client(small) as client:
        stream = _endless(client)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as full:
            client.chat.completions.create(model="tiny", messages=ASK, max_tokens=4)
        assert full.value.status_code == 429 and full.value.code == "overloaded"
        assert int(full.value.response.headers["retry-after"]) >= 1
        with pytest.raises(openai.UnprocessableEntityError):  # what is wrong is said first
            client.chat.completions.create(model="tiny@kind=3", messages=ASK, max_tokens=4)
        stream.close()
    patient = openai.OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=3)
    with patient:  # the client comes again by itself
        assert patient.chat.completions.create(model="tiny", messages=ASK, max_tokens=4).choices


def _is_free(server: Served) -> bool:
    """Within seconds; a reply takes minutes."""
    worker, pause = server.workers["tiny"], threading.Event()
    return any(worker.busy_rows == 0 or pause.wait(0.02) for _ in range(400))


def test_nobody_works_for_a_client_that_has_left(small: Served) -> None:
    """In the middle of a stream, and before a whole reply of which nothing has been sent."""
    with _client(small) as client:
        stream = _endless(client)
        next(iter(stream))
        assert small.workers["tiny"].busy_rows == 1
        stream.close()
        assert _is_free(small)
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model="tiny", messages=ASK, max_tokens=50_000, timeout=0.3)
        assert _is_free(small)
        assert client.chat.completions.create(model="tiny", messages=ASK, max_tokens=2).usage is not None


def test_a_stream_that_breaks_says_so(small: Served) -> None:
    with _client(small) as client:
        stream = iter(_endless(client))
        next(stream)
        small.workers["tiny"].close(0.0)
        with pytest.raises(openai.APIError) as broken:
            list(stream)
        assert broken.value.code == "shutting_down" and broken.value.type == "server_error"
        with pytest.raises(openai.InternalServerError) as closed:
            client.chat.completions.create(model="tiny", messages=ASK, max_tokens=4)
        assert closed.value.status_code == 503
