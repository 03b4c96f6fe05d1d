"""Twice as many requests as the server can answer: is anybody kept waiting, forgotten, or given another's reply?

1. Capacity: a closed loop with as many clients as the engine has rows, in replies per second.
2. Saturation: an open loop at that rate; 3. overload: at twice that rate, until enough replies have come.

The first token counts from when a request was due. Replies are streamed and every one is judged (serve_check.py).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pluralign.bench.serve_check import Judge, Verdicts
from pluralign.bench.serve_load import Reply, Target, closed, open_loop
from pluralign.bench.serve_process import Served

log = logging.getLogger("pluralign")


@dataclass(frozen=True, slots=True)
class Plan:
    """`clients` that saturate the server; seconds to measure capacity and saturation; `replies` to judge under overload,
    in `longest` seconds at most."""

    clients: int = 64
    seconds: float = 10.0
    replies: int = 10_000
    longest: float = 180.0
    times: float = 2.0


def overload(served: Served, judge: Judge, plan: Plan) -> dict[str, Any]:
    """Everything counted; `ttft_overload` is the ratio of the two p99."""
    target = Target(served.address, served.model)
    capacity = _capacity(target, judge, plan)
    log.info("%s: %.0f replies a second at capacity", served.model, capacity)
    memory = served.memory()
    at = open_loop(target, judge.asks, capacity, _after(plan.seconds, math.inf))
    over = open_loop(target, judge.asks, plan.times * capacity, _after(plan.longest, plan.replies), seed=1)
    verdicts = _verdicts(judge.judge(at), judge.judge(over))
    found = {"saturation": _told(at), "overload": _told(over)}
    return {
        "ttft_overload": found["overload"]["first_token_p99"] / found["saturation"]["first_token_p99"],
        "lost": sum(reply.lost for reply in (*at, *over)),
        "mixed_up": verdicts.mixed_up,
        "refused": sum(reply.refused for reply in over),
        "capacity": capacity,
        "verdicts": verdicts.to_json(),
        "memory_growth_mb": (served.memory() - memory) / 1e6,
        **found,
    }


def _capacity(target: Target, judge: Judge, plan: Plan) -> float:
    """Replies a second, after a second to warm up."""
    _for(target, judge, plan.clients, min(1.0, plan.seconds))
    began = time.perf_counter()
    replies = _for(target, judge, plan.clients, plan.seconds)
    return sum(reply.complete for reply in replies) / (time.perf_counter() - began)


def _for(target: Target, judge: Judge, clients: int, seconds: float) -> list[Reply]:
    ends = time.perf_counter() + seconds
    return closed(target, judge.asks, clients, until=lambda: time.perf_counter() >= ends)


def _after(seconds: float, replies: float) -> Any:
    ends, seen, complete = time.perf_counter() + seconds, 0, 0

    def enough(found: Sequence[Reply]) -> bool:
        nonlocal seen, complete
        complete += sum(reply.complete for reply in found[seen:])
        seen = len(found)
        return complete >= replies or time.perf_counter() >= ends

    return enough


def _verdicts(*found: Verdicts) -> Verdicts:
    return Verdicts(
        sum(each.right for each in found),
        sum(each.near_boundary for each in found),
        sum(each.mixed_up for each in found),
        next((each.first for each in found if each.first), ""),
    )


def _told(replies: Sequence[Reply]) -> dict[str, Any]:
    """Counts, rates a second and seconds."""
    begun, ended = min(reply.due for reply in replies), max(reply.due for reply in replies)
    waits = [reply.first - reply.due for reply in replies if reply.complete and reply.first]
    lost = next((reply for reply in replies if reply.lost), None)
    return {
        "requests": len(replies),
        "complete": sum(reply.complete for reply in replies),
        "refused": sum(reply.refused for reply in replies),
        "lost": sum(reply.lost for reply in replies),
        "first_lost": "" if lost is None else f"status {lost.status}: {lost.problem or lost.text[:200]}",
        "offered": len(replies) / max(ended - begun, 1e-9),
        "tokens": sum(reply.tokens for reply in replies),
        "first_token_p50": quantile(waits, 0.5),
        "first_token_p99": quantile(waits, 0.99),
        "client_late_p99": quantile([reply.sent - reply.due for reply in replies], 0.99),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; NaN of none."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan
