"""Graded replies and drawn prompts: what methods that answer, score and imitate in rounds have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pluralign.data.condition import Weights, vector
from pluralign.data.evidence import Array, direction_signs, score_row
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response


class Graded(NamedTuple):
    """A reply with its scores [K], in the objectives' units."""

    record: Record
    reply: Response
    scores: Array


def graded(records: Sequence[Record], objectives: Sequence[Objective]) -> list[Graded]:
    """The replies that are scored on every objective; empty and corrupted ones are never imitated, and left out."""
    rows = [(record, reply, score_row(reply, objectives)) for record in records for reply in record.responses]
    return [
        Graded(record, reply, scores)
        for record, reply, scores in rows
        if reply.text and not reply.extra.get("corrupted") and not np.isnan(scores).any()
    ]


def in_rounds(prompts: Sequence[Record], num: int, rng: np.random.Generator) -> list[Record]:
    """`num` prompts in random order, each as often as any other, give or take one."""
    order = np.concatenate([rng.permutation(len(prompts)) for _ in range(-(-num // len(prompts)))])
    return [prompts[place] for place in order[:num].tolist()]


def worth(scores: Array, direction: Weights, objectives: Sequence[Objective]) -> Array:
    """vᵀr [N] of scores [N, K], each objective from 0 to 100 over its range, more being better; ‖v‖ = 1."""
    v = vector(direction, objectives)
    low, high = (np.array([getattr(each, end) for each in objectives]) for end in ("low", "high"))
    parts = 100 * (scores - low) / (high - low)
    rewards = np.where(direction_signs(objectives) > 0, parts, 100 - parts)
    return np.asarray(rewards @ (v / np.linalg.norm(v)))


def best_in(found: Sequence[Graded], direction: Weights, objectives: Sequence[Objective]) -> Graded | None:
    """The reply of the largest vᵀr, the first of equals; None without replies."""
    if not found:
        return None
    return found[int(worth(np.stack([each.scores for each in found]), direction, objectives).argmax())]
