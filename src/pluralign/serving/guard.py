"""The doors of the server: who may come in, how often, and what happens to a request on its way to the app.

From the outside to the inside: `Recorder` (ids, the log, counts), CORS where origins are named, `Door` (hosts, keys,
rates, the shutdown), `Exchange` (the body, the client, the time), the app.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pluralign.serving.exchange import App, Exchange, Receive, Scope, Send
from pluralign.serving.keys import Keys, read_keys
from pluralign.serving.limits import Limits
from pluralign.serving.logs import Recorder
from pluralign.serving.metrics import Metrics
from pluralign.serving.problems import of_error, problem
from pluralign.serving.refusals import Closing, Overloaded, Refusal
from pluralign.serving.settings import ServeSettings

if TYPE_CHECKING:
    from pluralign.serving.worker import Worker

OPEN = {"/healthz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
"""Paths that need no key: they tell nothing about requests."""
ALWAYS = {"/healthz", "/metrics"}
"""Paths that answer while the server shuts down or is full."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class NotAllowed(Refusal):
    """No key, or nobody's."""

    status, code = 401, "invalid_api_key"


class WrongHost(Refusal):
    """The request was meant for another server's name."""

    status, code = 403, "unknown_host"


class Door:
    """Hosts, keys, rates, and how many requests are inside. Sets `state["owner"]`."""

    def __init__(self, app: App, settings: ServeSettings, keys: Keys, limits: Limits, metrics: Metrics) -> None:
        self.app, self.settings, self.keys, self.limits, self.metrics = app, settings, keys, limits, metrics
        own = LOOPBACK if settings.host in LOOPBACK else None
        self._hosts = frozenset(settings.allowed_hosts) or own
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """In, or a refusal that says why."""
        try:
            scope["state"]["owner"] = self._enter(scope)
        except Refusal as refusal:
            self.metrics.turned_away(refusal.code)
            await _refusal(refusal)(scope, receive, send)
            return
        self._inside += 1
        self._empty.clear()
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def empty(self, seconds: float) -> bool:
        """Wait until nobody is inside; False where somebody still is after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _enter(self, scope: Scope) -> str:
        """Whose request it is. Raises a Refusal."""
        path, headers = scope["path"], dict(scope["headers"])
        host = _host(headers.get(b"host", b""))
        if host and self._hosts is not None and host not in self._hosts:  # browsers always name one
            raise WrongHost(
                f"this server does not go by the name {host[:100]!r}; its operator can allow it (--allowed-hosts)"
            )
        if path == "/healthz":
            return ""
        owner = self._owner(path, headers, scope)
        if path in ALWAYS | OPEN:
            return owner
        if self.closing:
            raise Closing("the server is shutting down; ask another one, or again in a while")
        if self._inside >= self.settings.connections:
            raise Overloaded(f"{self._inside} requests are under way already; come again later", 1)
        self.limits.admit(owner)
        return owner

    def _owner(self, path: str, headers: Mapping[bytes, bytes], scope: Scope) -> str:
        """The key's name; the client's address where nobody has keys."""
        if not self.keys or path in OPEN:
            return (scope.get("client") or ("",))[0]
        kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        name = self.keys.name_of(key.strip()) if kind.lower() == "bearer" else None
        if name is None:
            raise NotAllowed(
                "this server asks for an API key: Authorization: Bearer KEY; the one given is missing or unknown"
            )
        return name


def _host(header: bytes) -> str:
    """The name in a Host header, its port left out."""
    text = header.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _refusal(refusal: Refusal) -> Any:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(*of_error(refusal), headers=headers)


class Guarded:
    """An app with its doors. `app` is what uvicorn calls; `close` begins the shutdown."""

    def __init__(self, app: App, workers: Mapping[str, Worker], settings: ServeSettings, metrics: Metrics) -> None:
        from starlette.middleware.cors import CORSMiddleware

        limits = Limits(settings.rate, settings.token_rate)
        for worker in workers.values():
            worker.watches.append(limits)
        self.workers = workers
        self.door = Door(
            Exchange(app, settings), settings, read_keys(settings.keys_file, settings.keys_variable), limits, metrics
        )
        inner: Any = self.door
        if settings.cors:
            names = ["authorization", "content-type", "x-request-id"]
            inner = CORSMiddleware(
                inner,
                allow_origins=settings.cors,
                allow_methods=["GET", "POST"],
                allow_headers=names,
                expose_headers=["x-request-id", "retry-after"],
            )
        self.app = Recorder(inner, app, metrics, settings.log_prompts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self.app(scope, receive, send)

    def refuse_new(self) -> None:
        """From now on requests get 503; those inside go on."""
        self.door.closing = True
        for worker in self.workers.values():
            worker.refuse_new()
