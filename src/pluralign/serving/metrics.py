"""Metrics: what the server counts, in the text format of Prometheus. Its own registry: two servers in one process count apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pluralign.serving.watch import Watch

if TYPE_CHECKING:
    from pluralign.serving.worker import Worker

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics(Watch):
    """Hears of requests from the guard, of tokens and steps from the workers, and asks the workers how they stand."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pluralign_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"pluralign_{name}", text, labels, registry=registry, buckets=buckets)

        self._requests = counter("requests", "Requests answered, by path and HTTP status.", "path", "status")
        self._gone = counter("disconnects", "Requests whose client left before the answer was complete.", "path")
        self._refused = counter("refused", "Requests refused, by reason.", "reason")
        self._seconds = histogram("request_seconds", "From a request's head to its answer's end.", SECONDS, "path")
        self._prompt = counter("prompt_tokens", "Tokens of prompts taken in.", "model")
        self._drawn = counter("completion_tokens", "Tokens of replies drawn.", "model")
        self._first = histogram("first_token_seconds", "From a request to each reply's first token.", SECONDS, "model")
        self._step = histogram("step_seconds", "A step of the decoder: one token for all rows.", STEP_SECONDS, "model")
        self._stepped = counter("step_rows", "Rows that steps had in all; by steps, the mean batch.", "model")
        self._known: dict[tuple[int, str], Any] = {}
        registry.register(_Standing(workers))
        for worker in workers.values():
            worker.watches.append(self)

    def text(self) -> bytes:
        """Everything, as /metrics answers it."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)

    @property
    def content_type(self) -> str:
        """Of `text`."""
        from prometheus_client import CONTENT_TYPE_LATEST

        return CONTENT_TYPE_LATEST

    def answered(self, path: str, status: int, seconds: float) -> None:
        """A request is over; `path` is a route, not what the client wrote."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def left(self, path: str) -> None:
        """A client left early."""
        self._gone.labels(path).inc()

    def turned_away(self, reason: str) -> None:
        """A request was refused; `reason` is one of a few words."""
        self._refused.labels(reason).inc()

    def refused(self, worker: str, owner: str) -> None:
        """A line was full."""
        self.turned_away("queue_full")

    def submitted(self, worker: str, owner: str, prompt_tokens: int) -> None:
        """Prompts were taken in."""
        self._of(self._prompt, worker).inc(prompt_tokens)

    def drawn(self, worker: str, owner: str, tokens: int, waited: Sequence[float]) -> None:
        """Tokens went out."""
        self._of(self._drawn, worker).inc(tokens)
        for seconds in waited:
            self._of(self._first, worker).observe(seconds)

    def stepped(self, worker: str, seconds: float, rows: int) -> None:
        """A step is done."""
        self._of(self._step, worker).observe(seconds)
        self._of(self._stepped, worker).inc(rows)

    def _of(self, family: Any, worker: str) -> Any:
        """The count of one worker; kept, since looking it up takes longer than counting."""
        key = id(family), worker
        if key not in self._known:
            self._known[key] = family.labels(worker)
        return self._known[key]


class _Standing:
    """How the workers stand when somebody looks."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        gauges = {
            "queue_length": ("Replies that wait for a place.", lambda worker: worker.waiting),
            "running": ("Replies that the decoder works on.", lambda worker: worker.running),
            "busy_rows": ("Key-value rows in use.", lambda worker: worker.busy_rows),
            "rows": ("Key-value rows there are.", lambda worker: worker.settings.rows),
            "healthy": ("1 where the decoder works.", lambda worker: int(worker.trouble() is None)),
        }
        for name, (text, value) in gauges.items():
            family = GaugeMetricFamily(f"pluralign_{name}", text, labels=["model"])
            for model, worker in self._workers.items():
                family.add_metric([model], value(worker))
            yield family
        cached = CounterMetricFamily(
            "pluralign_prefix_tokens",
            "Prompt tokens that the prefix cache knew (hit) or not (miss).",
            labels=["model", "found"],
        )
        for model, worker in self._workers.items():
            for found, number in zip(("hit", "miss"), worker.prefix_tokens(), strict=True):
                cached.add_metric([model, found], number)
        yield cached
