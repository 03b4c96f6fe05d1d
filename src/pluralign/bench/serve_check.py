"""Is a reply the one that was asked for? Before anything is timed, and of every reply under overload.

A reply is a function of its request alone (prompt, weights, seed). So the reply to a request among thousands must be,
word for word, the one it gets alone, and the server must say that it used the weights that were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pluralign.bench.gate import EqualityError
from pluralign.bench.serve_load import Ask, Reply, Target, closed
from pluralign.bench.serve_naive import Naive, Told
from pluralign.bench.serve_speed import check_all

TOLERANCE = 1e-6
"""Of a weight that is echoed."""


@dataclass
class Verdicts:
    """How many replies are right, right up to rounding (`near_boundary`), or another's (`mixed_up`)."""

    right: int = 0
    near_boundary: int = 0
    mixed_up: int = 0
    first: str = ""

    @property
    def checked(self) -> int:
        """All."""
        return self.right + self.near_boundary + self.mixed_up

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "right": self.right,
            "near_boundary": self.near_boundary,
            "mixed_up": self.mixed_up,
            "first": self.first,
        }


class Judge:
    """Knows what every ask is answered with alone."""

    def __init__(self, naive: Naive, asks: Sequence[Ask]) -> None:
        self.naive, self.asks = naive, asks
        self.told: list[Told] = [naive.reply(ask) for ask in asks]
        self._rounded: dict[tuple[int, str], bool] = {}

    def judge(self, replies: Sequence[Reply]) -> Verdicts:
        """Of the complete ones among them."""
        found = Verdicts()
        for reply in replies:
            if reply.complete:
                self._one(reply, found)
        return found

    def _one(self, reply: Reply, found: Verdicts) -> None:
        expected = self.told[reply.place].text
        echoed = same_weights(self.asks[reply.place], reply)
        if echoed and reply.text == expected:
            found.right += 1
        elif echoed and self._near_boundary(reply):
            found.near_boundary += 1
        else:
            found.mixed_up += 1
            asked = self.asks[reply.place]
            found.first = found.first or (
                f"{asked.prompt!r} under {asked.weights}, seed {asked.seed}: {reply.text!r} under {reply.echoed}, "
                f"not {expected!r}"
            )

    def _near_boundary(self, reply: Reply) -> bool:
        key = (reply.place, reply.text)
        if key not in self._rounded:
            place = reply.place
            self._rounded[key] = self.naive.near_boundary(self.asks[place], self.told[place], reply.text)
        return self._rounded[key]


def same_weights(ask: Ask, reply: Reply) -> bool:
    """Whether the server says that it used the weights that were asked for (an unsteered request has none)."""
    asked, used = dict(ask.weights or {}), dict(reply.echoed or {})
    return all(abs(asked.get(name, 0.0) - used.get(name, 0.0)) <= TOLERANCE for name in {*asked, *used})


def gate(target: Target, judge: Judge, clients: int) -> Verdicts:
    """All of the judge's asks at once over HTTP. EqualityError unless every reply is the one `generate` gives alone."""
    replies = closed(target, judge.asks, clients)
    check_all(replies, len(judge.asks))
    found = judge.judge(replies)
    if found.mixed_up:
        raise EqualityError(f"{found.mixed_up} of {found.checked} replies are not what generate gives: {found.first}")
    return found
