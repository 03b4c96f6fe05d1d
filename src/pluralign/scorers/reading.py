"""What a judge is shown, and how its answer is read: texts between marks, then one of the allowed answers or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pluralign.data.record import Message
from pluralign.errors import ConfigError
from pluralign.scorers.asking import Question

_MARK = re.compile(r"<(?=/?(?:dialogue|reply|reply_1|reply_2)>)")
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?![\w]|\.\d)")
_OUT_OF = re.compile(r"(?:/|\bout of\b)\s*\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Example:
    """A question answered as it should be: a `prompt`, its `replies` (one, or two to compare), the judge's `answer`."""

    prompt: str
    replies: tuple[str, ...]
    answer: str


def shown(messages: Sequence[Message], replies: Sequence[str]) -> str:
    """The dialogue and the replies (one, or two) between marks; the marks are taken apart where a text holds them."""
    turns = "\n\n".join(f"{message.role}: {_plain(message.content)}" for message in messages)
    names = ["reply"] if len(replies) == 1 else [f"reply_{place}" for place in range(1, len(replies) + 1)]
    parts = [f"<{name}>\n{_plain(text)}\n</{name}>" for name, text in zip(names, replies, strict=True)]
    return "\n\n".join([f"<dialogue>\n{turns}\n</dialogue>", *parts])


def _plain(text: str) -> str:
    return _MARK.sub("< ", text)


def question(
    instruction: str,
    messages: Sequence[Message],
    replies: Sequence[str],
    examples: Sequence[Example] = (),
    max_tokens: int = 16,
) -> Question:
    """The instruction with what is to be judged, behind the examples as earlier turns; temperature 0."""
    turns = [(shown((Message("user", each.prompt),), each.replies), each.answer) for each in examples]
    told = [f"{instruction}\n\n{text}" for text in (*(text for text, _ in turns), shown(messages, replies))]
    spoken: list[Message] = []
    for text, (_, answer) in zip(told, turns, strict=False):
        spoken += [Message("user", text), Message("assistant", answer)]
    return Question((*spoken, Message("user", told[-1])), max_tokens)


def check_examples(examples: Sequence[Example], num_replies: int) -> None:
    """Raise ConfigError for an example with another number of replies."""
    for example in examples:
        if len(example.replies) != num_replies:
            raise ConfigError(
                f"an example has {num_replies} replies here, this one has {len(example.replies)}: {example}"
            )


def one_of(answer: str, allowed: Sequence[str]) -> str | None:
    """The one allowed answer that stands in a text as whole words, whatever its case; None for none or several."""
    rest, found = answer.casefold(), []
    for word in sorted(allowed, key=len, reverse=True):  # a longer one may hold a shorter one
        pattern = rf"(?<!\w){re.escape(word.casefold())}(?!\w)"
        if re.search(pattern, rest):
            found.append(word)
            rest = re.sub(pattern, " ", rest)
    return found[0] if len(found) == 1 else None


def number(answer: str, low: float, high: float) -> float | None:
    """The one number in a text ("4", "Score: 4", "4/5"); None for none, several different ones, or one out of range."""
    found = {float(text) for text in _NUMBER.findall(_OUT_OF.sub(" ", answer))}
    value = found.pop() if len(found) == 1 else None
    return value if value is not None and low <= value <= high else None


def fields(answer: str, names: Sequence[str]) -> dict[str, str] | None:
    """The texts behind "Name:" at the beginning of a line, all names once and in order; None for anything else."""
    marks = "|".join(re.escape(name) for name in names)
    parts = re.split(rf"^\s*\W*({marks})\W*?:[*_]*", answer, flags=re.MULTILINE | re.IGNORECASE)
    if [part.casefold() for part in parts[1::2]] != [name.casefold() for name in names]:
        return None
    return {name: text.strip() for name, text in zip(names, parts[2::2], strict=True)}
