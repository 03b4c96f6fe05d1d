"""Text of a reply while it is drawn: what is settled, and never half a character.

A token is decoded among the few before it, because decoders look back (a space, a capital, a character made of several
tokens). So a token costs the decoding of a short window, whatever the reply's length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"
"""What decoders write for bytes that are no character, or not yet."""
CONTEXT = 5
"""Tokens that a decoder may look back on; the lab's looks back three."""
PENDING = 3
"""Tokens that an unfinished character can hold: UTF-8 has at most four bytes, and the last one finishes it."""
LONGEST = 2 * CONTEXT + PENDING
"""Tokens of a window, at most."""


class Detokeniser:
    """Ids in, text out. The pieces and the rest of `flush` make up `decode` of all ids, wherever that is valid text."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._whole = 0  # tokens of the window whose text has gone out whole
        self._known = ""  # the window's text that has gone out

    def push(self, token: int) -> str:
        """The text that is certain now and was not before; empty while a character is unfinished."""
        self._window.append(token)
        text = self._decode(self._window)
        certain = text.rstrip(BROKEN)
        if len(certain) == len(text):
            piece = self._new(self._window, text)
            self._whole, self._known = len(self._window), text
        else:  # bytes that may still become a character; what stands before them may be new
            piece = certain[len(self._known) :] if certain.startswith(self._known) else ""
            self._known += piece
        return piece if len(self._window) < LONGEST else piece + self._shorten()

    def peek(self, token: int) -> str:
        """What `push` would give, an unfinished character written as such; nothing is kept."""
        window = [*self._window, token]
        return self._new(window, self._decode(window))

    def flush(self) -> str:
        """What is left at the end: unfinished bytes, as the decoder writes them."""
        piece = self._new(self._window, self._decode(self._window))
        self._window, self._whole, self._known = [], 0, ""
        return piece

    def _new(self, window: list[int], text: str) -> str:
        """What `text`, the whole window's, adds to what has gone out."""
        if text.startswith(self._known):
            return text[len(self._known) :]
        return self._decode(window[self._whole :])  # bytes that are no text made the decoder take back what it said

    def _shorten(self) -> str:
        """Keep no more than decoders look back on; give out bytes that no token can finish any more."""
        whole, rest = self._window[: self._whole], self._window[self._whole :]
        if len(rest) <= PENDING:
            beyond = self._known[len(self._decode(whole)) :] if rest else ""
            self._keep(whole, rest)
            self._known += beyond
            return ""
        settled, pending = self._window[:-PENDING], self._window[-PENDING:]
        text = self._decode(settled)
        if text.startswith(self._known) and len(text) > len(self._known):
            piece = text[len(self._known) :]
            self._keep(settled, pending)
            return piece
        self._window = self._window[-CONTEXT:]  # each token has finished a character and begun the next
        self._whole, self._known = CONTEXT - PENDING, self._decode(self._window).rstrip(BROKEN)
        return ""

    def _keep(self, whole: list[int], rest: list[int]) -> None:
        """A window of the last tokens that have gone out whole, and the rest.

        It does not begin inside a character, where that can be helped: some decoders write all bytes behind it as broken.
        """
        best = self._decode(whole[-CONTEXT:])
        kept = whole[-CONTEXT:]
        for length in range(CONTEXT + 1, CONTEXT + PENDING + 1):
            if BROKEN not in best:
                break
            text = self._decode(whole[-length:])
            if text.count(BROKEN) < best.count(BROKEN):
                best, kept = text, whole[-length:]
        self._window, self._whole, self._known = [*kept, *rest], len(kept), best
