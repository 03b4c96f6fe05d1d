"""Raw HTTP for hostile requests, and what must hold after each: the server is well, nothing hangs, every row is free."""

from __future__ import annotations

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2

from serving.served import Served

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {
    "model": "desk",
    "messages": [{"role": "user", "content": "My printer is broken."}],
    "seed": 5,
    "max_tokens": 12,
}
REFUSED = range(400, 500)
_CLIENT = httpx2.Client(timeout=30, trust_env=False, verify=False, limits=httpx2.Limits(max_keepalive_connections=0))


def post(server: Served, body: bytes, path: str = CHAT, content_type: str = "application/json") -> httpx2.Response:
    """A body as it is."""
    headers = {b"Content-Type": content_type.encode("latin-1")} if content_type else {}
    return _CLIENT.post(server.url + path, content=body, headers=headers)


def ask(server: Served, **changes: Any) -> httpx2.Response:
    """HELLO with changes, written as ASCII."""
    return post(server, json.dumps(HELLO | changes).encode())


def connect(server: Served) -> socket.socket:
    """A connection, 20 seconds of patience."""
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def head(length: int, path: str = CHAT) -> bytes:
    """The head of a request whose body has so many bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def told(response: httpx2.Response) -> str:
    """The message of an error, whose form is checked."""
    found = response.json()
    assert set(found) == {"error"} and set(found["error"]) == {"message", "type", "param", "code"}, found
    assert "Traceback" not in response.text
    return str(found["error"]["message"])


def is_well(server: Served, seconds: float = 5.0) -> None:
    """Healthy, nobody waits or runs, every row is free, and a request gets the reply that it always gets."""
    assert _CLIENT.get(server.url + "/healthz").status_code == 200
    ends = time.monotonic() + seconds
    while busy := {
        n: (w.running, w.waiting, w.busy_rows)
        for n, w in server.workers.items()
        if w.running or w.waiting or w.busy_rows
    }:
        assert time.monotonic() < ends, f"still at work after {seconds} s: {busy}"
        time.sleep(0.02)
    for worker in server.workers.values():
        assert worker.failure is None
    answered = ask(server)
    assert answered.status_code == 200, answered.text
    content = answered.json()["choices"][0]["message"]["content"]
    assert _KNOWN.setdefault(server.url, content) == content


_KNOWN: dict[str, str] = {}
