"""A real server on loopback, in this process: uvicorn in a thread, a decoder in another, all ended again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pluralign.data.condition import Condition
from pluralign.policy import Policy
from pluralign.serving.server import Server, assemble, listen
from pluralign.serving.settings import ServeSettings
from pluralign.serving.worker import Worker


@dataclass(frozen=True)
class Served:
    """Where it answers (http://127.0.0.1:PORT), and what answers there."""

    url: str
    workers: Mapping[str, Worker]
    server: Server


@contextmanager
def served(
    policies: Mapping[str, Policy],
    presets: Mapping[str, Condition] | None = None,
    settings: ServeSettings | None = None,
) -> Iterator[Served]:
    """Serve on any free port until the block ends; then every thread has ended too."""
    settings = settings or ServeSettings(port=0)
    port, ready, found = listen(settings), threading.Event(), []

    def tell(address: str) -> None:
        found.append(address)
        ready.set()

    workers = {name: Worker(name, policy, settings) for name, policy in policies.items()}
    try:
        server = Server(assemble(workers, presets or {}, settings), settings, tell)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [port]})
        thread.start()
        try:
            assert ready.wait(20), "the server did not start"
            yield Served(found[0], workers, server)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server did not end"
    finally:
        port.close()
        for worker in workers.values():
            worker.close(0.0)
