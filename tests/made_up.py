"""Made-up feedback and a tiny model folder, for everything that reads files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

import tiny
from pluralign.data import jsonl
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response, user

OBJECTIVES = (Objective("kind", low=0, high=4), Objective("brief", low=0, high=8))
SPOKEN = ["kind", "please", "joke", "good", "nice", "funny", "short", "long", "very", "helpful"]
SMALL = ["--optim.steps", "4", "--optim.batch-size", "4"]


def words_model(folder: Path) -> Path:
    """A random Llama and its word tokenizer as a Hugging Face folder."""
    tiny.model(tiny.config()).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def scored(num: int = 20, replies: int = 3, seed: int = 0) -> list[Record]:
    """Records whose replies are scored by rule: kind (0..4) counts kind words, brief (0..8) falls with the length."""
    rng = np.random.default_rng(seed)
    return [Record(user("tell me a joke"), tuple(_reply(rng) for _ in range(replies)), id=str(i)) for i in range(num)]


def _reply(rng: np.random.Generator) -> Response:
    return _judged(Response(" ".join(rng.choice(SPOKEN, size=rng.integers(2, 9)).tolist())))


def compared(
    num: int = 20, replies: int = 3, seed: int = 0, objectives: Sequence[str] = ("kind", "brief")
) -> list[Record]:
    """The same, but people only said which reply is better (ties included)."""
    found = []
    for record in scored(num, replies, seed):
        said = tuple(
            Comparison(i, j, _verdict(record, i, j, name), name)
            for name in objectives
            for i in range(replies)
            for j in range(i + 1, replies)
        )
        bare = tuple(Response(response.text) for response in record.responses)
        found.append(Record(record.messages, bare, said, id=record.id))
    return found


def _verdict(record: Record, i: int, j: int, name: str) -> str:
    difference = record.responses[i].scores[name] - record.responses[j].scores[name]
    return "first" if difference > 0 else "second" if difference < 0 else "tie"


def write(path: Path, records: Sequence[Record], objectives: Sequence[Objective] = OBJECTIVES) -> Path:
    """A record file."""
    jsonl.write(path, records, objectives)
    return path


def lines(path: Path, *rows: object) -> Path:
    """A file of these JSON lines; a text is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def row(*texts: str, **scores: list[float]) -> dict[str, object]:
    """A row of a record file without a header."""
    said = [
        {"text": text, "scores": {name: values[i] for name, values in scores.items()}} for i, text in enumerate(texts)
    ]
    return {"messages": [{"role": "user", "content": "tell me a joke"}], "responses": said}


def joined(prompt: str, *records: Record) -> Record:
    """The first replies of several records under one prompt."""
    return Record(user(prompt), tuple(record.responses[0] for record in records))


class Rule:
    """The scorer that `scored` goes by; `told` counts the replies that it was asked about."""

    objectives = OBJECTIVES

    def __init__(self) -> None:
        self.told = 0

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """Kind words (up to 4), and what is left of eight words."""
        for record in records:
            self.told += len(record.responses)
            yield dataclasses.replace(record, responses=tuple(_judged(reply) for reply in record.responses))


class Breaking(Rule):
    """The rule, which breaks down at the record `fails`; `asked` counts the records that it judged."""

    def __init__(self, fails: int = -1) -> None:
        super().__init__()
        self.fails, self.asked = fails, 0

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """One record after the other. Raises RuntimeError."""
        for record in records:
            if self.asked == self.fails:
                raise RuntimeError("the judge is gone")
            self.asked += 1
            yield from super().score([record])


def _judged(reply: Response) -> Response:
    words = reply.text.split()
    kind = min(4, sum(word in ("kind", "nice", "good") for word in words))
    return dataclasses.replace(reply, scores={"kind": float(kind), "brief": max(0.0, 8.0 - len(words))})
