"""An endpoint that speaks the chat protocol of OpenAI (`POST base_url/chat/completions`), as many servers do.

What is refused for now (408, 409, 425, 429, 5xx, a broken connection, no answer in time, an answer that is none) is asked
again, after a wait that doubles. What is refused for good stops everything where it concerns all questions (no such
model, no access), and leaves this question without an answer where it concerns only this one (400, 413, 422).
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pluralign.errors import ConfigError, MissingExtraError, RunError
from pluralign.scorers.asking import Answers, Question

AGAIN = {408, 409, 425, 429, *range(500, 600)}
THIS_ONE = {400, 413, 422}
FIRST_REFUSED = 5  # questions refused before any was answered: it is not their fault
LONGEST_WAIT = 60.0  # seconds

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask. Raises ConfigError for an address that is none, a missing key or numbers that mean nothing."""

    base_url: str
    """address up to /v1, e.g. http://localhost:8000/v1"""
    model: str
    """the model's name there"""
    key_variable: str | None = None
    """environment variable that holds the API key; none sends no key"""
    timeout: float = 120.0
    """seconds to wait for one answer"""
    retries: int = 6
    """how often a question is asked again"""
    wait: float = 1.0
    """seconds before the first repetition; doubled each time, up to a minute"""
    concurrency: int = 8
    """questions that are under way at once"""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """what the endpoint calls the number of tokens of an answer"""

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url starts with http:// or https://, got {self.base_url!r}")
        if "@" in self.base_url:
            raise ConfigError(
                "base_url holds no names or passwords; put the key into an environment variable (key_variable)"
            )
        if self.key_variable is not None and not os.environ.get(self.key_variable):
            raise ConfigError(
                f"the environment variable {self.key_variable} is empty; put the endpoint's API key there"
            )
        if not (0 < self.timeout < float("inf") and 0 <= self.wait < float("inf")):
            raise ConfigError(f"timeout and wait are finite seconds, got {self.timeout} and {self.wait}")
        if self.retries < 0 or self.concurrency < 1:
            raise ConfigError(f"retries are at least 0 and concurrency 1, got {self.retries} and {self.concurrency}")

    @property
    def name(self) -> str:
        """Model and address."""
        return f"{self.model} at {self.base_url}"

    def answers(self, questions: Sequence[Question]) -> Answers:
        """See `asking.Ask`."""
        if not questions:
            return
        asking = _Asking(self)
        pool = ThreadPoolExecutor(min(self.concurrency, len(questions)), "judge")
        try:
            for place in [pool.submit(asking.answer, question) for question in questions]:
                yield place.result()
        finally:
            asking.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            asking.client.close()


class _Asking:
    """One round of questions: a connection pool, and how it went so far."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.stopped = endpoint, threading.Event()
        self._lock = threading.Lock()
        self._answered = self._refused = 0
        self.client = self._client

    @cached_property
    def _client(self) -> Any:
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtraError("a judge at an endpoint needs httpx2; pip install 'pluralign[judge]'") from error
        variable = self.endpoint.key_variable
        headers = {} if variable is None else {"Authorization": f"Bearer {os.environ[variable]}"}
        return httpx2.Client(headers=headers, timeout=self.endpoint.timeout)

    def answer(self, question: Question) -> str | None:
        """The answer, asked for as often as is allowed. Raises RunError, ConfigError."""
        body = _body(self.endpoint, question)
        for number in range(self.endpoint.retries + 1):
            answer, reason, wait = self._once(body)
            if reason is None:
                return answer
            if number < self.endpoint.retries:
                self._pause(number, wait)
        raise RunError(
            f"{self.endpoint.name} gave no answer in {self.endpoint.retries + 1} attempts ({reason}); what was answered "
            "is kept. Look at the endpoint, then go on with the same command (and --resume, where it trains)"
        )

    def _pause(self, number: int, wait: float | None) -> None:
        longest = self.endpoint.wait * 2**number * random.uniform(0.75, 1.25)
        if self.stopped.wait(min(LONGEST_WAIT, longest if wait is None else wait)):
            raise RunError("stopped")

    def _once(self, body: dict[str, Any]) -> tuple[str | None, str | None, float | None]:
        """(answer, why it has to be asked again, seconds to wait as the endpoint says)."""
        import httpx2

        try:
            response = self.client.post(self.endpoint.base_url.rstrip("/") + "/chat/completions", json=body)
        except httpx2.InvalidURL as error:
            raise ConfigError(f"base_url {self.endpoint.base_url!r} is no address: {error}") from error
        except httpx2.TransportError as error:
            return None, f"{type(error).__name__} {error}".strip(), None
        if response.status_code in AGAIN:
            return None, f"status {response.status_code}", _seconds(response.headers.get("retry-after"))
        if response.status_code in THIS_ONE:
            self._refuse(response)
            return None, None, None
        if response.status_code != 200:
            raise ConfigError(
                f"{self.endpoint.name} refuses (status {response.status_code}): {response.text[:200]!r}; check base_url, "
                "model and key_variable"
            )
        text = _content(response)
        if text is None:
            return None, f"an answer that is none: {response.text[:80]!r}", None
        with self._lock:
            self._answered += 1
        return text, None, None

    def _refuse(self, response: Any) -> None:
        with self._lock:
            self._refused += 1
            first = self._refused == 1
            hopeless = not self._answered and self._refused >= FIRST_REFUSED
        told = f"{self.endpoint.name} refuses a question (status {response.status_code}): {response.text[:200]!r}"
        if hopeless:
            raise ConfigError(f"{told}; so it did with all {self._refused} before. Check the judge's settings")
        if first:
            log.warning("%s", told)


def _body(endpoint: Endpoint, question: Question) -> dict[str, Any]:
    return {
        "model": endpoint.model,
        "messages": [{"role": message.role, "content": message.content} for message in question.messages],
        endpoint.limit_name: question.max_tokens,
        "temperature": question.temperature,
        **({"seed": question.seed} if question.temperature else {}),
    }


def _content(response: Any) -> str | None:
    """The text of a chat completion; None for anything else."""
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else None


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; None for a date, or nothing."""
    return float(text) if text is not None and text.strip().isdigit() else None
