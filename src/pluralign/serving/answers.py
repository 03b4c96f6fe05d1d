"""What replies look like, as the OpenAI API writes them: whole ones, and the chunks of streams."""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pluralign.serving.reply import Entry, Piece

_dump = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Counts:
    """Tokens of the prompts, each counted once, and of all that was drawn."""

    prompt: int
    drawn: int

    def to_json(self) -> dict[str, int]:
        """The API's `usage`."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.drawn,
            "total_tokens": self.prompt + self.drawn,
        }


@dataclass
class Answer(ABC):
    """What all responses to one request share. `steering`: the condition used; `logprobs`: whether they were asked for."""

    kind: ClassVar[str]
    chunk_kind: ClassVar[str]
    prefix: ClassVar[str]

    model: str
    fingerprint: str
    steering: dict[str, Any] | None
    logprobs: bool
    include_usage: bool = False
    id: str = field(init=False)
    created: int = field(init=False)

    def __post_init__(self) -> None:
        self.id, self.created = f"{self.prefix}-{secrets.token_hex(16)}", int(time.time())
        self._chunk = _dump(self._head(self.chunk_kind))[:-1]  # how every chunk begins
        self._end = ',"usage":null}' if self.include_usage else "}"

    @abstractmethod
    def opening(self, index: int) -> dict[str, Any]:
        """The choice of a reply's first chunk, before its text."""

    @abstractmethod
    def choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        """One whole reply."""

    @abstractmethod
    def deltas(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """The choices of the chunks that a piece makes."""

    def whole(self, pieces: Sequence[Sequence[Piece]], counts: Counts) -> dict[str, Any]:
        """The response that is no stream; `pieces` of each reply."""
        choices = [self.choice(index, own) for index, own in enumerate(pieces)]
        return self._head(self.kind) | {"choices": choices, "usage": counts.to_json(), "steering": self.steering}

    def event(self, choice: dict[str, Any], first: bool = False) -> str:
        """One chunk as an event; the `first` one of each reply says what was used."""
        used = f',"steering":{_dump(self.steering)}' if first else ""
        return f'data: {self._chunk},"choices":[{_dump(choice)}]{used}{self._end}\n\n'

    def last(self, counts: Counts) -> str:
        """The end of a stream."""
        usage = f'data: {self._chunk},"choices":[],"usage":{_dump(counts.to_json())}}}\n\n'
        return (usage if self.include_usage else "") + "data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


@dataclass
class ChatAnswer(Answer):
    """Of /v1/chat/completions."""

    kind: ClassVar[str] = "chat.completion"
    chunk_kind: ClassVar[str] = "chat.completion.chunk"
    prefix: ClassVar[str] = "chatcmpl"

    def opening(self, index: int) -> dict[str, Any]:
        """Who speaks."""
        return self._delta(index, {"role": "assistant", "content": "", "refusal": None})

    def choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        """A message."""
        text = "".join(piece.text for piece in pieces)
        entries = [entry for piece in pieces for entry in piece.entries]
        return {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": self._logprobs(entries),
            "finish_reason": pieces[-1].finish,
        }

    def deltas(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """The text, then the reason why it ended."""
        found = []
        if piece.text or piece.entries:
            delta = self._delta(index, {"content": piece.text})
            found.append(delta | {"logprobs": self._logprobs(piece.entries)})
        if piece.finish:
            found.append(self._delta(index, {}) | {"finish_reason": piece.finish})
        return found

    def _delta(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def _logprobs(self, entries: Sequence[Entry]) -> dict[str, Any] | None:
        return {"content": [_named(entry) for entry in entries], "refusal": None} if self.logprobs else None


def _named(entry: Entry) -> dict[str, Any]:
    """A token of a chat's log-probabilities."""
    (text, data), top = entry.token, entry.top
    return {
        "token": text,
        "logprob": entry.logprob,
        "bytes": list(data),
        "top_logprobs": [{"token": t.text, "logprob": logprob, "bytes": list(t.data)} for t, logprob in top],
    }


@dataclass
class CompletionAnswer(Answer):
    """Of /v1/completions. `echoes`: the prompt of each reply where it is to be repeated, else nothing."""

    kind: ClassVar[str] = "text_completion"
    chunk_kind: ClassVar[str] = "text_completion"
    prefix: ClassVar[str] = "cmpl"

    echoes: Sequence[str] = ()

    def opening(self, index: int) -> dict[str, Any]:
        """The prompt, where it is echoed."""
        return self._choice(index, self._echo(index), (), None)

    def choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        """A text."""
        text = self._echo(index) + "".join(piece.text for piece in pieces)
        return self._choice(index, text, [entry for piece in pieces for entry in piece.entries], pieces[-1].finish)

    def deltas(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """The text, with the reason why it ended."""
        return [self._choice(index, piece.text, piece.entries, piece.finish)]

    def _echo(self, index: int) -> str:
        return self.echoes[index] if self.echoes else ""

    def _choice(self, index: int, text: str, entries: Sequence[Entry], finish: str | None) -> dict[str, Any]:
        logprobs = _columns(entries) if self.logprobs else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _columns(entries: Sequence[Entry]) -> dict[str, Any]:
    """Log-probabilities as the completions API writes them; the drawn token is among the likeliest, or beside them."""
    top = [
        {**{token.text: logprob for token, logprob in reversed(entry.top)}, entry.token.text: entry.logprob}
        for entry in entries
    ]
    return {
        "tokens": [entry.token.text for entry in entries],
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": top,
        "text_offset": [entry.start for entry in entries],
    }
