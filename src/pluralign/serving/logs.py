"""The server's log: one JSON object a line, one line a request. No prompts, replies, steering or keys, unless asked for."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from pluralign.serving.exchange import App, Message, Receive, Scope, Send
from pluralign.serving.metrics import Metrics
from pluralign.serving.problems import of_error, problem

log = logging.getLogger("pluralign.serve")

_SANE = re.compile(rb"[A-Za-z0-9_.:-]{1,64}")
_KEPT = 100_000
"""Bytes of a reply that a log with prompts keeps."""


class JsonLines(logging.Formatter):
    """A record as a line of JSON: time (UTC), level, event, and what it knows beside (`extra={"facts": {...}}`)."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, in ASCII."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= told(record.exc_info[1])
        return json.dumps(line, default=str)


def told(error: BaseException) -> dict[str, Any]:
    """What a log says of an error: its kind and where it was raised. Its message may quote what somebody wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "where": [f"{f.filename}:{f.lineno} {f.name}" for f in frames]}


class Recorder:
    """Gives every request an id (its own `x-request-id` where that is sane), echoes it, and writes what came of it.

    `state` of the request: `request_id`, and `facts`, what the app adds to the line (numbers and names, never texts).
    """

    def __init__(self, app: App, inner: Any, metrics: Metrics, log_prompts: bool = False) -> None:
        self.app, self.metrics, self.log_prompts = app, metrics, log_prompts
        self._paths = {route.path for route in getattr(inner, "routes", ())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"] = {**scope.get("state", {}), "request_id": _id(scope), "facts": {}}
        answer = _Answer(send, state["request_id"], _KEPT if self.log_prompts else 0)
        began = time.monotonic()
        try:
            await self.app(scope, receive, answer.send)
        except Exception as error:
            state["facts"] |= told(error)
            if not answer.status:
                await problem(*of_error(error))(scope, receive, answer.send)
        finally:
            self._write(scope, answer, time.monotonic() - began)

    def _write(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        state, path, status = scope["state"], self._path(scope), answer.status
        gone = bool(state.get("gone"))
        if gone:
            self.metrics.left(path)
        self.metrics.answered(path, status, seconds)
        facts = {
            "id": state["request_id"],
            "method": scope["method"],
            "path": path,
            "status": status,
            "owner": state.get("owner", ""),
            "seconds": round(seconds, 4),
            "bytes": answer.size,
            **({"gone": True} if gone else {}),
            **state["facts"],
        }
        if self.log_prompts:
            facts |= {"asked": state.get("body", b"").decode("utf-8", "replace"), "answered": answer.text()}
        level = logging.ERROR if status == 500 or "error" in facts else logging.INFO
        log.log(level, "request", extra={"facts": facts})

    def _path(self, scope: Scope) -> str:
        """The route; what else a client may write is not repeated."""
        route = getattr(scope.get("route"), "path", None)
        return route or (scope["path"] if scope["path"] in self._paths else "other")


class _Answer:
    """What goes out: its status (0 before it begins), its size, and its beginning where that is wanted."""

    def __init__(self, send: Send, request_id: str, keep: int) -> None:
        self._send, self._header, self._keep = send, (b"x-request-id", request_id.encode()), keep
        self.status = self.size = 0
        self._kept = bytearray()

    async def send(self, message: Message) -> None:
        """Note and pass on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), self._header]}
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            self.size += len(body)
            self._kept += body[: max(0, self._keep - len(self._kept))]
        await self._send(message)

    def text(self) -> str:
        """The beginning of what went out."""
        return self._kept.decode("utf-8", "replace")


def _id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    return given.decode() if _SANE.fullmatch(given) else secrets.token_hex(12)
