"""The server's life: models loaded, a port taken, requests answered, and an orderly end.

The first SIGTERM or Ctrl-C: new requests get 503, those inside may end within the grace time. The second one: at once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import torch
import uvicorn
from fastapi import FastAPI, Response

from pluralign.base_model import not_finite
from pluralign.data.condition import Condition
from pluralign.errors import ConfigError, ModelError
from pluralign.serving.app import build_app, check_servable
from pluralign.serving.guard import Guarded
from pluralign.serving.heads import hasty_protocol
from pluralign.serving.logs import JsonLines
from pluralign.serving.metrics import Metrics
from pluralign.serving.settings import ServeSettings
from pluralign.serving.worker import Worker

if TYPE_CHECKING:
    from pluralign.policy import Policy

log = logging.getLogger("pluralign.serve")

BACKLOG = 1024
"""Connections that may wait to be accepted."""
KEPT_ALIVE = 20
"""Seconds for which a silent connection stays open: longer than clients keep one (5 s in OpenAI's), so that it is theirs to
close, and no request is sent into a closing one."""


def listen(settings: ServeSettings) -> socket.socket:
    """The port, taken but not open yet. Raises ConfigError where it cannot be had."""
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, socket.SOCK_STREAM)
        try:
            _options(taken, settings)
            taken.bind(address)
        except OSError:
            taken.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen on port {settings.port} of {settings.host}: {error.strerror or error}; choose another with "
            "--port (0 takes any free one) or --host"
        ) from error
    return taken


def _options(taken: socket.socket, settings: ServeSettings) -> None:
    if sys.platform != "win32":  # there it means that two may have one port
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it: who takes nothing for so long is cut off
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.stall * 1000))


def check_finite(name: str, policy: Policy) -> None:
    """Raise ModelError for weights that are no numbers: every reply would be rubbish."""
    for model in policy.models:
        if damaged := not_finite(model.model):
            raise ModelError(
                f"{name}: {damaged} is not finite (NaN or infinity); the checkpoint is damaged, or its training diverged: "
                "serve an earlier one"
            )


def check_writes(name: str, policy: Policy) -> None:
    """Raise ModelError for a policy whose prompts are written with its model, which the decoder's thread owns."""
    if getattr(policy.steering, "embedding", None) == "states":
        raise ModelError(
            f"{name} looks norms up by the hidden states of its own model, which is busy decoding while prompts are "
            "written; serve a policy that finds them with embedding words"
        )


def assemble(workers: Mapping[str, Worker], presets: Mapping[str, Condition], settings: ServeSettings) -> Guarded:
    """The app with /metrics, behind its doors."""
    app, metrics = build_app(workers, presets, settings), Metrics(workers)
    _add_metrics(app, metrics)
    return Guarded(app, workers, settings, metrics)


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/metrics", summary="Counts and times, for Prometheus", response_class=Response, tags=["operating"])
    async def counted() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)


def serve(
    policies: Mapping[str, Policy],
    presets: Mapping[str, Condition],
    settings: ServeSettings,
    port: socket.socket | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer until a signal comes. `ready` is told the address once the server answers; `port`: from `listen`.

    Raises ModelError, ConfigError and ConditionError before it listens.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    for name, policy in policies.items():
        check_servable(name, policy)
        check_writes(name, policy)
        check_finite(name, policy)
    taken = port or listen(settings)
    with _json_log():
        workers = {name: Worker(name, policy, settings) for name, policy in policies.items()}
        try:
            Server(assemble(workers, presets, settings), settings, ready).run(sockets=[taken])
        finally:
            taken.close()
            for worker in workers.values():
                worker.close(0.0)


@contextmanager
def _json_log() -> Iterator[None]:
    """The server's lines, and uvicorn's, as JSON on standard error."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(JsonLines())
    loggers = (log, logging.getLogger("uvicorn"))
    for each in loggers:
        each.addHandler(lines)
        each.propagate = False
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(lines)
            each.propagate = True


class Server(uvicorn.Server):
    """uvicorn, with a shutdown in two steps: it goes on listening, to say 503, until the requests inside have ended."""

    def __init__(self, app: Guarded, settings: ServeSettings, ready: Callable[[str], None]) -> None:
        self._app, self._settings, self._ready = app, settings, ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signals = 0
        config = uvicorn.Config(
            app,
            http=hasty_protocol(settings.stall),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEPT_ALIVE,
            limit_concurrency=2 * settings.connections + 16,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As ever; then it is known that the server answers."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if sockets:
            self._ready(address(self._settings.host, sockets[0].getsockname()[1]))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end, the second one ends."""
        if self._signals or self._loop is None:
            self.force_exit = self.should_exit = True
        else:  # a handler of signals does as little as it can
            self._loop.call_soon_threadsafe(self._begin_end, signal.Signals(sig).name)
        self._signals += 1

    def _begin_end(self, name: str) -> None:
        log.info("stopping", extra={"facts": {"signal": name, "grace": self._settings.grace}})
        self._app.refuse_new()
        self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        """Wait for those inside; whoever is left is told that the server stops."""
        if not await self._app.door.empty(self._settings.grace):
            log.warning("the grace time is over; replies are broken off")
            for worker in self._app.workers.values():
                await asyncio.to_thread(worker.close, 0.0)
            await self._app.door.empty(1.0)
        self.should_exit = True


def address(host: str, port: int) -> str:
    """http://HOST:PORT"""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
