"""Twice as many requests as the server can answer: is anybody kept waiting, forgotten, or given another's reply?

1. Saturation: as many clients as the server takes in without refusing anybody (rows and places to wait), each with one
   request under way. This is the server's capacity in replies per second, and the longest wait it means to allow.
2. Overload: an open loop at twice that rate, until enough replies have come.

Besides, without a target: as many clients as rows, so that nobody waits. The first token counts from when a request was
sent; sending never waits for replies. Replies are streamed and every one is judged (serve_check.py).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pluralign.bench.serve_check import Judge
from pluralign.bench.serve_load import Reply, Target, closed, open_loop
from pluralign.bench.serve_process import Served

log = logging.getLogger("pluralign")


ROWS = 64
"""Replies decoded together, and as many that may wait: the server's own defaults."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds to measure saturation; `replies` to judge under overload, in `longest` seconds at most."""

    seconds: float = 12.0
    replies: int = 10_000
    longest: float = 120.0
    times: float = 2.0


def overload(served: Served, judge: Judge, plan: Plan) -> dict[str, Any]:
    """Everything counted; `ttft_overload` is the ratio of the two p99."""
    target = Target(served.address, served.model)
    unqueued = _for(target, judge, ROWS, plan.seconds / 3)
    at = _for(target, judge, 2 * ROWS, plan.seconds)
    capacity = _told(at)["reply_rate"]
    log.info("%s: %.0f replies a second at saturation", served.model, capacity)
    memory = served.memory()
    over = open_loop(target, judge.asks, plan.times * capacity, _after(plan.longest, plan.replies), seed=1)
    grown = served.memory() - memory
    verdicts = judge.judge([*unqueued, *at, *over])
    found = {"unqueued": _told(unqueued), "saturation": _told(at), "overload": _told(over)}
    return {
        "ttft_overload": found["overload"]["first_token_p99"] / found["saturation"]["first_token_p99"],
        "lost": sum(reply.lost for reply in (*unqueued, *at, *over)),
        "mixed_up": verdicts.mixed_up,
        "replies_checked": verdicts.checked,
        "refused": sum(reply.refused for reply in over),
        "capacity": capacity,
        "verdicts": verdicts.to_json(),
        "memory_growth_mb": grown / 1e6,
        **found,
    }


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


def _told(replies: Sequence[Reply]) -> dict[str, Any]:
    """Counts, rates a second and seconds."""
    begun, last = min(reply.sent for reply in replies), max(reply.sent for reply in replies)
    ended, complete = max(reply.ended for reply in replies), sum(reply.complete for reply in replies)
    waits = [reply.first - reply.sent for reply in replies if reply.complete and reply.first]
    lost = next((reply for reply in replies if reply.lost), None)
    return {
        "requests": len(replies),
        "complete": complete,
        "refused": sum(reply.refused for reply in replies),
        "lost": sum(reply.lost for reply in replies),
        "first_lost": "" if lost is None else f"status {lost.status}: {lost.problem or lost.text[:200]}",
        "asked_rate": len(replies) / max(last - begun, 1e-9),
        "reply_rate": complete / max(ended - begun, 1e-9),
        "tokens": sum(reply.tokens for reply in replies),
        "first_token_p50": quantile(waits, 0.5),
        "first_token_p99": quantile(waits, 0.99),
        "client_late_p99": quantile([reply.sent - reply.due for reply in replies], 0.99),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; NaN of none."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan
