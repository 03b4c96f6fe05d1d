"""A real HTTP server on loopback that speaks the chat protocol; a rule answers, or a list of faults comes first."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Rule = Callable[[dict[str, Any]], str]


class Server:
    """`rule` maps a request's body to an answer. `faults`: statuses, or "garbage", "empty", "slow", "close", given to
    the first requests instead. `bodies`: all that was asked; `most`: requests that were under way at once."""

    def __init__(self, rule: Rule, faults: tuple[int | str, ...] = (), always: int | str | None = None) -> None:
        self.rule, self.faults, self.always = rule, list(faults), always
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.most = self.now = 0
        self.lock, self.url = threading.Lock(), ""
        self.released = threading.Event()

    def next_fault(self, body: dict[str, Any], key: str | None) -> int | str | None:
        """What goes wrong with this request, if anything."""
        with self.lock:
            self.bodies.append(body)
            self.keys.append(key)
            return self.faults.pop(0) if self.faults else self.always


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: Server = self.server.told  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
        fault = server.next_fault(body, self.headers.get("Authorization"))
        status, text = self._reply(server, body, fault)
        with server.lock:
            server.now -= 1
        if fault == "close":
            self.close_connection = True
            return
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def _reply(self, server: Server, body: dict[str, Any], fault: int | str | None) -> tuple[int, str]:
        if self.path != "/v1/chat/completions":
            return 404, "no such path"
        if fault == "slow":
            server.released.wait(5)
        if fault == "garbage":
            return 200, "<html>come back later</html>"
        if fault == "empty":
            return 200, json.dumps({"choices": []})
        if isinstance(fault, int):
            return fault, json.dumps({"error": {"message": f"fault {fault}"}})
        return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": server.rule(body)}}]})

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def serving(rule: Rule, faults: tuple[int | str, ...] = (), always: int | str | None = None) -> Iterator[Server]:
    """The server, for as long as the context lasts."""
    server = Server(rule, faults, always)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.told = server  # type: ignore[attr-defined]
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        thread.join()
        http.server_close()
