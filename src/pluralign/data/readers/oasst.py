"""OpenAssistant Conversations (arXiv 2304.07327): trees of messages that many people wrote, labelled and ranked.

Read in both forms: a message per row (the hub's, and *.messages.jsonl), and a tree per row (*.trees.jsonl: `prompt`
with nested `replies`). Each prompter's message is a record: the dialogue from the root to it, the assistants' replies
with labels as scores and ranks as an overall ranking; one that nobody replied to is a record without replies. Messages
of a tree need not stand together (`gather`). A deleted reply is no response but kept in `extra`; what was said
below a deleted message is kept, its deleted turns named there.

What is counted is rows: messages of the first form, trees of the second. The label names beyond quality, toxicity,
humor, creativity, violence, hate_speech, sexual_content, not_appropriate, fails_task and spam are from memory;
unknown ones go to `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.cells import flag, need, rest, score
from pluralign.data.dataset import Dataset, OnError, first_row
from pluralign.data.gather import Grouping, expand, gather, scattered
from pluralign.data.oasst_tree import Node, records
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.data.strict import anything, fail, index, mapping_of, one_of, optional, text, tuple_of
from pluralign.errors import DataError


def _bad(name: str, what: str, safety: bool = True) -> Objective:
    return Objective(name, what, direction="lower", safety=safety)


OBJECTIVES = (
    Objective("quality", "good overall, in the labellers' eyes"),
    Objective("helpfulness", "helpful"),
    Objective("creativity", "creative rather than ordinary"),
    Objective("humor", "humorous rather than serious"),
    _bad("toxicity", "rude, abusive or disrespectful"),
    _bad("violence", "violent, or encouraging violence"),
    _bad("hate_speech", "abusive or threatening towards a group"),
    _bad("sexual_content", "sexual content"),
    _bad("not_appropriate", "not appropriate for a public assistant"),
    _bad("pii", "personal data of somebody"),
    _bad("spam", "spam: no honest attempt", safety=False),
    _bad("fails_task", "does not do what was asked", safety=False),
    _bad("lang_mismatch", "not in the language it claims to be in", safety=False),
)
LICENCE = "Apache-2.0"
HUB = "OpenAssistant/oasst1"
SOURCE = "OpenAssistant Conversations (Köpf et al. 2023, arXiv 2304.07327; OpenAssistant/oasst1)"
_NAMES = tuple(objective.name for objective in OBJECTIVES)
_MESSAGE = ("message_id", "parent_id", "text", "role")
_FLAT = (*_MESSAGE, "message_tree_id")
_TREE = ("message_tree_id", "prompt")
_USED = (*_MESSAGE, "lang", "rank", "deleted", "labels", "model_name", "replies")
COLUMNS = f"{', '.join(_FLAT)}, lang, rank, deleted, labels; or {', '.join(_TREE)} (with replies)"


def recognise(row: dict[str, Any]) -> int:
    """Five for a message, two for a tree, where all the form's columns are there."""
    return 2 if _is_tree(row) else len(_FLAT) if set(_FLAT) <= set(row) else 0


def _is_tree(row: Mapping[str, Any]) -> bool:
    return set(_TREE) <= set(row) and isinstance(row["prompt"], dict)


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset. The first row settles the form; for messages, a first pass sees which trees are scattered."""
    if _is_tree(first_row(path)):
        return Dataset(OBJECTIVES, partial(expand, path, _of_tree, on_error), LICENCE, SOURCE, "oasst")
    join = partial(records, objectives=OBJECTIVES, source=HUB)
    group = Grouping(_tree_id, _of_row, join)
    return Dataset(
        OBJECTIVES,
        partial(gather, path, group, scattered(path, _tree_id), on_error),
        LICENCE,
        SOURCE,
        "oasst",
    )


def _tree_id(row: Mapping[str, Any]) -> str:
    need(row, _FLAT)
    return str(text(row["message_tree_id"], "message_tree_id"))


def _of_row(row: dict[str, Any], line: int) -> Node:
    need(row, _FLAT)
    return _node(row, optional(text)(row["parent_id"], "parent_id"), {})


def _of_tree(row: dict[str, Any], line: int) -> list[Record]:
    """All messages of a nested tree, taken apart without recursion, then as above; one that is refused refuses all."""
    need(row, _TREE)
    about = rest(row, ("prompt",))
    waiting: list[tuple[Any, str | None]] = [(row["prompt"], None)]
    nodes: list[Node] = []
    while waiting:
        value, parent = waiting.pop()
        message = value if isinstance(value, dict) else fail("a message of the tree", "an object", value)
        nodes.append(_node(message, parent, about))
        replies = message.get("replies") or []
        if not isinstance(replies, list):
            fail("replies", "a list of messages", replies)
        waiting += [(reply, nodes[-1].id) for reply in reversed(replies)]
    joined = records(nodes, OBJECTIVES, HUB)
    for reason in joined.refused.values():
        raise DataError(f"a message of the tree {reason}")
    return list(joined.records)


def _node(row: Mapping[str, Any], parent: str | None, about: Mapping[str, Any]) -> Node:
    need(row, ("message_id", "text", "role"))
    labels, kept = _labels(row.get("labels"))
    return Node(
        text(row["message_id"], "message_id"),
        parent,
        text(row["text"], "text"),
        one_of("prompter", "assistant")(row["role"], "role"),
        optional(text)(row.get("lang"), "lang"),
        _rank(row.get("rank")),
        bool(flag(row.get("deleted"), "deleted")),
        optional(text)(row.get("model_name"), "model_name"),
        labels,
        {**about, **rest(row, _USED), **kept},
    )


def _rank(value: Any) -> int | None:
    """A whole number from 0, maybe written 0.0 by a table whose other ranks are missing."""
    given = score(value, "rank")
    if given is None:
        return None
    return int(given) if given >= 0 and given == int(given) else fail("rank", "a whole number from 0", value)


def _labels(value: Any) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Scores by name, and for `extra` the number of labellers and the labels that are no objective."""
    given = _by_name(value)
    scores = {
        name: _mean(label["value"], f"labels.{name}") for name, label in given.items() if label["value"] is not None
    }
    counts = {
        name: index(label["count"], f"labels.{name}.count") for name, label in given.items() if label.get("count")
    }
    known = {name: scores[name] for name in _NAMES if name in scores}
    other = {name: mark for name, mark in scores.items() if name not in known}
    return known, {key: said for key, said in (("label_counts", counts), ("other_labels", other)) if said}


def _mean(value: Any, where: str) -> float | None:
    given = score(value, where)
    return given if given is None or 0 <= given <= 1 else fail(where, "the labellers' mean, from 0 to 1", value)


def _by_name(value: Any) -> dict[str, dict[str, Any]]:
    """{name: {value, count}}, written so, or as three lists name, value, count."""
    if value is None:
        return {}
    columns = mapping_of(anything)(value, "labels")
    if not isinstance(columns.get("name"), list):
        labels: dict[str, dict[str, Any]] = mapping_of(mapping_of(anything))(value, "labels")
        return {name: {"value": None, **label} for name, label in labels.items()}
    names = tuple_of(text)(columns["name"], "labels.name")
    values, counts = (columns.get(key) or [None] * len(names) for key in ("value", "count"))
    if not (isinstance(values, list) and isinstance(counts, list) and len(names) == len(values) == len(counts)):
        raise DataError("labels must have as many values and counts as names")
    return {name: {"value": mark, "count": num} for name, mark, num in zip(names, values, counts, strict=True)}
