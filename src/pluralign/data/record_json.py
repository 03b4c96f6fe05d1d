"""Record <-> JSON: strict in both directions, so that what is written can always be read again.

A field that holds its default is left out. Missing (no key), abstain (null or "abstain"), tie ("tie") and 0 stay apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pluralign.data import condition
from pluralign.data.check import check
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Comparison, Message, Ranking, Rater, Rating, Record, Response, Span, Vote
from pluralign.data.strict import (
    NOWHERE,
    Parser,
    anything,
    boolean,
    has_default,
    index,
    located,
    mapping_of,
    number,
    object_of,
    one_of,
    optional,
    scores,
    text,
    tuple_of,
)
from pluralign.errors import ConditionError, DataError


def _condition(value: Any, where: str) -> condition.Condition:
    try:
        return condition.from_json(value)
    except ConditionError as error:
        raise DataError(f"{where}: {error}") from error


_word, _any_object, _scores = optional(text), mapping_of(anything), scores
_any_message = object_of(Message, {"role": one_of("system", "user", "assistant", "tool"), "content": text})
_rater = optional(object_of(Rater, {"id": _word, "group": _word, "language": _word, "demographics": mapping_of(text)}))
_rating = object_of(Rating, {"scores": _scores, "rater": _rater})
_comment = object_of(Comment, {"text": text, "objective": _word, "rater": _rater})
_span = object_of(Span, {"start": index, "end": index, "label": text, "score": optional(number), "rater": _rater})
_choice = one_of("agree", "disagree", "pass")
_vote = object_of(Vote, {"choice": _choice, "count": index, "rater": _rater})
_RESPONSE: dict[str, Parser] = {
    "text": text,
    "scores": _scores,
    "ratings": tuple_of(_rating),
    "comments": tuple_of(_comment),
    "spans": tuple_of(_span),
    "votes": tuple_of(_vote),
    "thumb": optional(one_of("up", "down")),
    "condition": optional(_condition),
    "finished": boolean,
    "model": _word,
    "extra": _any_object,
}
_any_response = object_of(Response, _RESPONSE)


def _response(value: Any, where: str) -> Response:
    """Text and scores alone are most of a large file: they are read without going through every field."""
    if type(value) is dict and value.keys() == _SCORED and type(value["text"]) is str and where is NOWHERE:
        return Response(value["text"], scores(value["scores"], NOWHERE))
    response: Response = _any_response(value, where)
    return response


def _message(value: Any, where: str) -> Message:
    """As `_response`: most turns are the user's."""
    if type(value) is dict and value.keys() == _TURN and value["role"] == "user" and type(value["content"]) is str:
        return Message("user", value["content"])
    message: Message = _any_message(value, where)
    return message


_SCORED, _TURN = {"text", "scores"}, {"role", "content"}
_COMPARISON: dict[str, Parser] = {
    "first": index,
    "second": index,
    "outcome": one_of("first", "second", "tie", "abstain"),
    "objective": _word,
    "strength": optional(number),
    "rater": _rater,
    "reason": _word,
}
_RANKING: dict[str, Parser] = {"tiers": tuple_of(tuple_of(index)), "objective": _word, "rater": _rater}
RECORD: dict[str, Parser] = {
    "messages": tuple_of(_message),
    "responses": tuple_of(_response),
    "comparisons": tuple_of(object_of(Comparison, _COMPARISON)),
    "rankings": tuple_of(object_of(Ranking, _RANKING)),
    "id": text,
    "language": _word,
    "source": _word,
    "extra": _any_object,
}
_record = object_of(Record, RECORD)


def from_json(value: Any, objectives: Sequence[Objective] | None = None) -> Record:
    """The record of a JSON object, checked (see `check`); with `objectives`, only they may be named.

    Raises DataError saying where inside the record and what is allowed; the caller adds file and line.
    """
    try:
        record: Record = located(_record, value)
    except RecursionError as error:
        raise DataError("the record is nested too deeply") from error
    check(record, objectives)
    return record


def to_json(record: Record) -> dict[str, Any]:
    """The JSON object of a record, the inverse of `from_json`; it is not checked here."""
    value: dict[str, Any] = _plain(record)
    return value


_NONE = object()


@lru_cache(maxsize=32)
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """The fields of a dataclass with their defaults (`_NONE`: it has none), worked out once: files hold millions."""
    return tuple((field.name, _default(field)) for field in dataclasses.fields(kind))


def _default(field: dataclasses.Field[Any]) -> Any:
    if not has_default(field):
        return _NONE
    return field.default_factory() if callable(field.default_factory) else field.default


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is float or value is None:
        return value
    if kind is tuple or kind is list:
        return [_plain(item) for item in value]
    if isinstance(value, condition.Weights | condition.Targets | condition.Feedback):
        return condition.to_json(value)
    if dataclasses.is_dataclass(kind):
        items = ((name, getattr(value, name), default) for name, default in _fields(kind))
        return {name: _plain(item) for name, item, default in items if default is _NONE or item != default}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
