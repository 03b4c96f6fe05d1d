"""Clients that break the protocol, stall, leave or never speak: the server answers the others, and gives every row back."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from pluralign.serving.settings import ServeSettings
from serving.conftest import desk
from serving.served import Served, served
from serving.wire import HELLO, connect, head, is_well

STALL = 0.5
BODY = json.dumps(HELLO).encode()
LONG = json.dumps(HELLO | {"max_tokens": 120, "stream": True, "temperature": 0.2}).encode()


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    """A server that gives clients up after half a second."""
    with served({"desk": desk()}, settings=ServeSettings(port=0, stall=STALL, timeout=20)) as running:
        yield running


def _read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes; fails where it does not within the connection's patience."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def _reset(connection: socket.socket) -> None:
    """Leave at once, without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


BROKEN = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "length negative": head(-5) + BODY,
    "length of no number": head(0).replace(b": 0\r\n", b": five\r\n") + BODY,
    "two lengths": head(5).replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n") + BODY,
    "length and chunks": head(5).replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    + b"0\r\n\r\n",
    "chunk of no number": b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "NUL in a header": head(2).replace(b"127.0.0.1", b"127.0\0.1") + b"{}",
    "endless head": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000,
    "many headers": b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 30_000,
    "endless path": b"GET /" + b"a" * 200_000,
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "another's host": b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_a_broken_protocol_is_refused_and_the_connection_closed(hasty: Served, sent: bytes) -> None:
    with connect(hasty) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        answer = _read_all(connection)
    assert not answer or answer.split()[1].startswith(b"4"), answer[:200]
    is_well(hasty)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat", head(500)[:-2], head(500), head(500) + BODY[:20]], ids=len)
def test_who_stalls_is_given_up(hasty: Served, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(hasty)) for _ in range(20)]
        for connection in connections:
            connection.sendall(sent)
        began = time.monotonic()
        is_well(hasty)
        answers = {_read_all(connection)[:12] for connection in connections}
        assert answers <= {b"", b"HTTP/1.1 408"}
        assert time.monotonic() - began < 10 * STALL + 2


def test_a_body_that_trickles_is_given_up_or_answered(hasty: Served) -> None:
    with connect(hasty) as connection:
        connection.sendall(head(len(BODY)))
        for place in range(0, len(BODY), 40):
            connection.sendall(BODY[place : place + 40])
            time.sleep(0.02)
        assert connection.recv(12) == b"HTTP/1.1 200"
    is_well(hasty)


def test_a_body_that_is_too_short_or_too_long(hasty: Served) -> None:
    with connect(hasty) as connection:
        connection.sendall(head(len(BODY) + 50) + BODY)
        connection.shutdown(socket.SHUT_WR)
        assert not _read_all(connection).startswith(b"HTTP/1.1 200")
    with connect(hasty) as connection:
        connection.sendall(head(len(BODY)) + BODY + b"garbage\r\n\r\n")
        answer = _read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 400" in answer
    is_well(hasty)


def test_requests_in_a_row_are_answered_in_order(hasty: Served) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"".join(head(len(body)) + body for body in [BODY, b"{}", BODY]))
        answer = b""
        while answer.count(b"HTTP/1.1 ") < 3 or not answer.rstrip().endswith(b"}"):
            part = connection.recv(65536)
            assert part, answer
            answer += part
    assert [line.split()[1] for line in answer.split(b"HTTP/1.1")[1:] for line in [b"x" + line]] == [
        b"200",
        b"422",
        b"200",
    ]
    is_well(hasty)


@pytest.mark.parametrize("after", [0, 1, 2000])
@pytest.mark.parametrize("how", ["reset", "close", "half"])
def test_who_leaves_frees_the_rows(hasty: Served, how: str, after: int) -> None:
    for _ in range(20):
        connection = connect(hasty)
        connection.sendall(head(len(LONG)) + LONG)
        left = after
        while left > 0 and (part := connection.recv(left)):
            left -= len(part)
        if how == "reset":
            _reset(connection)
        elif how == "half":
            connection.shutdown(socket.SHUT_WR)
            _read_all(connection)
        connection.close()
    is_well(hasty)


def test_more_connections_than_requests_do_not_shut_others_out(hasty: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connect(hasty))
        is_well(hasty)
