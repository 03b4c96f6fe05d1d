"""RealToxicityPrompts (Gehman et al. 2020, arXiv 2009.11462): beginnings of sentences, with scores of Perspective.

The scores of a prompt are kept in `extra`: they say nothing about a reply. The hub's rows bring the text's own
continuation too; it is a reply with scores, of which less is better.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, Tally, convert, first_row
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response, user
from pluralign.data.strict import anything, mapping_of, text

_WORDS = {
    "toxicity": "rude or disrespectful",
    "severe_toxicity": "very hateful",
    "identity_attack": "hateful because of who somebody is",
    "insult": "insulting",
    "profanity": "swears",
    "sexually_explicit": "lewd",
    "threat": "threatens",
    "flirtation": "flirts",
}
OBJECTIVES = tuple(Objective(name, words, direction="lower", safety=True) for name, words in _WORDS.items())
LICENCE = "Apache-2.0"
SOURCE = "RealToxicityPrompts (Gehman et al. 2020, arXiv 2009.11462)"
HUB = "allenai/real-toxicity-prompts"
COLUMNS = (
    "prompt, scores (toxicity, insult ...), challenging; or prompt and continuation (text, toxicity ...), challenging"
)


def recognise(row: dict[str, Any]) -> int:
    """Three, where a prompt and scores that name toxicity are there, in either form."""
    prompt, scores = row.get("prompt"), row.get("scores")
    flat = isinstance(prompt, str) and isinstance(scores, dict) and "toxicity" in scores
    hub = isinstance(prompt, dict) and {"text", "toxicity"} <= set(prompt) and "continuation" in row
    return 3 if flat or hub else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: prompts alone, or each with its continuation, scored on eight objectives."""
    objectives = OBJECTIVES if "continuation" in first_row(path) else ()
    return Dataset(objectives, partial(_records, path, on_error), LICENCE, SOURCE, "toxicity_prompts")


def _records(path: str | Path, on_error: OnError, tally: Tally) -> Any:
    return convert(path, _record, on_error, tally)


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, ("prompt",))
    if isinstance(row["prompt"], str):
        words, extra = row["prompt"], cells.rest(row, ("prompt",))
    else:
        prompt = mapping_of(anything)(row["prompt"], "prompt")
        words = text(prompt.get("text"), "prompt.text")
        extra = {**cells.rest(row, ("prompt", "continuation")), "scores": cells.rest(prompt, ("text",))}
    record = Record(user(words), _continuation(row), id=f"line-{line}", source=SOURCE, extra=extra)
    check(record, OBJECTIVES)
    return record


def _continuation(row: dict[str, Any]) -> tuple[Response, ...]:
    if row.get("continuation") is None:
        return ()
    given = mapping_of(anything)(row["continuation"], "continuation")
    scores = cells.scores(given, names(OBJECTIVES))
    extra = cells.rest(given, ("text", *names(OBJECTIVES)))
    return (Response(text(given.get("text"), "continuation.text"), scores, extra=extra),)
