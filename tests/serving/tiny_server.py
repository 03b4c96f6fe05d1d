"""A real server with one tiny endless policy, and small words to talk with it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
from endless import endless
from served import Served, served

from pluralign.serving.settings import ServeSettings

CLIENT = httpx2.Client(timeout=30, trust_env=False, verify=False, limits=httpx2.Limits(max_keepalive_connections=0))
CHAT = "/v1/chat/completions"
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "tell me a joke"}], "max_tokens": 5}
ENDLESS = {**BODY, "max_tokens": 20_000}


@contextmanager
def tiny_server(**settings: Any) -> Iterator[Served]:
    how = ServeSettings(**{"port": 0, "max_tokens": 50_000, **settings})
    with served({"tiny": endless()}, None, how) as running:
        yield running


def ask(server: Served, body: Any = BODY, path: str = CHAT, **headers: str) -> httpx2.Response:
    """POST a body; names of headers with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return CLIENT.post(server.url + path, json=body, headers=named)


def get(server: Served, path: str, **headers: str) -> httpx2.Response:
    """GET a path."""
    return CLIENT.get(server.url + path, headers=headers)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.01)


def idle(server: Served) -> bool:
    return not any(worker.busy_rows or worker.waiting for worker in server.workers.values())


def count(server: Served, line: str) -> float:
    """The value of one line of /metrics, 0 where there is none."""
    found = [each for each in get(server, "/metrics").text.splitlines() if each.startswith(line + " ")]
    return float(found[0].split()[-1]) if found else 0.0


def connected(server: Served) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def written(body: Any, **headers: str) -> bytes:
    """A whole request."""
    text = json.dumps(body).encode()
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(text)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {CHAT} HTTP/1.1\r\n{head}\r\n".encode() + text
