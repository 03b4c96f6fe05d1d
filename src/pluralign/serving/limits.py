"""Rate limits: how many requests and tokens per minute each key may have (token buckets)."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence

from pluralign.serving.refusals import RateLimited
from pluralign.serving.watch import Watch

REMEMBERED = 10_000
"""Owners whose buckets are kept; the one not seen for longest is forgotten first."""


class Bucket:
    """Holds a minute's worth, and fills steadily. `level` may fall below 0: who took too much waits longer."""

    def __init__(self, per_minute: float) -> None:
        self.rate, self.room = per_minute / 60, max(1.0, per_minute)
        self.level, self._seen = self.room, time.monotonic()

    def lacks(self, amount: float) -> float:
        """Seconds until the level is `amount`; 0 where it is."""
        now = time.monotonic()
        self.level = min(self.room, self.level + (now - self._seen) * self.rate)
        self._seen = now
        return max(0.0, amount - self.level) / self.rate


class Limits(Watch):
    """Requests per minute are taken when they come, tokens when prompts are read and replies drawn. None: no limit.

    All calls come from the asyncio thread.
    """

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._rates = (requests, tokens)
        self._owners: OrderedDict[str, tuple[Bucket | None, Bucket | None]] = OrderedDict()

    def admit(self, owner: str) -> None:
        """Take one request of the owner's. Raises RateLimited with the seconds to wait."""
        requests, tokens = self._buckets(owner)
        if tokens is not None and (lacks := tokens.lacks(1.0)):
            raise _refusal("tokens", self._rates[1], lacks)
        if requests is not None:
            if lacks := requests.lacks(1.0):
                raise _refusal("requests", self._rates[0], lacks)
            requests.level -= 1

    def submitted(self, worker: str, owner: str, prompt_tokens: int) -> None:
        """Prompts count as they are read."""
        self._spend(owner, prompt_tokens)

    def drawn(self, worker: str, owner: str, tokens: int, waited: Sequence[float]) -> None:
        """Replies count as they are drawn, whoever reads them."""
        self._spend(owner, tokens)

    def _spend(self, owner: str, tokens: int) -> None:
        if self._rates[1] is not None and (bucket := self._buckets(owner)[1]) is not None:
            bucket.lacks(0.0)  # fills it up to now
            bucket.level -= tokens

    def _buckets(self, owner: str) -> tuple[Bucket | None, Bucket | None]:
        if owner not in self._owners:
            requests, tokens = (None if rate is None else Bucket(rate) for rate in self._rates)
            self._owners[owner] = requests, tokens
            if len(self._owners) > REMEMBERED:
                self._owners.popitem(last=False)
        self._owners.move_to_end(owner)
        return self._owners[owner]


def _refusal(what: str, rate: float | None, seconds: float) -> RateLimited:
    return RateLimited(f"more than {rate:g} {what} per minute; come again later", max(1, math.ceil(seconds)))
