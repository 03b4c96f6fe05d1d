"""Workers: a thread for each policy, which owns its decoder; the asyncio thread hands requests in and gets tokens out.

Two threads meet under one lock, at the line of those who wait and the list of those who leave. Tokens go to the asyncio
thread in one call per step, whatever the number of jobs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pluralign.errors import ConfigError
from pluralign.serving.jobs import Job, News, Place
from pluralign.serving.line import Line, Pace, Shares
from pluralign.serving.refusals import Closing, EngineFailed, Overloaded
from pluralign.serving.settings import ServeSettings
from pluralign.serving.watch import Watch

if TYPE_CHECKING:
    from pluralign.policy import Policy
    from pluralign.sampling.loop import Drawn
    from pluralign.sampling.request import Request, Rows

log = logging.getLogger("pluralign.serve")

JOINED = 5.0
"""Seconds that the end waits for a step that is under way."""


class Worker:
    """A policy (from now on it only decodes: `lay_out`), its decoder and its line. Safe to use from one asyncio thread (jobs) and any other (close)."""

    def __init__(self, name: str, policy: Policy, settings: ServeSettings) -> None:
        from pluralign.sampling.layout import lay_out
        from pluralign.sampling.loop import Loop

        for each in policy.models:
            lay_out(each.model)
        self.name, self.policy, self.settings = name, policy, settings
        self.watches: list[Watch] = []
        self.failure: Exception | None = None
        self._decoder = Loop(policy, settings.rows, settings.prefix_tokens, settings.cache_tokens)
        self._line: Line[Place] = Line()
        self._leaving: list[Place] = []
        self._live: dict[Place, None] = {}  # taken in, and not ended
        self._running: dict[int, Place] = {}  # by ticket; the worker's thread alone writes it
        self._busy = 0  # rows
        self._pace, self._shares = Pace(), Shares()
        self._step_began: float | None = None
        self._closing = self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"decoder of {name}", daemon=True)
        self._thread.start()

    # -- the asyncio thread's side ---------------------------------------------------------------------------------

    def submit(self, requests: Sequence[Request], owner: str = "") -> Job:
        """Take requests in. `owner`: whose turn they count for (a key's name, a client's address).

        Raises ConditionError, ModelError and ConfigError for what no decoder could do, Overloaded, Closing, EngineFailed.
        """
        from pluralign.sampling.request import rows_for

        made = [self._checked(request, rows_for(self.policy, request)) for request in requests]
        with self._changed:
            self._refuse(sum(map(len, made)), owner)
            job = Job(self.name, requests, owner, made, self.settings.timeout, self._leave)
            for place in job.places:
                self._line.put(place)
                self._live[place] = None
            self._changed.notify_all()
        for watch in self.watches:
            watch.submitted(self.name, owner, sum(map(len, job.prompt_ids)))
        return job

    def _checked(self, request: Request, made: Rows) -> Rows:
        self._decoder.fits(request, made)
        return made

    def _refuse(self, need: int, owner: str) -> None:
        """Raise where so many rows more cannot be taken in."""
        settings = self.settings
        if self.failure is not None:
            raise EngineFailed(
                f"the decoder of {self.name} broke ({type(self.failure).__name__}); see the server's log"
            )
        if self._closing:
            raise Closing("the server is shutting down; ask another one, or again in a while")
        if need > settings.rows + settings.queue:
            raise ConfigError(
                f"the request takes {need} rows of the decoder, and this server has {settings.rows}, with room for "
                f"{settings.queue} that wait; ask for fewer replies (n)"
            )
        free = settings.rows - self._busy
        over = max(0, self._line.rows + need - free)  # rows that would wait
        left = settings.queue - max(0, self._line.rows - free)
        self._shares.asked(owner)
        if over and not (
            over <= settings.queue and self._shares.allow(min(self._line.rows_of(owner) + need, over), left)
        ):
            for watch in self.watches:
                watch.refused(self.name, owner)
            raise Overloaded("too many requests wait already; come again later", self._pace.seconds(over))

    def _leave(self, places: Sequence[Place]) -> None:
        """Those who wait go at once, those who run before the next step."""
        with self._changed:
            for place in places:
                if self._line.drop(place):
                    self._live.pop(place, None)
                else:
                    self._leaving.append(place)
            self._changed.notify_all()

    # -- facts, for anybody ----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Replies in the line."""
        with self._changed:
            return len(self._line)

    @property
    def running(self) -> int:
        """Replies that the decoder works on."""
        return len(self._running)

    @property
    def busy_rows(self) -> int:
        """Key-value rows in use."""
        return self._busy

    def prefix_tokens(self) -> tuple[int, int]:
        """(known, not known): tokens of prompts that the prefix cache was asked for."""
        kept = [stream.prefixes for stream in self._decoder.streams]
        return sum(each.hits for each in kept), sum(each.misses for each in kept)

    def trouble(self) -> str | None:
        """Why this worker answers nobody; None where all is well."""
        if self.failure is not None:
            return f"the decoder broke: {type(self.failure).__name__}"
        began = self._step_began
        if began is not None and time.monotonic() - began > self.settings.timeout:
            return f"a step of the decoder has taken more than {self.settings.timeout:g} seconds"
        return "shutting down" if self._closing else None

    # -- ending ----------------------------------------------------------------------------------------------------

    def refuse_new(self) -> None:
        """From now on `submit` raises Closing; what was taken in goes on."""
        with self._changed:
            self._closing = True

    def close(self, grace: float) -> None:
        """No new jobs; those taken in get so many seconds to end, then they are told that the server stops. Waits."""
        self.refuse_new()
        with self._changed:
            self._changed.wait_for(lambda: self._idle() or not self._thread.is_alive(), timeout=grace)
            self._ended = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOINED)

    def _idle(self) -> bool:
        return not (self._live or self._leaving)

    # -- the worker's thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self._turn()
            self._tell_all(Closing("the server stopped before the reply was complete"))
        except Exception as error:
            log.exception("the decoder of %s broke: %.500s", self.name, error)  # it sees numbers, no texts
            self.failure = error
            self._tell_all(
                EngineFailed(f"the decoder of {self.name} broke ({type(error).__name__}); see the server's log")
            )

    def _wait(self) -> bool:
        """Until there is something to do; False when it is time to end."""
        with self._changed:
            if self._idle():
                self._changed.notify_all()  # `close` may be waiting for this
            self._changed.wait_for(lambda: self._ended or not self._idle())
            return not self._ended

    def _turn(self) -> None:
        """One step for everybody who runs, after those who left and those who joined."""
        for place in self._admissible():
            self._join(place)
        if not self._running:
            return
        began = self._step_began = time.monotonic()
        drawn = self._decoder.step()
        self._step_began = None
        for watch in self.watches:
            watch.stepped(self.name, time.monotonic() - began, self._busy)
        self._deliver(drawn)

    def _admissible(self) -> list[Place]:
        """Let those go who leave; then those who fit, in turn."""
        with self._changed:
            leaving, self._leaving = self._leaving, []
            for place in leaving:
                self._part(place)
            found: list[Place] = []
            inside = list(self._running.values())
            while (taken := self._line.take(lambda place: self._has_room(place, [*inside, *found]))) is not None:
                found.append(taken)
                self._busy += taken.rows
            self._pace.went(sum(place.rows for place in found))
        return found

    def _has_room(self, place: Place, inside: Sequence[Place]) -> bool:
        rows, limit = self._busy + place.rows, self.settings.cache_tokens
        if rows > self.settings.rows:
            return False
        return limit is None or rows * max(place.tokens, *(each.tokens for each in inside), 0) <= limit

    def _join(self, place: Place) -> None:
        place.ticket = self._decoder.enter(place.request, place.made)
        self._running[place.ticket] = place

    def _part(self, place: Place) -> None:
        """A running reply leaves the decoder; nothing where it has ended already."""
        if place.ticket is not None and self._running.pop(place.ticket, None) is not None:
            self._decoder.cancel(place.ticket)
            self._over(place)

    def _over(self, place: Place) -> None:
        self._live.pop(place, None)
        self._busy -= place.rows

    def _deliver(self, drawn: Sequence[Drawn]) -> None:
        news: dict[Job, News] = {}
        broken: set[Job] = set()
        with self._changed:
            for each in drawn:
                place = self._running.get(each.ticket)
                if place is None:
                    continue
                if not math.isfinite(each.logprob):
                    broken.add(place.job)
                news.setdefault(place.job, []).append((place.index, each))
                if each.ended:
                    del self._running[each.ticket]
                    self._over(place)
            for place in [place for place in self._running.values() if place.job in broken]:
                self._part(place)
        error = EngineFailed(f"the numbers of {self.name} are not finite; its weights may be damaged")
        self._tell(
            [(job, [] if job in broken else lines, error if job in broken else None) for job, lines in news.items()]
        )

    def _tell(self, parts: Sequence[tuple[Job, News, Exception | None]]) -> None:
        """Hand out in the jobs' own thread, one call for all."""
        homes: dict[asyncio.AbstractEventLoop, list[tuple[Job, News, Exception | None]]] = {}
        for part in parts:
            homes.setdefault(part[0].home, []).append(part)
        for home, own in homes.items():
            if not home.is_closed():
                home.call_soon_threadsafe(self._hand_out, own)

    def _hand_out(self, parts: Sequence[tuple[Job, News, Exception | None]]) -> None:
        now = time.monotonic()
        for job, news, error in parts:
            if error is not None:
                job.failed(error)
                continue
            first = job.told(news)
            for watch in self.watches:
                watch.drawn(self.name, job.owner, len(news), [now - job.began] * len(first))

    def _tell_all(self, error: Exception) -> None:
        """Everybody hears why nothing more comes."""
        with self._changed:
            self._closing = True
            jobs = dict.fromkeys(place.job for place in self._live)
            self._line.clear()
            self._live.clear()
            self._running.clear()
            self._busy = 0
            self._changed.notify_all()
        self._tell([(job, [], error) for job in jobs])
