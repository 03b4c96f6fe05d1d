"""From a job to a response: whole, or by server-sent events; the job ends when the client leaves."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pluralign.serving.answers import Answer, Counts
from pluralign.serving.problems import of_error, problem_json
from pluralign.serving.reply import Piece, Reply

if TYPE_CHECKING:
    from pluralign.serving.jobs import Job

log = logging.getLogger("pluralign.serve")

JSON = [(b"content-type", b"application/json")]
EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies must pass on every event at once
]


class Delivery(Response):
    """The response of a job that `submit` begins. Nothing is sent before the first token is there, so that errors until
    then, those of `submit` too, have a status.

    `num_each`: replies to each prompt (its tokens count once).
    """

    job: Job

    def __init__(
        self, submit: Callable[[], Job], replies: Sequence[Reply], answer: Answer, num_each: int, stream: bool
    ) -> None:
        super().__init__()
        self.submit, self.replies, self.answer, self.num_each, self.stream = submit, replies, answer, num_each, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the job to its end; being cancelled (`exchange.py` does it where the client has gone) ends it too."""
        self.job = self.submit()  # here and no earlier: who submits also ends
        self.job.patient = all(reply.collects for reply in self.replies)
        try:
            async with self.job:
                if self.stream:
                    await self._events(send)
                else:
                    await self._whole(send)
        finally:
            self._note(scope.get("state", {}))

    def _note(self, state: dict[str, Any]) -> None:
        """Numbers for the server's line on this request (`logs.py`)."""
        counts = self._counts()
        numbers = {"prompt_tokens": counts.prompt, "completion_tokens": counts.drawn, "replies": len(self.replies)}
        state.setdefault("facts", {}).update({"model": self.job.model, **numbers})

    async def _pieces(self) -> AsyncIterator[list[tuple[int, Piece]]]:
        """What each step of the engine adds, reply by reply; empty ones left out."""
        async for news in self.job:
            found = []
            for index, drawn in news:
                piece = self.replies[index].push(drawn)
                if piece:
                    found.append((index, piece))
                if piece.finish:
                    self.job.stop(index)
            yield found

    @property
    def _complete(self) -> bool:
        return all(reply.finish for reply in self.replies)

    def _counts(self) -> Counts:
        prompt = sum(map(len, self.job.prompt_ids[:: self.num_each]))
        return Counts(prompt, sum(reply.tokens for reply in self.replies))

    async def _whole(self, send: Send) -> None:
        pieces: list[list[Piece]] = [[] for _ in self.replies]
        async for found in self._pieces():
            for index, piece in found:
                pieces[index].append(piece)
        if not self._complete:
            return  # cancelled by somebody else
        body = json.dumps(self.answer.whole(pieces, self._counts()), separators=(",", ":")).encode()
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [*JSON, length]})
        await send({"type": "http.response.body", "body": body})

    async def _events(self, send: Send) -> None:
        begun = False
        try:
            async for found in self._pieces():
                text = self._written(found)
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
                    text, begun = self._opening() + text, True
                if text:
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        except Exception as error:
            if not begun:
                raise
            await self._broken(error, send)
            return
        if self._complete:
            await send({"type": "http.response.body", "body": self.answer.last(self._counts()).encode()})

    def _opening(self) -> str:
        answer = self.answer
        return "".join(answer.event(answer.opening(index), first=True) for index in range(len(self.replies)))

    def _written(self, found: Sequence[tuple[int, Piece]]) -> str:
        answer = self.answer
        return "".join(answer.event(choice) for index, piece in found for choice in answer.deltas(index, piece))

    async def _broken(self, error: Exception, send: Send) -> None:
        """An error in the middle of a stream: an event of its own, and no [DONE]."""
        message, status, code, param = of_error(error)
        if status == 500:
            log.error("a stream broke", exc_info=error)
        event = f"data: {problem_json(message, status, code, param)}\n\n"
        await send({"type": "http.response.body", "body": event.encode()})
