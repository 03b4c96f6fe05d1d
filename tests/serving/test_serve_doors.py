"""The doors over real HTTP: keys, rates, hosts, CORS, bodies, clients that leave or stall."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served
from tiny_server import BODY, CHAT, CLIENT, ENDLESS, ask, connected, count, get, idle, tiny_server, until, written

from pluralign.serving.keys import add_key


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with tiny_server(max_body=20_000) as found:
        yield found


# -- keys, rates, hosts, CORS --------------------------------------------------------------------------------------


def test_keys_are_asked_for_everywhere_but_for_health(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys", "ada")
    with tiny_server(keys_file=tmp_path / "keys", rate=3) as server:
        for path in (CHAT, "/v1/completions"):
            refused = ask(server, path=path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
            assert refused.headers["www-authenticate"] == "Bearer"
        assert ask(server, authorization="Bearer wrong").status_code == 401
        assert ask(server, authorization=f"Basic {key}").status_code == 401
        assert get(server, "/metrics").status_code == get(server, "/v1/models").status_code == 401
        assert get(server, "/healthz").status_code == 200
        assert get(server, "/metrics", authorization=f"Bearer {key}").status_code == 200
        for _ in range(3):  # what was refused above did not count
            assert ask(server, authorization=f"Bearer {key}").status_code == 200
        late = ask(server, authorization=f"Bearer {key}")
        assert (late.status_code, late.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 15 <= int(late.headers["retry-after"]) <= 20


def test_tokens_are_counted_as_they_are_drawn() -> None:
    with tiny_server(token_rate=30) as server:
        assert ask(server, {**BODY, "max_tokens": 60}).status_code == 200  # the bucket was full when it came
        late = ask(server)
        assert late.status_code == 429
        assert int(late.headers["retry-after"]) in range(60, 76)  # 4 + 60 tokens against 30, one every 2 seconds
        assert count(server, 'pluralign_refused_total{reason="rate_limit_exceeded"}') == 1


def test_on_loopback_only_its_own_names_are_answered(running: Served) -> None:
    assert ask(running, host="localhost:1234").status_code == 200
    with connected(running) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")  # a probe that names nobody
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    stranger = ask(running, host="example.org")
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (403, "unknown_host")
    with tiny_server(allowed_hosts=("example.org",)) as server:
        assert ask(server, host="Example.org").status_code == 200
        assert ask(server).status_code == 403


def test_pages_of_named_origins_alone_may_call(running: Served) -> None:
    here, there = "https://here.example", "https://there.example"
    assert "access-control-allow-origin" not in ask(running, origin=here).headers
    with tiny_server(cors=(here,)) as server:
        assert ask(server, origin=here).headers["access-control-allow-origin"] == here
        assert "access-control-allow-origin" not in ask(server, origin=there).headers
        asked = {"origin": here, "access-control-request-method": "POST"}
        assert CLIENT.options(server.url + CHAT, headers=asked).headers["access-control-allow-origin"] == here
        assert CLIENT.options(server.url + CHAT, headers=asked | {"origin": there}).status_code == 400


# -- bodies --------------------------------------------------------------------------------------------------------


def test_a_body_too_large_is_refused_unread(running: Served) -> None:
    refused = ask(running, {**BODY, "user": "x" * 30_000})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
    with connected(running) as client:  # no length told: counted while it comes
        head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head.encode() + 3 * (b"2710\r\n" + b"x" * 10_000 + b"\r\n"))
        assert client.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "text", [b"[" * 15_000, b'{"a":' * 3_000, b"{", b'{"a": "\\ud800"}', b"\xff\xfe{}", b'"\xc3("']
)
def test_what_is_no_json_is_refused_before_anybody_reads_it(running: Served, text: bytes) -> None:
    refused = CLIENT.post(running.url + CHAT, content=text, headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_json")


def test_a_body_that_never_comes_is_given_up() -> None:
    with tiny_server(stall=0.3) as server, connected(server) as client:
        client.sendall(written(BODY)[:-10])
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


# -- clients that leave or stall -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_rows(running: Served, stream: bool) -> None:
    steps = 'pluralign_step_seconds_count{model="tiny"}'
    gone = f'pluralign_disconnects_total{{path="{CHAT}"}}'
    before = count(running, gone)
    with connected(running) as client:
        client.sendall(written({**ENDLESS, "stream": stream, "n": 3}))
        until(lambda: running.workers["tiny"].busy_rows == 3)
    until(lambda: idle(running), 3.0)
    stopped = count(running, steps)
    assert count(running, steps) == stopped  # nothing runs on
    until(lambda: count(running, gone) == before + 1)
    assert ask(running).status_code == 200


def test_who_takes_nothing_is_given_up_and_costs_no_memory() -> None:
    """The reply goes on to its end or is cancelled: either way the rows are free, and the client is gone."""
    with tiny_server(stall=0.5) as server:
        with connected(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(written({**ENDLESS, "stream": True, "logprobs": True, "top_logprobs": 20, "n": 4}))
            until(lambda: server.workers["tiny"].busy_rows == 4)
            until(lambda: idle(server), 20.0)
            until(lambda: count(server, f'pluralign_disconnects_total{{path="{CHAT}"}}') == 1)
        until(lambda: not server.server.server_state.connections, 5.0)


def test_a_request_that_takes_too_long_is_told_so() -> None:
    with tiny_server(timeout=0.4) as server:
        late = ask(server, ENDLESS)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        stream = ask(server, {**ENDLESS, "stream": True})
        assert stream.status_code == 200
        assert '"code": "timeout"' in stream.text
        assert "[DONE]" not in stream.text
        until(lambda: idle(server))


def test_connections_are_counted_too() -> None:
    with tiny_server(connections=1) as server, connected(server) as client:
        client.sendall(written({**ENDLESS, "stream": True}))
        until(lambda: not idle(server))
        full = ask(server)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert get(server, "/healthz").status_code == get(server, "/metrics").status_code == 200


def _inside(server: Served, number: int) -> bool:
    return sum(worker.running + worker.waiting for worker in server.workers.values()) == number


def test_too_many_at_a_time_are_turned_away() -> None:
    with tiny_server(rows=1, queue=1, connections=3) as server:
        clients = [connected(server) for _ in range(2)]
        for number, client in enumerate(clients, start=1):
            client.sendall(written({**ENDLESS, "stream": True}))
            inside = functools.partial(_inside, server, number)
            until(inside)
        full = ask(server)
        assert (full.status_code, full.json()["error"]["code"]) == (429, "overloaded")
        assert int(full.headers["retry-after"]) >= 1
        assert count(server, 'pluralign_refused_total{reason="queue_full"}') == 1
        assert count(server, 'pluralign_queue_length{model="tiny"}') == 1
        assert count(server, 'pluralign_busy_rows{model="tiny"}') == 1
        for client in clients:
            client.close()
        until(lambda: idle(server))
