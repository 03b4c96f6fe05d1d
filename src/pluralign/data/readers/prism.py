"""PRISM (arXiv 2404.16019): conversations of 1,500 people of 75 countries with 21 models, every reply rated 1 to 100.

One row is a conversation, one record a turn of it: what was said before with the replies that the person chose, the
turn's message, and its replies with their scores; the chosen one is better, overall, than each of the others. The
person is the rater. The published codebook says what the rest is about, and so where it stands here:

    performance_attributes   the first turn's chosen reply: one more rating, 1 to 100; null is "N/A", an abstention
    choice_attributes        why it was chosen: `extra` of the first turn's record
    open_feedback            the conversation as a whole: a comment on the last turn's chosen reply

The survey (survey.jsonl, also .gz or .parquet) is joined by user_id when it lies beside the conversations, or when
they come from the hub: demographics to the rater, stated preferences (0 to 100) to `extra` of every record, the rest of
it to `extra` of the first turn's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import rows
from pluralign.data.cells import flag, need, rest, score
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError
from pluralign.data.gather import expand
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Comparison, Message, Rater, Rating, Record, Response
from pluralign.data.strict import anything, fail, index, mapping_of, one_of, optional, text, tuple_of
from pluralign.errors import DataError

SCORE = "score"
_WORDS = {
    "values": "reflects the person's values or culture",
    "fluency": "well written and coherent",
    "factuality": "factual and informative",
    "safety": "safe, without risk of harm to the person and others",
    "diversity": "summarises several viewpoints or worldviews",
    "creativity": "creative and inspiring",
    "helpfulness": "helpful and relevant to the request",
}
OBJECTIVES = (
    Objective(SCORE, "how good the reply is to this person, from terrible to perfect", low=1, high=100),
    *(Objective(name, words, low=1, high=100, safety=name == "safety") for name, words in _WORDS.items()),
)
LICENCE = "CC BY 4.0 (people's texts); CC BY-NC 4.0 (models' replies)"
HUB = "HannahRoseKirk/prism-alignment"
SOURCE = "PRISM (Kirk et al. 2024, arXiv 2404.16019; HannahRoseKirk/prism-alignment)"
_COLUMNS = ("conversation_id", "user_id", "conversation_history")
_FEEDBACK = ("performance_attributes", "choice_attributes", "open_feedback")
_DEMOGRAPHICS = (
    *("age", "gender", "employment_status", "education", "marital_status", "english_proficiency", "study_locale"),
    *("religion", "ethnicity", "location"),
)
_TURN = ("turn", "role", "content", "score", "if_chosen", "model_name")
COLUMNS = f"{', '.join((*_COLUMNS, *_FEEDBACK))}; a survey file with user_id beside it"
_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet", ".arrow", ".csv")
_object = mapping_of(anything)


@dataclass(frozen=True, slots=True)
class _Person:
    """A rater, their stated preferences, and what else the survey has of them."""

    rater: Rater
    stated: Mapping[str, Any] = field(default_factory=dict)
    survey: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Turn:
    message: str
    replies: tuple[Response, ...]
    chosen: int | None
    extra: Mapping[str, Any]


def recognise(row: dict[str, Any]) -> int:
    """Three, where the ids are there and the history is a list."""
    return len(_COLUMNS) if set(_COLUMNS) <= set(row) and isinstance(row["conversation_history"], list) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The conversations as a dataset, of a file or of a folder with both files; the survey is held in memory.

    Raises DataError at once for a survey that cannot be read.
    """
    conversations, survey = _sources(path)
    people = dict(_people(survey)) if survey else {}
    stream = partial(expand, conversations, partial(_records, people=people), on_error)
    return Dataset(OBJECTIVES, stream, LICENCE, SOURCE, "prism")


def _sources(path: str | Path) -> tuple[str | Path, str | Path | None]:
    """Where the conversations and the survey are; None for no survey."""
    if hub := rows.hub_name(path):
        name, at, split = str(path).partition("@")
        return (path if ":" in name else f"{name}:conversations{at}{split}"), f"{hub}:survey"
    given = Path(path)
    beside = given if given.is_dir() else given.parent
    return (_table(given, "conversations") or path), _table(beside, "survey")


def _table(folder: Path, name: str) -> Path | None:
    return next((path for ending in _ENDINGS if (path := folder / f"{name}{ending}").is_file()), None)


def _people(survey: str | Path) -> Iterator[tuple[str, _Person]]:
    for line, content in rows.stream(survey):
        try:
            yield _person(rows.decode(content))
        except (DataError, RecursionError) as error:
            reason = error.reason if isinstance(error, DataError) else "the row is nested too deeply"
            raise DataError(reason, path=survey, line=line) from error


def _person(row: dict[str, Any]) -> tuple[str, _Person]:
    need(row, ("user_id",))
    name = text(row["user_id"], "user_id")
    said = {column: value for column in _DEMOGRAPHICS for column, value in _flat(column, row.get(column))}
    stated = optional(_object)(row.get("stated_prefs"), "stated_prefs") or {}
    others = rest(row, ("user_id", "stated_prefs", *_DEMOGRAPHICS))
    return name, _Person(Rater(name, demographics=said), stated, others)


def _flat(column: str, value: Any) -> list[tuple[str, str]]:
    """Answers as texts; {"religion": {"simplified": "None"}} is religion_simplified."""
    if isinstance(value, dict):
        return [item for key, inner in value.items() for item in _flat(f"{column}_{key}", inner)]
    if value is None:
        return []
    if isinstance(value, list):
        fail(column, "a text, a number or an object of such", value)
    return [(column, str(value).lower() if isinstance(value, bool) else str(value))]


