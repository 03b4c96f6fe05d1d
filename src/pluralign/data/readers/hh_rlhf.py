"""HH-RLHF (arXiv 2204.05862): two whole dialogues as texts, the chosen one first to be named, "\\n\\nHuman: ...\\n\\nAssistant: ...".

The prompt is the dialogue up to the last "Assistant:" of each text. Where the dialogues part earlier, it ends at the
last "Assistant:" that they share, and the replies are all that follows, further turns included; `extra` then says how many
turns a reply is. The rows do not say what was asked of the judges; a source with "helpful" or "harmless" in its hub
configuration, file name or folder (Anthropic/hh-rlhf:harmless-base, helpful-online/train.jsonl.gz) does, and else the
comparison is overall. The red-team part (transcripts, no pairs) is another format.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.cells import need, rest
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.dialogue import parse_turns, shared_prompt
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response
from pluralign.data.strict import text
from pluralign.errors import DataError

OBJECTIVES = (
    Objective("helpful", "does what the person asks for"),
    Objective("harmless", "avoids toxic, dangerous or illegal content", safety=True),
)
LICENCE = "MIT"
HUB = "Anthropic/hh-rlhf"
SOURCE = "HH-RLHF (Bai et al. 2022, arXiv 2204.05862; Anthropic/hh-rlhf)"
_COLUMNS = ("chosen", "rejected")
COLUMNS = ", ".join(_COLUMNS) + " (whole dialogues as 'Human: ... Assistant: ...')"
_TURN = re.compile(r"\n\n(?:Human|Assistant):")


def recognise(row: dict[str, Any]) -> int:
    """Three, where there are whole dialogues: their marks count like a column, so that TRL's reader comes second."""
    texts = [row.get(column) for column in _COLUMNS]
    whole = all(isinstance(given, str) and _is_dialogue(given) for given in texts)
    return len(_COLUMNS) + 1 if whole and "prompt" not in row else 0


def _is_dialogue(given: str) -> bool:
    return given.startswith("\n\nHuman:") and "\n\nAssistant:" in given


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: one comparison per record, on the objective that the source's name tells, else overall."""
    asked = _asked(path)
    record = partial(_record, objective=asked[0].name if asked else None)
    return Dataset(asked, partial(convert, path, record, on_error), LICENCE, SOURCE, "hh_rlhf")


def _asked(path: str | Path) -> tuple[Objective, ...]:
    """The objective in the last two parts of the source's name, if there is exactly one."""
    name = "/".join(Path(path).parts[-2:]).lower()
    found = tuple(objective for objective in OBJECTIVES if objective.name in name)
    return found if len(found) == 1 else ()


def _record(row: dict[str, Any], line: int, objective: str | None) -> Record:
    need(row, _COLUMNS)
    chosen, rejected = (text(row[column], column) for column in _COLUMNS)
    prompt = shared_prompt(chosen, rejected)
    if not prompt.endswith("Assistant:"):
        raise DataError("chosen and rejected must share a dialogue up to an 'Assistant:' that both reply to")
    record = Record(
        parse_turns(prompt),
        (_reply(chosen[len(prompt) :]), _reply(rejected[len(prompt) :])),
        (Comparison(0, 1, "first", objective),),
        id=f"hh_rlhf-{line}",
        source=HUB,
        extra=rest(row, _COLUMNS),
    )
    check(record, OBJECTIVES)
    return record


def _reply(words: str) -> Response:
    turns = 1 + len(_TURN.findall(words))
    return Response(words.strip(), extra={"turns": turns} if turns > 1 else {})
