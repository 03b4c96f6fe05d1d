"""Those who count: what workers tell about their work (metrics, limits per key)."""

from __future__ import annotations

from collections.abc import Sequence


class Watch:
    """Somebody who counts: hears what workers do. This one counts nothing. `stepped` is called in the worker's thread."""

    def submitted(self, worker: str, owner: str, prompt_tokens: int) -> None:
        """A job was taken in."""

    def refused(self, worker: str, owner: str) -> None:
        """A job found the line full."""

    def drawn(self, worker: str, owner: str, tokens: int, waited: Sequence[float]) -> None:
        """Tokens of a job; `waited`: seconds to the first token of each reply that began with them."""

    def stepped(self, worker: str, seconds: float, rows: int) -> None:
        """A step of the decoder: how long it took, how many rows were in it."""