def _records(row: dict[str, Any], line: int, people: Mapping[str, _Person]) -> list[Record]:
    need(row, _COLUMNS)
    name = text(row["user_id"], "user_id")
    person = people.get(name, _Person(Rater(name)))
    turns = _with_feedback(_turns(row["conversation_history"], person.rater), row, person.rater)
    conversation = text(row["conversation_id"], "conversation_id")
    once = {**rest(row, (*_COLUMNS, "performance_attributes", "open_feedback")), **_named("survey", person.survey)}
    records: list[Record] = []
    dialogue: tuple[Message, ...] = ()
    for place, turn in enumerate(turns):
        dialogue = (*dialogue, Message("user", turn.message))
        record = Record(
            dialogue,
            turn.replies,
            _comparisons(turn, person.rater),
            id=f"{conversation}-{place}",
            source=HUB,
            extra={
                "conversation_id": conversation,
                **turn.extra,
                **_named("stated_prefs", person.stated),
                **(once if place == 0 else {}),
            },
        )
        check(record, OBJECTIVES)
        records.append(record)
        dialogue = _continued(dialogue, turn, place, last=place + 1 == len(turns))
    return records


def _named(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value)} if value else {}


def _continued(dialogue: tuple[Message, ...], turn: _Turn, place: int, last: bool) -> tuple[Message, ...]:
    if turn.chosen is not None:
        return (*dialogue, Message("assistant", turn.replies[turn.chosen].text))
    if not last:
        raise DataError(f"turn {place} of the conversation_history has no reply with if_chosen, but turns follow it")
    return dialogue


def _turns(history: Any, rater: Rater) -> list[_Turn]:
    """The turns in their order, each one message of the person and the replies to it."""
    by_turn: dict[int, list[dict[str, Any]]] = {}
    for said in tuple_of(_object)(history, "conversation_history"):
        need(said, ("turn", "role", "content"))
        by_turn.setdefault(_whole(said["turn"]), []).append(said)
    if not by_turn:
        raise DataError("conversation_history is empty; expected at least one turn")
    return [_turn(by_turn[turn], turn, rater) for turn in sorted(by_turn)]


def _whole(value: Any) -> int:
    return int(index(int(value) if isinstance(value, float) and value.is_integer() else value, "turn"))


def _turn(said: list[dict[str, Any]], turn: int, rater: Rater) -> _Turn:
    roles = [one_of("user", "model")(item["role"], f"turn {turn}: role") for item in said]
    if roles.count("user") != 1:
        fail(f"turn {turn} of the conversation_history", "one user's message and the replies to it", roles)
    asked = said[roles.index("user")]
    replies = [item for item in said if item["role"] == "model"]
    chosen = [place for place, reply in enumerate(replies) if flag(reply.get("if_chosen"), f"turn {turn}: if_chosen")]
    if len(chosen) > 1:
        raise DataError(
            f"turn {turn} of the conversation_history has {len(chosen)} replies with if_chosen; one is allowed"
        )
    message = text(asked["content"], f"turn {turn}: content")
    responses = tuple(_response(reply, f"turn {turn}", rater) for reply in replies)
    return _Turn(message, responses, chosen[0] if chosen else None, rest(asked, _TURN))


def _response(reply: dict[str, Any], where: str, rater: Rater) -> Response:
    given = reply.get("score")
    return Response(
        text(reply["content"], f"{where}: content"),
        ratings=() if given is None else (Rating({SCORE: score(given, f"{where}: score")}, rater),),
        model=optional(text)(reply.get("model_name"), f"{where}: model_name"),
        extra=rest(reply, _TURN),
    )


def _comparisons(turn: _Turn, rater: Rater) -> tuple[Comparison, ...]:
    others = [place for place in range(len(turn.replies)) if place != turn.chosen]
    if turn.chosen is None:
        return ()
    return tuple(Comparison(turn.chosen, other, "first", rater=rater) for other in others)


def _with_feedback(turns: list[_Turn], row: dict[str, Any], rater: Rater) -> list[_Turn]:
    """The turns with what was said after the conversation, at the replies that it is about, or in `extra` without one."""
    marks = optional(_object)(row.get("performance_attributes"), "performance_attributes") or {}
    rating = {name: None if mark is None else score(mark, name) for name, mark in marks.items() if name in _WORDS}
    words = optional(text)(row.get("open_feedback"), "open_feedback")
    changed = list(turns)
    if marks:
        others = {name: mark for name, mark in marks.items() if name not in _WORDS}
        changed[0] = replace(changed[0], extra={**changed[0].extra, **_named("other_attributes", others)})
        changed[0] = _noted(changed[0], _named("performance_attributes", marks), ratings=(Rating(rating, rater),))
    if words:
        changed[-1] = _noted(changed[-1], {"open_feedback": words}, comments=(Comment(words, rater=rater),))
    return changed


def _noted(
    turn: _Turn, kept: dict[str, Any], ratings: tuple[Rating, ...] = (), comments: tuple[Comment, ...] = ()
) -> _Turn:
    if turn.chosen is None:
        return replace(turn, extra={**turn.extra, **kept})
    replies = list(turn.replies)
    about = replies[turn.chosen]
    replies[turn.chosen] = replace(about, ratings=about.ratings + ratings, comments=about.comments + comments)
    return replace(turn, replies=tuple(replies))
