"""Preference accuracy of a policy on records, per objective (methods.md E1), beside length alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pluralign.data.condition import Condition, one_hot
from pluralign.data.evidence import evidence
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import DataError
from pluralign.evaluation.accuracy import Judged
from pluralign.evaluation.reference import reference_of
from pluralign.logprobs import sequence_logprobs
from pluralign.members import Row, logprobs_of, rows_of
from pluralign.policy import Policy
from pluralign.training.progress import Progress

log = logging.getLogger("pluralign")
Ids = tuple[list[int], list[int]]


@dataclass(frozen=True)
class _Pair:
    record: Record
    chosen: int
    rejected: int


def judged(
    policy: Policy,
    records: Sequence[Record],
    objectives: Sequence[Objective],
    conditions: Mapping[str, Condition | None] | None = None,
) -> list[Judged]:
    """For every objective that tells some pair apart, the pairs as the policy asked for it alone sees them.

    `conditions`: how to ask for an objective; none given, by a weight of 1. An unsteerable policy is asked for nothing. Pairs of which a response does not fit are left out. Raises DataError
    where no pair is left.
    """
    pairs = {objective.name: _pairs(records, objective) for objective in objectives}
    if not any(pairs.values()):
        raise DataError(
            "no two replies of a prompt are scored or compared on an objective (and differ); nothing can be evaluated"
        )
    base = reference_of(policy)
    asked = {
        objective.name: one_hot(objective.name) if policy.steering.accepts else None for objective in objectives
    } | dict(conditions or {})
    rows = [_judge(policy, base, pairs[objective.name], objective, asked[objective.name]) for objective in objectives]
    found = [row for row in rows if row is not None]
    if not found:
        raise DataError(
            f"no pair of replies fits max_length={policy.encoder.max_length}; shorten the data, or train with a larger one"
        )
    return found


def _pairs(records: Sequence[Record], objective: Objective) -> list[_Pair]:
    pairs = []
    for record in records:
        verdict = evidence(record, [objective]).verdict[:, :, 0]
        first, second = np.nonzero(verdict > 0)
        pairs += [_Pair(record, int(i), int(j)) for i, j in zip(first, second, strict=True)]
    return pairs


def _judge(
    policy: Policy, base: Policy, pairs: Sequence[_Pair], objective: Objective, condition: Condition | None
) -> Judged | None:
    rows: list[Row] = []
    plain: list[Ids] = []
    kept = []
    for pair in pairs:
        asked, unasked = _asked(policy, pair, condition, len(plain)), _encoded(base, pair)
        if asked and unasked:
            rows += asked
            plain += unasked
            kept.append(pair)
    if len(kept) < len(pairs):
        log.warning(
            "%s: %d of %d pairs do not fit and are left out", objective.name, len(pairs) - len(kept), len(pairs)
        )
    if not kept:
        return None
    reference = base.reference_coefficients(len(plain))
    with Progress(f"judging {objective.name}", len(rows) + len(plain)) as bar:
        scores = [
            logprobs_of(policy, rows, bar.advance),
            sequence_logprobs(base, plain, reference[:, None], bar.advance)[:, 0],
        ]
    lengths = np.array([len(response) for _, response in plain], dtype=float)
    wide = [values.double().numpy() for values in scores]
    return Judged(
        objective.name,
        wide[0][::2],
        wide[0][1::2],
        wide[1][::2],
        wide[1][1::2],
        lengths[::2],
        lengths[1::2],
        tuple(str(pair.record.messages) for pair in kept),
    )


def _asked(policy: Policy, pair: _Pair, condition: Condition | None, first: int) -> list[Row]:
    """The rows of the chosen and the rejected reply, requests number `first` and the next; nothing where one does not
    fit."""
    found: list[Row] = []
    for owner, place in enumerate((pair.chosen, pair.rejected), first):
        reply = pair.record.responses[place]
        rows = rows_of(policy, pair.record.messages, reply.text, condition, owner, reply.finished)
        if rows is None:
            return []
        found += rows
    return found


def _encoded(base: Policy, pair: _Pair) -> list[Ids]:
    """Ids of prompt and reply, chosen and rejected; nothing where one of them does not fit."""
    replies = [pair.record.responses[place] for place in (pair.chosen, pair.rejected)]
    both = [base.encoder.pair(pair.record.messages, reply.text, reply.finished) for reply in replies]
    return [ids for ids in both if ids is not None] if None not in both else []
