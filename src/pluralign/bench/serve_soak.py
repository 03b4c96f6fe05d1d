"""Ten minutes of ordinary and less ordinary traffic, the server's memory watched from outside.

Streams and whole replies, steered and not; some clients leave in the middle of their stream, some send what is refused.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from pluralign.bench.serve_check import Judge
from pluralign.bench.serve_load import Reply, Target, closed
from pluralign.bench.serve_process import Served

EVERY = 2.0
"""Seconds between two looks at the memory."""
_ROUND = 5.0


def soak(served: Served, judge: Judge, seconds: float, clients: int = 16) -> dict[str, Any]:
    """Load for so long; `memory_growth_mb`: the median of the last quarter minus that of the second (the first warms up)."""
    began, looks = time.perf_counter(), list[tuple[float, float]]()
    ends = began + seconds
    replies, left, refused = list[Reply](), 0, 0
    while time.perf_counter() < ends:
        for stream in (True, False):
            target = Target(served.address, served.model, stream=stream)
            until = _until(min(ends, time.perf_counter() + _ROUND), began, served, looks)
            replies += closed(target, judge.asks, clients, until)
        left += _leave(served, judge, clients)
        refused += _be_refused(served, clients)
    verdicts = judge.judge(replies)
    return {
        "seconds": time.perf_counter() - began,
        "replies": len(replies),
        "lost": sum(reply.lost for reply in replies),
        "mixed_up": verdicts.mixed_up,
        "clients_that_left": left,
        "bad_requests_refused": refused,
        "memory_growth_mb": growth([size for _, size in looks]),
        "memory_mb": [[round(when, 1), round(size, 1)] for when, size in looks],
    }


def growth(sizes: list[float]) -> float:
    """Median of the last quarter minus the median of the second quarter; 0 for fewer than four looks."""
    part = len(sizes) // 4
    return statistics.median(sizes[-part:]) - statistics.median(sizes[part : 2 * part]) if part else 0.0


def _until(ends: float, began: float, served: Served, looks: list[tuple[float, float]]) -> Callable[[], bool]:
    def over() -> bool:
        now = time.perf_counter() - began
        if not looks or now - looks[-1][0] >= EVERY:
            looks.append((now, served.memory() / 1e6))
        return time.perf_counter() >= ends

    return over


def _leave(served: Served, judge: Judge, num: int) -> int:
    """Clients that go away after the first bytes of their stream."""

    async def one(ask_body: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(_post(ask_body))
        await writer.drain()
        await asyncio.wait_for(reader.read(300), 30)
        writer.transport.abort()

    async def all_of_them() -> None:
        bodies = [json.dumps(ask.body(served.model, True)).encode() for ask in judge.asks[:num]]
        await asyncio.gather(*map(one, bodies))

    asyncio.run(all_of_them())
    return min(num, len(judge.asks))


def _be_refused(served: Served, num: int) -> int:
    """Requests that are none; how many were refused with a status of 4xx."""

    async def one() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(_post(b'{"model": "nobody", "messages": [{'))
        await writer.drain()
        status = (await asyncio.wait_for(reader.readline(), 30)).split()[1:2]
        writer.close()
        return bool(status) and status[0].startswith(b"4")

    async def all_of_them() -> list[bool]:
        return list(await asyncio.gather(*(one() for _ in range(num))))

    return sum(asyncio.run(all_of_them()))


def _post(body: bytes) -> bytes:
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
