"""The one decoder, for many requests at once: requests in, completions out, each with its own condition and seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pluralign.errors import ConfigError
from pluralign.policy import Policy
from pluralign.sampling.loop import GREEDY, Loop
from pluralign.sampling.request import Completion, Request, rows_for
from pluralign.sampling.streams import context

__all__ = ["GREEDY", "Completion", "Engine", "Request", "context"]

REFILL = 0.15
"""Requests join when at least this share of the rows is free: prompts that are read together cost less."""


class Engine:
    """Decodes for one policy, `batch_size` requests at a time."""

    def __init__(self, policy: Policy, batch_size: int = 256) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        self.policy, self.batch_size = policy, batch_size

    def generate(self, requests: Sequence[Request], progress: Callable[[int], None] | None = None) -> list[Completion]:
        """Completions in the order of the requests; `progress` is told how many are done.

        Raises ConditionError for a condition outside the policy's bounds, ModelError where a prompt leaves no room.
        """
        asked = [rows_for(self.policy, request) for request in requests]
        lengths = [max(len(row.prompt) for _, row in rows) for rows in asked]
        waiting = sorted(
            range(len(requests)), key=lengths.__getitem__, reverse=True
        )  # short ones leave last: at the end
        loop = Loop(self.policy, rows=self.batch_size * max(map(len, asked), default=1))
        completions: dict[int, Completion] = {}
        places: dict[int, int] = {}
        while waiting or places:
            if loop.free >= REFILL * loop.rows:
                while waiting and len(asked[waiting[-1]]) <= loop.free:
                    place = waiting.pop()
                    places[loop.enter(requests[place], asked[place])] = place
            ended = [drawn.ticket for drawn in loop.step() if drawn.ended]
            for ticket in ended:
                completions[places.pop(ticket)] = loop.completion(ticket)
            if progress and ended:
                progress(len(ended))
        return [completions[place] for place in range(len(requests))]
