"""Why a request gets no reply although nothing was wrong with it; each with its HTTP status."""

from __future__ import annotations

from typing import ClassVar

from pluralign.errors import PluralignError


class Refusal(PluralignError, RuntimeError):
    """The server cannot answer; `status` is HTTP's, `code` OpenAI's word for it, `retry_after` seconds to wait."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "server_error"
    retry_after: int | None = None


class Overloaded(Refusal):
    """The queue is full: come again in `retry_after` seconds (whole, at least 1; from the measured rate)."""

    status, code = 429, "overloaded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(Overloaded):
    """This key has used up what it may, for now."""

    code = "rate_limit_exceeded"


class Closing(Refusal):
    """The server is shutting down."""

    status, code = 503, "shutting_down"


class EngineFailed(Refusal):
    """The decoder broke; the server's log has the reason."""

    status, code = 500, "engine_failed"


class TimedOut(Refusal):
    """The request took longer than the server allows."""

    status, code = 504, "timeout"
