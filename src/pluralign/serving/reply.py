"""One reply while it is drawn: tokens in, text with its log-probabilities out, until a stop string, the end or the limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pluralign.serving.detokenise import Detokeniser
from pluralign.serving.stops import StopStrings
from pluralign.serving.token_text import Speller, TokenText

if TYPE_CHECKING:
    from pluralign.sampling.loop import Drawn

Finish = Literal["stop", "length"]
IMPOSSIBLE = -9999.0
"""The log-probability of what cannot be drawn, as the OpenAI API writes it: JSON has no infinity."""


class Entry(NamedTuple):
    """A token's log-probability under the steered model itself (nats), the likeliest `top` in its place, and where its
    text stands in the reply."""

    token: TokenText
    logprob: float
    top: tuple[tuple[TokenText, float], ...]
    start: int
    end: int


class Piece(NamedTuple):
    """What is new: text, its tokens (where asked for), and why the reply is over, if it is."""

    text: str
    entries: tuple[Entry, ...]
    finish: Finish | None

    def __bool__(self) -> bool:
        return bool(self.text or self.entries or self.finish)


class Reply:
    """Assembles one reply. `tokens` counts what was drawn, the end token and a stop string's tokens too.

    `whole`: nobody reads along, so that the text may come all at once; stop strings and log-probabilities read along.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        end_id: int,
        stops: Sequence[str] = (),
        speller: Speller | None = None,
        whole: bool = False,
    ) -> None:
        self._detokeniser, self._stops = Detokeniser(decode), StopStrings(stops)
        self._end_id, self._speller = end_id, speller
        self._decode, self._collects = decode, whole and not stops and speller is None
        self._ids: list[int] = []
        self._read = 0  # characters that the tokens so far have made
        self._given = 0  # characters that went out
        self._entries: deque[Entry] = deque()
        self.tokens = 0
        self.finish: Finish | None = None

    @property
    def collects(self) -> bool:
        """Whether all its text comes at the end, so that nobody need look at its tokens before."""
        return self._collects

    def push(self, drawn: Drawn) -> Piece:
        """The next token; after the reply has finished, nothing comes of it."""
        if self.finish:
            return Piece("", (), None)
        self.tokens += 1
        at_end = drawn.token == self._end_id
        if self._collects:
            return self._collect(drawn, at_end)
        text = self._stops.push(self._detokeniser.flush() if at_end else self._token(drawn))
        if drawn.ended and not at_end:
            text += self._stops.push(self._detokeniser.flush())
        if self._stops.found:
            self.finish = "stop"
        elif drawn.ended:
            self.finish = "stop" if at_end else "length"
            text += self._stops.flush()
        self._given += len(text)
        return Piece(text, self._released(), self.finish)

    def _collect(self, drawn: Drawn, at_end: bool) -> Piece:
        """Keep the token; the text of all of them at the end."""
        if not at_end:
            self._ids.append(drawn.token)
        if not drawn.ended:
            return Piece("", (), None)
        self.finish = "stop" if at_end else "length"
        return Piece(self._decode(self._ids), (), self.finish)

    def _token(self, drawn: Drawn) -> str:
        """The text that a token settles; its log-probabilities are noted where they were asked for."""
        tops = (
            [(token, self._detokeniser.peek(token), logprob) for token, logprob in drawn.top] if self._speller else []
        )
        piece = self._detokeniser.push(drawn.token)
        if self._speller:
            top = tuple((self._speller.spell(token, text), _finite(logprob)) for token, text, logprob in tops)
            token = self._speller.spell(drawn.token, piece)
            self._entries.append(Entry(token, _finite(drawn.own), top, self._read, self._read + len(piece)))
        self._read += len(piece)
        return piece

    def _released(self) -> tuple[Entry, ...]:
        """The tokens whose text has gone out whole; at the end, every one that has a character in the reply."""
        released = []
        while self._entries and self._is_out(self._entries[0]):
            released.append(self._entries.popleft())
        return tuple(released)

    def _is_out(self, entry: Entry) -> bool:
        if self.finish:
            return entry.start < self._given or not self._stops.found
        return entry.end < self._given or entry.start < entry.end == self._given


def _finite(logprob: float) -> float:
    return max(logprob, IMPOSSIBLE)
