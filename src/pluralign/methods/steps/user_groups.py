"""User groups: people who want the same as groups, and a reward for each, from what people preferred.

Groups come of EM over raters with linear rewards on the frozen base's states (`data/preference_groups.py`); then a reward
model of the usual kind learns what each group prefers. Source: MaxMin-RLHF (arXiv 2402.08925; methods.md C7).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pluralign.data.objective import Objective, names
from pluralign.data.preference_groups import Assignment, Preferred, preference_groups, preferred
from pluralign.data.record import Comparison, Record
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.rewarding import RewardTraining, train_reward
from pluralign.policy import Policy
from pluralign.scorers.linear_reward import Compared, choose_penalty, features
from pluralign.training.run import Run

log = logging.getLogger("pluralign")


def by_users(
    policy: Policy, data: TrainingData, run: Run, num: int, assignment: Assignment, reward: RewardTraining
) -> TrainingData:
    """The data with groups of users, "group-1" the largest, as objectives, and a reward model of all of them as scorer.

    The policy must be untrained; its lineage tells how many raters each group has, and the share of comparisons that the
    linear rewards explain. Validation records keep the raters that training knows. Raises DataError where no rater with an
    id preferred anything, ConfigError for another reward model than bt.
    """
    if reward.kind != "bt":
        raise ConfigError(f"users only say what they prefer: reward.kind is bt, got {reward.kind}")
    said = list(preferred(data.train, data.objectives))
    groups = tuple(Objective(f"group-{number + 1}") for number in range(num))
    member, about = _groups(policy, data, run, said, num, assignment)
    policy.lineage["user_groups"] = about
    log.info("groups of raters: %s", about)
    train, validation = (_asked(part, data.objectives, groups, member) for part in (data.train, data.validation))
    told = replace(data, train=train, validation=validation, objectives=groups)
    model = train_reward(policy, told, run.stage("group-rewards"), reward)
    return replace(told, objectives=model.objectives, scorer=model, prompts=data.questions())


def _groups(
    policy: Policy, data: TrainingData, run: Run, said: Sequence[Preferred], num: int, assignment: Assignment
) -> tuple[dict[str, int], dict[str, Any]]:
    """(the group of each rater, what to say of it); a finished stage is only read."""
    stage = run.stage("user-groups")
    if not stage.finished:
        stage.finish(_found(policy, data, said, num, assignment, stage.seed))
    found = dict(stage.result)
    return found.pop("member"), found


def _found(
    policy: Policy, data: TrainingData, said: Sequence[Preferred], num: int, assignment: Assignment, seed: int
) -> dict[str, Any]:
    pool = features(policy, data.train) if said else []
    known = [each for each in said if not np.isnan(pool[each.record][[each.better, each.worse]]).any()]
    if not known:
        raise DataError("nobody with a rater id prefers one reply to another; add rater ids, or leave groups out")
    raters = sorted({each.rater for each in known})
    differences = np.array([pool[each.record][each.better] - pool[each.record][each.worse] for each in known])
    penalty = choose_penalty(_by_record(known, differences), seed)
    place = {rater: number for number, rater in enumerate(raters)}
    people = np.array([place[each.rater] for each in known], dtype=np.intp)
    found = preference_groups(differences, people, num, penalty=penalty, assignment=assignment, seed=seed)
    sizes = Counter(found.group.tolist())
    right = (differences * found.weights[found.group[people]]).sum(1) > 0
    return {
        "member": dict(zip(raters, found.group.tolist(), strict=True)),
        "raters": [sizes[number] for number in range(num)],
        "comparisons": len(known),
        "explained": float(right.mean()),
    }


def _by_record(known: Sequence[Preferred], differences: np.ndarray) -> list[Compared]:
    places: dict[int, list[int]] = {}
    for place, each in enumerate(known):
        places.setdefault(each.record, []).append(place)
    return [Compared(differences[rows], np.ones(len(rows))) for rows in places.values()]


def _asked(
    records: Sequence[Record], objectives: Sequence[Objective], groups: Sequence[Objective], member: Mapping[str, int]
) -> list[Record]:
    """The records with what each group prefers, and nothing else."""
    told: dict[int, list[Comparison]] = {}
    for each in preferred(records, objectives):
        if each.rater in member:
            name = names(groups)[member[each.rater]]
            told.setdefault(each.record, []).append(Comparison(each.better, each.worse, "first", name))
    found = []
    for number, record in enumerate(records):
        bare = tuple(replace(reply, scores={}, ratings=()) for reply in record.responses)
        found.append(replace(record, responses=bare, comparisons=tuple(told.get(number, ())), rankings=()))
    return found
