"""Ranked replies in the manner of OpenAssistant (Köpf et al. 2023, arXiv 2304.07327): a dialogue, and its replies from 0 = best.

Equal ranks are a tie; a reply without a rank stays out of the ranking.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Ranking, Record, Response
from pluralign.data.strict import anything, mapping_of, one_of, text, tuple_of

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = "Apache-2.0"
SOURCE = "OpenAssistant (Köpf et al. 2023, arXiv 2304.07327; LAION-AI/Open-Assistant)"
HUB = None
COLUMNS = "history (list of role, text), replies (list of text, rank)"
_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant", "system": "system"}


def recognise(row: dict[str, Any]) -> int:
    """Two, where both columns are lists."""
    return 2 if all(isinstance(row.get(column), list) for column in ("history", "replies")) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: one overall ranking per record, so no objective is declared."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "ranked_replies")


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, ("history", "replies"))
    replies = tuple_of(mapping_of(anything))(row["replies"], "replies")
    ranks = [cells.score(reply.get("rank"), f"replies[{place}].rank") for place, reply in enumerate(replies)]
    responses = tuple(
        Response(text(reply.get("text"), f"replies[{place}].text"), extra=cells.rest(reply, ("text", "rank")))
        for place, reply in enumerate(replies)
    )
    messages = tuple_of(_message)(row["history"], "history")
    bare = all(set(turn) == {"role", "text"} for turn in row["history"])
    record = Record(
        messages,
        responses,
        rankings=_rankings(ranks),
        id=f"line-{line}",
        source=SOURCE,
        extra=cells.rest(row, ("history", "replies") if bare else ("replies",)),
    )
    check(record, OBJECTIVES)
    return record


def _message(value: Any, where: str) -> Message:
    turn = mapping_of(anything)(value, where)
    role = one_of(*_ROLES)(turn.get("role"), f"{where}.role")
    return Message(_ROLES[role], text(turn.get("text"), f"{where}.text"))


def _rankings(ranks: list[float | None]) -> tuple[Ranking, ...]:
    levels = sorted({rank for rank in ranks if rank is not None})
    tiers = tuple(tuple(place for place, rank in enumerate(ranks) if rank == level) for level in levels)
    return (Ranking(tiers),) if sum(map(len, tiers)) > 1 else ()
