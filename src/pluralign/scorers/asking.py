"""Ask: questions to a language model in, its answers out; whoever answers, an endpoint or a policy.

`Remembered` keeps answers on the disk by the content of their questions, so that nothing is asked twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from pluralign.data.record import Message
from pluralign.errors import ConfigError
from pluralign.storage import fingerprint, storage_errors


@dataclass(frozen=True, slots=True)
class Question:
    """A dialogue to answer in at most `max_tokens` tokens; `temperature` 0 takes the likeliest token, else `seed` draws."""

    messages: tuple[Message, ...]
    max_tokens: int = 16
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or not 0 <= self.temperature < float("inf"):
            raise ConfigError(
                f"a question needs max_tokens from 1 and a finite temperature from 0, got {self.max_tokens} and "
                f"{self.temperature}"
            )


Answers = Generator[str | None, None, None]


class Ask(Protocol):
    """Somebody who answers."""

    @property
    def name(self) -> str:
        """Who answers, as far as answers depend on it."""

    def answers(self, questions: Sequence[Question]) -> Answers:
        """One answer each, in the order of the questions, as soon as it and those before it are there.

        None where this question can have none (it is too long, say). Raises RunError where nobody answers at all.
        """


class Remembered:
    """An `ask` with a memory: equal questions are asked once, and those in the file `path` (if any) never again.

    The file has a line of JSON per answer, {"key": SHA-256 of who is asked and what, "answer": text}; no question
    stands in it.
    """

    def __init__(self, ask: Ask, path: Path | None = None) -> None:
        self.ask, self.path = ask, path
        self._known: dict[str, str] = {} if path is None else _whole_lines(path)

    @property
    def name(self) -> str:
        """Who answers."""
        return self.ask.name

    def answers(self, questions: Sequence[Question]) -> Answers:
        """See `Ask`; an answer is on the disk before it is handed out. Raises StorageError."""
        keys = [self._key(question) for question in questions]
        new = {key: question for key, question in zip(keys, questions, strict=True) if key not in self._known}
        done: set[str] = set()
        with closing(self.ask.answers(list(new.values()))) as answers:
            told = zip(new, answers, strict=True)
            for key in keys:
                while key not in self._known and key not in done:
                    asked, answer = next(told)
                    done.add(asked)
                    self._keep(asked, answer)
                yield self._known.get(key)

    def _key(self, question: Question) -> str:
        return fingerprint(self.name, asdict(question))

    def _keep(self, key: str, answer: str | None) -> None:
        if answer is None:
            return
        self._known[key] = answer
        if self.path is not None:
            line = json.dumps({"key": key, "answer": answer}, ensure_ascii=False) + "\n"
            with storage_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab") as file:
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())


def _whole_lines(path: Path) -> dict[str, str]:
    """The answers of the file; a last line that was not finished is cut off. Raises ConfigError for another file."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    try:
        rows = [json.loads(line) for line in content[:end].splitlines()]
        found = {str(row["key"]): str(row["answer"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no file of answers ({error}); give another name, or remove it") from error
    if end < len(content):
        with storage_errors(path), path.open("r+b") as file:
            file.truncate(end)
    return found
