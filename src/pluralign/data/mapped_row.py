"""From a row of any table to a record, by a map of its columns (see `column_map`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.choice_codes import Codes, spelled
from pluralign.data.column_map import MISSING, Column, ColumnMap, objective_of_choice, value_at, without
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Comparison, Message, Rater, Rating, Record, Response
from pluralign.data.strict import anything, fail, mapping_of, one_of, text
from pluralign.errors import DataError

_ROLES = {"prompter": "user", "human": "user", "gpt": "assistant", "bot": "assistant"}
_ROLES |= {role: role for role in ("system", "user", "assistant", "tool")}


@dataclass(frozen=True, slots=True)
class Plan:
    """The map, and the code of each column of choices."""

    map: ColumnMap
    codes: dict[str, Codes] = field(default_factory=dict)

    def rated_by(self) -> bool:
        """Whether the rows say who rated."""
        return bool(self.map.of("rater") or self.map.of("group") or self.map.demographics())


def is_word(value: Any) -> bool:
    """Whether a cell holds one thing: neither nothing nor a list or object."""
    return value is not MISSING and value is not None and not isinstance(value, list | dict)


def to_record(row: dict[str, Any], line: int, plan: Plan, objectives: tuple[Objective, ...] | None) -> Record:
    """The record of a row, checked; with `objectives`, within their ranges. Raises DataError."""
    rater = _rater(row, plan.map)
    replies = _replies(row, plan, rater)
    comparisons = tuple(_comparisons(row, plan, rater))
    name = _word(_one(row, plan.map, "id"), "id")
    record = Record(
        _messages(row, plan.map),
        replies,
        comparisons,
        id=f"line-{line}" if name is None else name,
        language=_word(_one(row, plan.map, "language"), "language"),
        extra=_extra(row, plan, rater, replies, comparisons),
    )
    check(record, objectives)
    return record


def _one(row: Mapping[str, Any], plan: ColumnMap, target: str) -> Any:
    """The cell of a target that has one column at most; None where it is null or not there."""
    values = [value_at(row, column.path) for column in plan.of(target)]
    return None if not values or values[0] is MISSING else values[0]


def _needed(row: Mapping[str, Any], column: Column) -> Any:
    value = value_at(row, column.path)
    if value is MISSING:
        raise DataError(f"expected the column {column.path} ({column.target}); found {', '.join(row)}")
    return value


def _word(value: Any, where: str) -> str | None:
    if value is None:
        return None
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return spelled(value) if plain and not isinstance(value, str) else text(value, where)


def _messages(row: Mapping[str, Any], plan: ColumnMap) -> tuple[Message, ...]:
    """The dialogue; a text without a prompt answers an empty user turn."""
    column = next(iter(plan.of("prompt")), None)
    prompt = "" if column is None else _needed(row, column)
    turns = [_turn(item, f"prompt[{i}]") for i, item in enumerate(prompt)] if isinstance(prompt, list) else None
    messages = tuple(turns) if turns is not None else (Message("user", text(prompt, "prompt")),)
    system = _one(row, plan, "system")
    return messages if system is None else (Message("system", text(system, "system")), *messages)


def _turn(value: Any, where: str) -> Message:
    turn = mapping_of(anything)(value, where)
    role = one_of(*_ROLES)(turn.get("role", turn.get("from")), f"{where}.role")
    words = next((turn[key] for key in ("content", "text", "value") if key in turn), None)
    return Message(_ROLES[role], text(words, f"{where}.content"))


def _rater(row: Mapping[str, Any], plan: ColumnMap) -> Rater | None:
    given = {name: value_at(row, path) for name, path in plan.demographics().items()}
    demographics = {name: _word(value, name) for name, value in given.items() if value is not MISSING}
    known = {name: word for name, word in demographics.items() if word is not None}
    rater = Rater(_word(_one(row, plan, "rater"), "rater"), _word(_one(row, plan, "group"), "group"), None, known)
    return None if rater == Rater() else rater


def _replies(row: Mapping[str, Any], plan: Plan, rater: Rater | None) -> tuple[Response, ...]:
    columns = (*plan.map.of("response"), *plan.map.of("responses"), *plan.map.of("chosen"), *plan.map.of("rejected"))
    texts = [_needed(row, column) for column in columns]
    listed = bool(plan.map.of("responses"))
    if listed:
        texts = texts[0] if isinstance(texts[0], list) else fail("responses", "a list", texts[0])
    spread = partial(_spread, row, plan.map, size=len(texts), listed=listed)
    rated = {name: spread(name) for name in plan.map.ratings()}
    models, thumbs, comments = spread("model"), spread("thumb"), spread("comment")
    return tuple(
        _reply(_reply_text(words, f"response {place + 1}"), _scores(rated, place), rater, plan, model, thumb, comment)
        for place, (words, model, thumb, comment) in enumerate(zip(texts, models, thumbs, comments, strict=True))
    )


def _spread(row: Mapping[str, Any], plan: ColumnMap, target: str, size: int, listed: bool) -> list[Any]:
    """One cell for each reply; comments on a single reply are all its own."""
    values = [value_at(row, column.path) for column in plan.of(target)]
    if not values:
        return [MISSING] * size
    if listed:
        column, items = plan.of(target)[0].path, values[0]
        if items is None or items is MISSING:
            return [MISSING] * size
        if not isinstance(items, list) or len(items) != size:
            fail(f"column {column} ({target})", f"a list with one item for each of {size} responses", items)
        return items
    return [values] if target == "comment" and size == 1 else values


def _reply_text(value: Any, where: str) -> str:
    """A text, or the one message of an assistant."""
    if isinstance(value, list) and len(value) == 1:
        message = _turn(value[0], where)
        return message.content if message.role == "assistant" else fail(where, "the assistant's message", value)
    return text(value, where)


def _scores(rated: Mapping[str, list[Any]], place: int) -> dict[str, float | None]:
    cell = {name: values[place] for name, values in rated.items()}
    return {
        name: cells.score(value, name) for name, value in cell.items() if value is not MISSING and value is not None
    }


def _reply(
    words: str, scores: dict[str, float | None], rater: Rater | None, plan: Plan, model: Any, thumb: Any, comment: Any
) -> Response:
    said = comment if isinstance(comment, list) else [comment]
    up = plan.codes["thumb"].side(thumb, "thumb") if is_word(thumb) else "abstain"
    return Response(
        words,
        {} if plan.rated_by() else scores,
        (Rating(scores, rater),) if plan.rated_by() and scores else (),
        tuple(Comment(text(item, "comment"), rater=rater) for item in said if item is not MISSING and item is not None),
        thumb="up" if up == "first" else "down" if up == "second" else None,
        model=None if model is MISSING else _word(model, "model"),
    )


def _comparisons(row: Mapping[str, Any], plan: Plan, rater: Rater | None) -> Iterator[Comparison]:
    if plan.map.of("chosen"):
        yield Comparison(0, 1, "first", rater=rater)
    for column in plan.map.choices():
        value = value_at(row, column.path)
        if is_word(value):
            outcome = plan.codes[column.target].side(value, column.path)
            yield Comparison(0, 1, outcome, objective_of_choice(column.target), rater=rater)


def _extra(
    row: Mapping[str, Any],
    plan: Plan,
    rater: Rater | None,
    replies: Iterable[Response],
    comparisons: Iterable[Comparison],
) -> dict[str, Any]:
    """What the map leaves out, thumbs that are neither up nor down, and a rater whom no feedback carries."""
    left: Any = dict(row)
    silent = [column.path for column in plan.map.of("thumb") if not any(reply.thumb for reply in replies)]
    for column in plan.map.columns:
        left = left if column.path in silent else without(left, column.path) or {}
    extra = cells.rest(left, ())
    carried = any(reply.ratings or reply.comments for reply in replies) or any(comparisons)
    if rater is not None and not carried:
        named = {"id": rater.id, "group": rater.group, "demographics": dict(rater.demographics)}
        extra["rater"] = {key: value for key, value in named.items() if value}
    return extra
