"""Speed of a server in tokens per second: two kinds of load in turn, A B A B, on the same machine in the same minutes."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pluralign.bench.gate import EqualityError
from pluralign.bench.serve_load import Ask, Reply, Target, closed
from pluralign.bench.serve_naive import Naive
from pluralign.bench.serve_process import Served
from pluralign.bench.timing import Ratio, Timing, ratio

Load = Callable[[int], "Phase"]
"""One phase of a load, given its number."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase did: tokens of its replies, wall seconds, CPU seconds of whoever made the replies."""

    replies: int
    tokens: int
    seconds: float
    cpu: float

    @property
    def wall_per_token(self) -> float:
        """Seconds a token."""
        return self.seconds / self.tokens

    @property
    def cpu_per_token(self) -> float:
        """CPU seconds a token."""
        return self.cpu / self.tokens


def loaded(served: Served, asks: Callable[[int], Sequence[Ask]], clients: int) -> Load:
    """A closed loop of whole replies; `asks` gives those of a phase."""

    def run(number: int) -> Phase:
        chosen = asks(number)
        gc.collect()
        cpu, began = served.cpu(), time.perf_counter()
        replies = closed(Target(served.address, served.model, stream=False), chosen, clients)
        seconds = time.perf_counter() - began
        check_all(replies, len(chosen))
        return Phase(len(replies), sum(reply.tokens for reply in replies), seconds, served.cpu() - cpu)

    return run


def one_by_one(naive: Naive, asks: Callable[[int], Sequence[Ask]]) -> Load:
    """The same requests by `generate` in this process, one after another."""

    def run(number: int) -> Phase:
        chosen = asks(number)
        gc.collect()
        cpu, began = time.process_time(), time.perf_counter()
        tokens = sum(len(naive.reply(ask).ids) for ask in chosen)
        return Phase(len(chosen), tokens, time.perf_counter() - began, time.process_time() - cpu)

    return run


def check_all(replies: Sequence[Reply], num: int) -> None:
    """RunError's kin unless every request has its whole reply: a speed of failures means nothing."""
    bad = [reply for reply in replies if not reply.complete]
    if bad or len(replies) != num:
        first = f"; the first: status {bad[0].status}, {bad[0].problem or bad[0].text[:200]!r}" if bad else ""
        raise EqualityError(f"{num - len(replies) + len(bad)} of {num} requests have no whole reply{first}")


@dataclass(frozen=True, slots=True)
class Versus:
    """Two loads' phases, pair by pair in time."""

    slow: tuple[Phase, ...]
    fast: tuple[Phase, ...]

    def ratio(self, cpu: bool = False) -> Ratio:
        """Tokens per second of `fast` over those of `slow` (medians; spread over the pairs); or per CPU second."""
        slow, fast = (
            Timing(tuple(phase.cpu_per_token if cpu else phase.wall_per_token for phase in phases))
            for phases in (self.slow, self.fast)
        )
        return ratio(slow, fast)

    def to_json(self) -> dict[str, Any]:
        """The rows of both."""
        return {"slow": [_row(phase) for phase in self.slow], "fast": [_row(phase) for phase in self.fast]}


def versus(slow: Load, fast: Load, repeats: int, seconds: float = math.inf) -> Versus:
    """Phases in turn after one of each to warm up; every second pair is run the other way round.

    No new pair is begun after `seconds`, but one is timed in any case.
    """
    phases: tuple[list[Phase], list[Phase]] = ([], [])
    ends = time.perf_counter() + seconds
    for number in range(repeats + 1):
        if number > 1 and time.perf_counter() > ends:
            break
        order = (0, 1) if number % 2 else (1, 0)
        for which in order:
            phases[which].append((slow, fast)[which](number))
    return Versus(tuple(phases[0][1:]), tuple(phases[1][1:]))


def _row(phase: Phase) -> dict[str, float]:
    return {
        "replies": phase.replies,
        "tokens": phase.tokens,
        "seconds": round(phase.seconds, 3),
        "cpu_seconds": round(phase.cpu, 3),
    }
