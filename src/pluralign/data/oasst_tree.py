"""A tree of messages, as OpenAssistant has them, and the records in it: one for each prompter's message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pluralign.data.check import check
from pluralign.data.gather import Joined
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Ranking, Record, Response, Scores

PROMPTER, ASSISTANT = "prompter", "assistant"
_ROLES = {PROMPTER: "user", ASSISTANT: "assistant"}


@dataclass(frozen=True, slots=True)
class Node:
    """A message. `rank` is 0 for the best of its siblings; `labels` are crowd means, `extra` everything else it says."""

    id: str
    parent: str | None
    text: str
    role: str
    language: str | None = None
    rank: int | None = None
    deleted: bool = False
    model: str | None = None
    labels: Scores = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Path:
    """A node and the dialogue that ends with it; `deleted` are the places of its deleted turns."""

    place: int
    turns: tuple[Message, ...]
    deleted: tuple[int, ...]


def records(nodes: Sequence[Node], objectives: Sequence[Objective], source: str) -> Joined:
    """The records of a tree's messages, parents before children, and the messages that no record holds.

    A message is refused that is there twice, whose parent is not (or is refused), or whose speaker replies to
    themselves. Raises DataError for a label outside its range.
    """
    places: dict[str, int] = {}
    refused: dict[int, str] = {}
    for place, node in enumerate(nodes):
        if places.setdefault(node.id, place) != place:
            refused[place] = f"the message_id {node.id!r:.60} occurs twice in its tree"
    below: dict[str | None, list[int]] = {}
    for place in places.values():
        below.setdefault(nodes[place].parent, []).append(place)
    reached = list(_walk(nodes, below))
    for place in set(places.values()) - {path.place for path in reached}:
        refused[place] = (
            "does not hang in its tree: it and all above it need a parent_id of the tree (null for the first message, a "
            f"{PROMPTER}'s), and {PROMPTER} and {ASSISTANT} take turns"
        )
    asked = [path for path in reached if nodes[path.place].role == PROMPTER]
    found = [
        _record(path, [nodes[child] for child in below.get(nodes[path.place].id, ())], nodes, source) for path in asked
    ]
    for record in found:
        check(record, objectives)
    return Joined(found, refused)


def _walk(nodes: Sequence[Node], below: Mapping[str | None, Sequence[int]]) -> Iterator[_Path]:
    """Every message that the roots lead to, in the order of a reader, without recursion: trees may be deep."""
    waiting = [_Path(place, (), ()) for place in reversed(below.get(None, ()))]
    while waiting:
        path = waiting.pop()
        node, expected = nodes[path.place], PROMPTER if len(path.turns) % 2 == 0 else ASSISTANT
        if node.role != expected:
            continue
        gone = (*path.deleted, len(path.turns)) if node.deleted else path.deleted
        here = _Path(path.place, (*path.turns, Message(_ROLES[node.role], node.text)), gone)
        yield here
        waiting += [_Path(child, here.turns, gone) for child in reversed(below.get(node.id, ()))]


def _record(path: _Path, children: Sequence[Node], nodes: Sequence[Node], source: str) -> Record:
    node = nodes[path.place]
    replies = [child for child in children if child.role == ASSISTANT]
    offered = [reply for reply in replies if not reply.deleted]
    ranked = sum(reply.rank is not None for reply in offered) > 1
    withdrawn = [
        {"text": reply.text, **_said(reply, ranked=False), **_labelled(reply)} for reply in replies if reply.deleted
    ]
    return Record(
        path.turns,
        tuple(Response(reply.text, reply.labels, model=reply.model, extra=_said(reply, ranked)) for reply in offered),
        rankings=_ranking(offered) if ranked else (),
        id=node.id,
        language=node.language,
        source=source,
        extra={
            **_said(node, ranked=False),
            **_labelled(node),
            **({"deleted_turns": list(path.deleted)} if path.deleted else {}),
            **({"deleted_replies": withdrawn} if withdrawn else {}),
        },
    )


def _said(node: Node, ranked: bool) -> dict[str, Any]:
    """What else a message says; its rank too, where no ranking holds it."""
    extra = dict(node.extra)
    if node.role == ASSISTANT:
        extra |= {"message_id": node.id} | ({} if node.language is None else {"lang": node.language})
    return extra if ranked or node.rank is None else {**extra, "rank": node.rank}


def _labelled(node: Node) -> dict[str, Any]:
    """The labels of a message that is no reply of a record, and so has no scores."""
    model = {} if node.model is None else {"model_name": node.model}
    return model | ({"labels": dict(node.labels)} if node.labels else {})


def _ranking(replies: Sequence[Node]) -> tuple[Ranking, ...]:
    """From rank 0, the best; equal ranks are a tie, and a reply without a rank stays out."""
    ranks = sorted({reply.rank for reply in replies if reply.rank is not None})
    return (Ranking(tuple(tuple(p for p, reply in enumerate(replies) if reply.rank == rank) for rank in ranks)),)
