"""Jobs: the replies of one HTTP request, as the asyncio thread sees them while a worker's thread decodes.

    async with worker.submit(requests, owner) as job:
        async for drawn in job:
            for index, token in drawn:
                ...

Leaving the block ends what still runs, whatever the reason (the client is gone, an error, a stop string).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pluralign.serving.refusals import TimedOut

if TYPE_CHECKING:
    from pluralign.sampling.loop import Drawn
    from pluralign.sampling.request import Request, Rows

News = list[tuple[int, "Drawn"]]
"""(index of the reply, its token), in the order drawn."""


class Place:
    """One reply in the making: where it stands in its job, and with the decoder (`made`: its rows there). Compared by identity.

    `ticket` is the decoder's, set when it joined; only the worker touches it. `rows` it takes there, each of at most
    `tokens` tokens.
    """

    __slots__ = ("index", "job", "made", "owner", "request", "rows", "ticket", "tokens")

    def __init__(self, job: Job, index: int, request: Request, made: Rows) -> None:
        self.job, self.index, self.request, self.made = job, index, request, made
        self.owner, self.rows = job.owner, len(made)
        self.tokens = max(len(row.prompt) for _, row in made) + request.max_new_tokens
        self.ticket: int | None = None


class Job:
    """Replies of a `model` to `requests`. Everything here runs in the asyncio thread that made it.

    Iteration yields what was drawn since the last time, one list per engine step where the reader keeps up, until every
    reply has ended or was stopped. A `patient` reader is woken only when everything is there (setting it is the reader's
    business). Raises TimedOut after `seconds`, EngineFailed, or Closing where the grace time ended.
    """

    def __init__(
        self,
        model: str,
        requests: Sequence[Request],
        owner: str,
        made: Sequence[Rows],
        seconds: float,
        leave: Callable[[Sequence[Place]], None],
    ) -> None:
        self.model, self.owner = model, owner
        self.home = asyncio.get_running_loop()
        self.began = time.monotonic()
        self.places = [Place(self, n, *each) for n, each in enumerate(zip(requests, made, strict=True))]
        self._leave = leave
        self._deadline = self.home.call_later(seconds, self._late, seconds)  # one for all waits
        self._running = set(range(len(requests)))
        self.patient = False
        self._unended = set(self._running)
        self._begun: set[int] = set()
        self._news: News = []
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def prompt_ids(self) -> tuple[tuple[int, ...], ...]:
        """The prompt of each request as the policy's own model reads it, cut where it must be cut."""
        return tuple(_prompt(place) for place in self.places)

    @property
    def running(self) -> frozenset[int]:
        """Replies that have neither ended nor been stopped."""
        return frozenset(self._running)

    def stop(self, index: int) -> None:
        """End one reply (a stop string appeared): nothing more comes of it."""
        if index in self._running:
            self._running.discard(index)
            self._unended.discard(index)
            self._news = [each for each in self._news if each[0] != index]
            self._leave([self.places[index]])

    def cancel(self) -> None:
        """End all replies. May be called twice."""
        self._deadline.cancel()
        left, self._running, self._news = self._running, set(), []
        if left:
            self._leave([self.places[index] for index in left])
        self._changed.set()

    # -- what the worker says, in this thread ----------------------------------------------------------------------

    def told(self, news: News) -> list[int]:
        """What a step drew. Returns the replies that it began."""
        if self._error is not None:
            return []
        known = [each for each in news if each[0] in self._running]
        first = [index for index, _ in known if index not in self._begun]
        self._begun.update(first)
        self._news += known
        self._unended.difference_update(index for index, drawn in known if drawn.ended)
        if not (self.patient and self._unended):
            self._changed.set()
        return first

    def failed(self, error: Exception) -> None:
        """Nothing more will come; what was drawn before is still read. A job that is over stays over."""
        if self._running and self._error is None:
            self._error = error
        self._changed.set()

    # -- what the reader does --------------------------------------------------------------------------------------

    async def __aenter__(self) -> Job:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.cancel()

    def __aiter__(self) -> Job:
        return self

    async def __anext__(self) -> News:
        try:
            await self._wait()
        except BaseException:  # cancelled by the client's leaving, too
            self.cancel()
            raise
        news, self._news = self._news, []
        self._running.difference_update(index for index, drawn in news if drawn.ended)
        return news

    async def _wait(self) -> None:
        while not self._news:
            if self._error is not None:
                raise self._error
            if not self._running:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()

    def _late(self, seconds: float) -> None:
        self._leave([self.places[index] for index in self._running])  # whoever reads may be slow to hear of it
        self.failed(
            TimedOut(
                f"the request took more than {seconds:g} seconds, and that is the server's limit; ask for fewer tokens or "
                "replies"
            )
        )


def _prompt(place: Place) -> tuple[int, ...]:
    ids, begun = place.made[0][1].prompt, len(place.request.prefix)
    return ids[: len(ids) - begun]
