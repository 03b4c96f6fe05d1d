"""Rows: every (messages, response, finished) tokenised once, kept as arrays, numbered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pluralign.data.group import Text
from pluralign.data.record import Message
from pluralign.packing import batches
from pluralign.storage import fingerprint
from pluralign.training.progress import Progress

if TYPE_CHECKING:
    from pluralign.training.states import TrunkStates
    from pluralign.training.trainable import PairEncoder


class Rows:
    """A cache from (messages, response, finished) to a row number; the ids of row i are `ids[i]`, its prompt
    `prompts[i]` long.

    A response that was cut off is read without an end token, and is another row than the same text that ended. One
    that does not fit, or has no token to read, has no number (None) and is counted in `rejected`. `states`: the
    frozen trunk's hidden states of all rows, where they are kept.
    """

    def __init__(self, encoder: PairEncoder) -> None:
        self.encoder = encoder
        self.ids: list[np.ndarray] = []
        self.prompts: list[int] = []
        self.rejected = 0
        self.states: TrunkStates | None = None
        self._numbers: dict[Text, int | None] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def number(self, messages: tuple[Message, ...], response: str, finished: bool = True) -> int | None:
        """The row's number, tokenised on first sight."""
        key = (messages, response, finished)
        if key not in self._numbers:
            self._numbers[key] = self._encode(messages, response, finished)
        return self._numbers[key]

    def _encode(self, messages: tuple[Message, ...], response: str, finished: bool) -> int | None:
        encoded = self.encoder.pair(messages, response, finished)
        if encoded is None or not encoded[1]:
            self.rejected += 1
            return None
        prompt, answer = encoded
        self.ids.append(np.array([*prompt, *answer], dtype=np.int32))
        self.prompts.append(len(prompt))
        return len(self.ids) - 1

    def numbers(self, texts: Sequence[Text]) -> list[int]:
        """Distinct rows of the texts that fit, in order of first sight; with a progress bar."""
        found: dict[int | None, None] = {}
        with Progress("tokenising", len(texts)) as progress:
            for text in texts:
                found[self.number(*text)] = None
                progress.advance()
        return [number for number in found if number is not None]

    def length(self, number: int) -> int:
        """Tokens of prompt and response."""
        return len(self.ids[number])

    def batches(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Places among the numbers, in batches that keep a prompt's responses together; always the same for the same."""
        prompts = [self.ids[number][: self.prompts[number]].tobytes() for number in numbers]
        return batches([self.length(number) for number in numbers], prompts)

    def content(self, numbers: Sequence[int]) -> str:
        """A fingerprint of the rows' ids: of the data, the template and the tokenizer at once."""
        lengths = np.array([(self.prompts[i], len(self.ids[i])) for i in numbers], dtype=np.int64)
        tokens = [self.ids[i].astype("<i4").tobytes() for i in numbers]
        return fingerprint(lengths.astype("<i8").tobytes(), b"".join(tokens))
