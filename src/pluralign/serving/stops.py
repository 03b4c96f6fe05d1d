"""Stop strings: text is held back while a stop string could still come of it."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Text in by pieces, text out that stands before any of `stops`; each character is looked at once (Knuth, Morris,
    Pratt 1977).

    The string that is complete first ends the reply; of two complete at once, the longer one. It is not given out.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = [(stop, _fallbacks(stop)) for stop in stops]
        self._matched = [0] * len(self._stops)  # characters of each stop string that the text ends with
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """Text that is certain now; after a stop string was `found`, nothing more."""
        if self.found:
            return ""
        for place, character in enumerate(piece):
            complete = self._step(character)
            if complete:
                self.found = True
                text = (self._held + piece[: place + 1])[:-complete]
                self._held = ""
                return text
        text = self._held + piece
        kept = max(self._matched, default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """What was held back, at the end of a reply."""
        held, self._held = self._held, ""
        return held

    def _step(self, character: str) -> int:
        """Length of the longest stop string that the text is now complete for; 0 for none."""
        complete = 0
        for number, (stop, fallbacks) in enumerate(self._stops):
            matched = self._matched[number]
            while matched and stop[matched] != character:
                matched = fallbacks[matched - 1]
            matched += stop[matched] == character
            self._matched[number] = matched
            if matched == len(stop):
                complete = max(complete, matched)
        return complete


def _fallbacks(stop: str) -> list[int]:
    """For each beginning of `stop`, the length of its longest proper end that is also a beginning."""
    fallbacks = [0] * len(stop)
    matched = 0
    for place in range(1, len(stop)):
        while matched and stop[matched] != stop[place]:
            matched = fallbacks[matched - 1]
        matched += stop[matched] == stop[place]
        fallbacks[place] = matched
    return fallbacks
