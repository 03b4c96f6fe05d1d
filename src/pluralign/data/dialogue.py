"""Dialogues written as one text: "Human: ...", "Assistant: ..." turns, and what two such texts share."""

from __future__ import annotations

import re
from itertools import takewhile

from pluralign.data.record import Message
from pluralign.errors import DataError

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_MARK = re.compile(r"\s*<extra_id_1>(User|Assistant)\n")
_ROLES = {"Human": "user", "User": "user", "Assistant": "assistant"}


def parse_turns(text: str) -> tuple[Message, ...]:
    """The turns of a "Human:/Assistant:" text, white space around them dropped.

    An empty last "Assistant:" only asks for the reply and is dropped; two turns of the same speaker in a row become
    one, parted by an empty line, because chat templates want speakers to alternate. Raises DataError for a text
    that does not begin with a turn.
    """
    before, *parts = _TURN.split(text.lstrip("\n"))
    if before or not parts:
        raise DataError("the dialogue must begin with 'Human:' or 'Assistant:' and part its turns by an empty line")
    turns: list[Message] = []
    for speaker, content in zip(parts[::2], parts[1::2], strict=True):
        turn = Message(_ROLES[speaker], content.strip())
        if turns and turns[-1].role == turn.role:
            turn = Message(turn.role, f"{turns.pop().content}\n\n{turn.content}".strip())
        turns.append(turn)
    return tuple(turns[:-1] if turns[-1] == Message("assistant", "") else turns)


def parse_marked(text: str) -> tuple[Message, ...]:
    """The turns of a prompt whose later ones begin with "<extra_id_1>Assistant" or "<extra_id_1>User" (HelpSteer2).

    The first turn is the user's and bears no mark; a text without marks is one turn. White space before a mark
    belongs to the mark.
    """
    first, *parts = _MARK.split(text)
    later = zip(parts[::2], parts[1::2], strict=True)
    return (Message("user", first), *(Message(_ROLES[speaker], content) for speaker, content in later))


def shared_prompt(chosen: str, rejected: str) -> str:
    """The prompt that two whole texts share: up to the last common "Assistant:", else up to the last common word end.

    White space after the prompt belongs to the replies, so that prompt + reply is the text again. Raises DataError
    when no prompt is shared.
    """
    shared = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False)))
    markers = [match.end() for match in _TURN.finditer(shared) if match[1] == "Assistant"]
    if markers:
        return shared[: markers[-1]]
    spaces = [place for place, letter in enumerate(shared[: min(len(chosen), len(rejected)) - 1]) if letter.isspace()]
    if not spaces or not shared[: spaces[-1]].strip():
        raise DataError("chosen and rejected begin with no common prompt; give the prompt in a column of its own")
    return shared[: spaces[-1]]
