"""Connections whose client says nothing, or never ends the head of its request: given up, so that others find a place.

uvicorn waits for a head as long as it takes, and for a further request on the same connection as long as its first byte
has come (measured; its own limit counts only while a connection that has been answered is silent).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


def hasty_protocol(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP, in which a head has to be complete so many seconds after it could have begun."""

    class Hasty(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._keep_time()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._keep_time()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._forget()

        def _keep_time(self) -> None:
            if not self._waits_for_head():
                self._forget()
            elif self._deadline is None:
                self._deadline = asyncio.get_running_loop().call_later(seconds, self._late)

        def _forget(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _late(self) -> None:
            self._deadline = None
            if self._waits_for_head():
                self.transport.close()

        def _waits_for_head(self) -> bool:
            return self.cycle is None or bool(self.cycle.response_complete)

    return Hasty
