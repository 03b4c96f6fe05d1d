"""From a row of a TRL dataset to a record. Nothing is lost: what no field holds is kept in `extra`.

`extra` holds foreign columns under their names and, under "trl_notes", what only a TRL writer needs: how many turns the
prompt column had, that there was none, and a message's further keys (tool calls, names).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from pluralign.data.dialogue import shared_prompt
from pluralign.data.record import Comparison, Message, Record, Response, Span, user
from pluralign.data.strict import boolean, fail, number, optional, text, tuple_of
from pluralign.data.trl_columns import CORE, NOTES
from pluralign.errors import DataError

STEP_LABEL, STEP_SEPARATOR = "step", "\n"
_Turn = tuple[Message, dict[str, Any]]  # and the message's further keys


def to_record(row: dict[str, Any], name: str) -> Record:
    """The record of a row of format `name`; the caller checks it. Raises DataError for wrong types."""
    build = _STANDARD if _is_standard(row, name) else _CONVERSATIONAL
    record: Record = build[name](row)
    extra = {key: value for key, value in row.items() if key not in CORE} | dict(record.extra)
    given_id = extra.pop("id") if isinstance(extra.get("id"), str) else ""
    comparisons = tuple(_with_judgement(comparison, extra) for comparison in record.comparisons)
    return Record(record.messages, record.responses, comparisons, id=given_id, extra=extra)


def _is_standard(row: dict[str, Any], name: str) -> bool:
    if name == "language_modeling":  # the column says which of the two it is
        if "text" in row:
            text(row["text"], "text")
        return "text" in row
    columns = [key for key in ("prompt", "completion", "chosen", "rejected") if key in row]
    kinds = {isinstance(row[key], str) for key in columns}
    if len(kinds) > 1:
        raise DataError(f"{', '.join(columns)} must be all texts (standard) or all lists of messages (conversational)")
    return kinds == {True}


def _with_judgement(comparison: Comparison, extra: dict[str, Any]) -> Comparison:
    objective = extra.pop("objective") if isinstance(extra.get("objective"), str) else None
    margin = number(extra.get("margin", 0.0), "margin") if extra.get("margin") is not None else 0.0
    if margin > 0:  # 0 and below are kept in `extra`: a strength is how far the better one is ahead
        del extra["margin"]
    return dataclasses.replace(comparison, objective=objective, strength=margin if margin > 0 else None)


_FIRST_WINS = (Comparison(0, 1, "first"),)


def _standard_implicit(row: dict[str, Any]) -> Record:
    prompt = shared_prompt(row["chosen"], row["rejected"])
    replies = (Response(row["chosen"][len(prompt) :]), Response(row["rejected"][len(prompt) :]))
    return Record(user(prompt), replies, _FIRST_WINS)


_STANDARD: dict[str, Callable[[dict[str, Any]], Record]] = {
    "language_modeling": lambda row: Record(user(""), (Response(row["text"]),)),
    "prompt_only": lambda row: Record(user(row["prompt"])),
    "prompt_completion": lambda row: Record(user(row["prompt"]), (Response(row["completion"]),)),
    "preference": lambda row: Record(
        user(row["prompt"]), (Response(row["chosen"]), Response(row["rejected"])), _FIRST_WINS
    ),
    "preference_implicit": _standard_implicit,
    "unpaired_preference": lambda row: Record(user(row["prompt"]), (Response(row["completion"], thumb=_thumb(row)),)),
    "stepwise_supervision": lambda row: Record(user(row["prompt"]), (_steps(row),)),
}


def _thumb(row: dict[str, Any]) -> Any:
    return "up" if boolean(row["label"], "label") else "down"


def _steps(row: dict[str, Any]) -> Response:
    """One reply whose lines are the steps, each a span with score 1 (right), 0 (wrong) or none (not judged)."""
    steps = tuple_of(text)(row["completions"], "completions")
    labels = tuple_of(optional(boolean))(row["labels"], "labels")
    if len(steps) != len(labels) or not steps or not all(steps):
        raise DataError(f"completions and labels must be equally many and no step empty: {len(steps)}, {len(labels)}")
    spans, start = [], 0
    for step, label in zip(steps, labels, strict=True):
        spans.append(Span(start, start + len(step), STEP_LABEL, None if label is None else float(label)))
        start += len(step) + len(STEP_SEPARATOR)
    return Response(STEP_SEPARATOR.join(steps), spans=tuple(spans))


def _turns(row: dict[str, Any], column: str) -> list[_Turn]:
    given = row[column]
    if not isinstance(given, list):
        fail(column, "a text or a list of messages {role, content}", given)
    return [_turn(item, f"{column}[{place}]") for place, item in enumerate(given)]


def _turn(item: Any, where: str) -> _Turn:
    if not isinstance(item, dict) or "role" not in item:
        fail(where, "a message with role and content", item)
    rest = {key: value for key, value in item.items() if key not in ("role", "content")}
    content = item.get("content")
    if content is None and rest:  # a turn that only calls a tool
        rest |= {"content": None} if "content" in item else {}
        content = ""
    return Message(text(item["role"], f"{where}.role"), text(content, f"{where}.content")), rest


def _assemble(prompt: list[_Turn], replies: Sequence[list[_Turn]], columns: bool) -> Record:
    """Prompt and replies as a record. What all replies begin with belongs to the prompt; the rest is one turn each."""
    shared = [list(turns) for turns in replies]
    moved: list[_Turn] = []
    while shared and min(map(len, shared)) > 1 and all(turns[0] == shared[0][0] for turns in shared):
        moved = [*moved, shared[0][0]]
        shared = [turns[1:] for turns in shared]
    for turns in shared:
        if len(turns) != 1 or turns[0][0].role != "assistant":
            raise DataError("a reply must be one assistant message after what all replies of the row share")
    before = prompt + moved
    notes: dict[str, Any] = {} if before else {"no_prompt": True}
    if before and columns and moved:
        notes["prompt_turns"] = len(prompt)
    before = before or [(Message("user", ""), {})]
    fields = {str(place): rest for place, (_, rest) in enumerate(before + [turns[0] for turns in shared]) if rest}
    notes |= {"fields": fields} if fields else {}
    responses = tuple(Response(turns[0][0].content) for turns in shared)
    return Record(tuple(message for message, _ in before), responses, extra={NOTES: notes} if notes else {})


def _messages(row: dict[str, Any]) -> Record:
    turns = _turns(row, "messages")
    ends_with_reply = bool(turns) and turns[-1][0].role == "assistant"
    return _assemble(turns[:-1], [turns[-1:]], False) if ends_with_reply else _assemble(turns, [], False)


def _prompted(*columns: str) -> Callable[[dict[str, Any]], Record]:
    return lambda row: _assemble(_turns(row, "prompt"), [_turns(row, column) for column in columns], True)


def _preferring(build: Callable[[dict[str, Any]], Record]) -> Callable[[dict[str, Any]], Record]:
    def judged(row: dict[str, Any]) -> Record:
        record = build(row)
        return Record(record.messages, record.responses, _FIRST_WINS, extra=record.extra)

    return judged


def _replying(
    build: Callable[[dict[str, Any]], Record], reply: Callable[[dict[str, Any], str], Response]
) -> Callable[[dict[str, Any]], Record]:
    def judged(row: dict[str, Any]) -> Record:
        record = build(row)
        given = record.responses[0].text if record.responses else ""
        return Record(record.messages, (reply(row, given),), extra=record.extra)

    return judged


_CONVERSATIONAL: dict[str, Callable[[dict[str, Any]], Record]] = {
    "language_modeling": _messages,
    "prompt_only": _prompted(),
    "prompt_completion": _prompted("completion"),
    "preference": _preferring(_prompted("chosen", "rejected")),
    "preference_implicit": _preferring(
        lambda row: _assemble([], [_turns(row, "chosen"), _turns(row, "rejected")], False)
    ),
    "unpaired_preference": _replying(_prompted("completion"), lambda row, given: Response(given, thumb=_thumb(row))),
    "stepwise_supervision": _replying(_prompted(), lambda row, given: _steps(row)),
}
