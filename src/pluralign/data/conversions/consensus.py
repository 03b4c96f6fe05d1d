"""Group-aware consensus: how far every opinion group, however small, agrees with a statement.

Collective Constitutional AI (Huang et al. 2024, arXiv 2406.07814) in the style of Polis (Small et al. 2021;
methods.md D17): P_g(s) = (agree_g + 1) / (votes_g + 2), GAC(s) = Π_g P_g(s). Passes are no votes. A group that did not
vote counts ½. By default the geometric mean GAC^{1/G}, which can be compared between numbers of groups.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, Response
from pluralign.errors import ConfigError, DataError

OBJECTIVE = "consensus"


def group_aware(agree: ArrayLike, votes: ArrayLike, per_group: bool = False) -> float:
    """GAC of one statement from agreeing and all votes [G]; with `per_group`, its G-th root. In (0, 1)."""
    yes, total = np.asarray(agree, dtype=np.float64), np.asarray(votes, dtype=np.float64)
    if yes.shape != total.shape or yes.ndim != 1 or not yes.size or (yes < 0).any() or (yes > total).any():
        raise ConfigError(f"votes of groups are counts, agreeing ones not above all; got {yes} of {total}")
    log = np.log(yes + 1) - np.log(total + 2)
    return float(np.exp(log.mean() if per_group else log.sum()))


def consensus(records: Iterable[Record], per_group: bool = True, ungrouped: bool = False) -> Dataset:
    """Records whose voted-on replies (statements) have the score "consensus", as an objective from 0 to 1.

    Two streamed passes: the first (now) counts the votes. Records with the same prompt are one conversation: votes on
    the same words are added up over them, and a group of the conversation that is silent on a statement counts ½. A
    vote's group is its rater's; votes without one are left out, or are a group of their own with `ungrouped`. Replies
    without a counted vote stay unscored. Raises ConfigError for a one-way iterator, DataError for a reply that has
    this score already, or when no vote has a group.
    """
    if isinstance(records, Iterator):
        raise ConfigError("consensus needs two passes: give a list or a Dataset, not an iterator")
    polls = _polls(records, ungrouped)
    if not any(poll.groups for poll in polls.values()):
        raise DataError("no vote has a group; group the raters first (by_opinions), or count all as one (ungrouped)")

    def stream(tally: Tally) -> Iterator[Record]:
        for record in records.records(tally) if isinstance(records, Dataset) else _counted(records, tally):
            poll = polls.get(record.messages, _Poll())
            replies = tuple(_scored(response, poll, per_group) for response in record.responses)
            yield dataclasses.replace(record, responses=replies)

    new = Objective(OBJECTIVE, "agreement of every opinion group")
    if isinstance(records, Dataset):
        return dataclasses.replace(records, objectives=(*records.objectives, new), stream=stream)
    return Dataset((new,), stream)


@dataclass(slots=True)
class _Poll:
    """One conversation: agreeing votes and all votes, by statement and group."""

    groups: dict[str | None, None] = field(default_factory=dict)  # in the order of the file
    agree: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    votes: Counter[tuple[str, str | None]] = field(default_factory=Counter)


def _polls(records: Iterable[Record], ungrouped: bool) -> dict[tuple[Message, ...], _Poll]:
    polls: dict[tuple[Message, ...], _Poll] = {}
    for record in records:
        for text, vote in ((response.text, vote) for response in record.responses for vote in response.votes):
            group = vote.rater.group if vote.rater else None
            if group is None and not ungrouped:
                continue
            poll = polls.setdefault(record.messages, _Poll())
            poll.groups[group] = None
            poll.votes[text, group] += vote.count if vote.choice != "pass" else 0
            poll.agree[text, group] += vote.count if vote.choice == "agree" else 0
    return polls


def principles(records: Iterable[Record], top: int | None = None, threshold: float = 0.6) -> list[tuple[str, float]]:
    """(statement, consensus) from the highest, each text once: the `top` ones, or all from the threshold on.

    The scores are those of `consensus` (geometric means); equal ones keep their order. Rewriting them as principles
    for a judge is the next step of the paper, and a person's or a model's.
    """
    found: dict[str, float] = {}
    for response in (response for record in records for response in record.responses):
        score = response.scores.get(OBJECTIVE)
        if score is not None:
            found[response.text] = max(score, found.get(response.text, 0.0))
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return ordered[:top] if top is not None else [item for item in ordered if item[1] >= threshold]


def _scored(response: Response, poll: _Poll, per_group: bool) -> Response:
    if OBJECTIVE in response.scores:
        raise DataError(f"a reply already has a score of {OBJECTIVE}")
    keys = [(response.text, group) for group in poll.groups]
    votes = [poll.votes[key] for key in keys]
    if not any(votes):
        return response
    score = group_aware([poll.agree[key] for key in keys], votes, per_group)
    return dataclasses.replace(response, scores={**response.scores, OBJECTIVE: score})


def _counted(records: Iterable[Record], tally: Tally) -> Iterator[Record]:
    for record in records:
        tally.keep()
        yield record
