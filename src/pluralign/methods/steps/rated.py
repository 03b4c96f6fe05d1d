"""Rated replies: what SteerLM, SteerLM 2.0, CPO and RAD share. Replies with their own ratings as the condition.

A rating is a whole number of the steering's levels (`steering/prompt/levels.py`), so that equal ratings are equal words.
Empty replies, corrupted ones (`extra["corrupted"]`) and replies without any rating are not imitated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.condition import Condition, Targets, from_vector
from pluralign.data.conversions.rating_strings import quantised, rating_strings, score_of
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError
from pluralign.losses.sft import SFT
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.rewarding import RewardTraining, Trunk, train_reward
from pluralign.policy import Policy
from pluralign.reward_model import RewardModel
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run, Stage
from pluralign.training.source import GroupSource

AttributeKind = Literal["none", "regression", "classes"]


def attributes(
    policy: Policy, data: TrainingData, run: Run, kind: AttributeKind, trunk: Trunk, optim: Optim
) -> tuple[list[Record], RewardModel | None]:
    """The training records as an attribute model rates them, and that model, trained in the stage "attributes".

    With "none", the records as they are, and nobody.
    """
    if kind == "none":
        return list(data.train), None
    model = train_reward(policy, data, run.stage("attributes"), RewardTraining(kind=kind, trunk=trunk, optim=optim))
    return list(model.score(data.train)), model


def on_levels(record: Record, objectives: Sequence[Objective], levels: int) -> Record:
    """The record's replies with their ratings on the levels, in the objectives' units, as scores; comparisons, and
    replies that nobody should learn from, left out."""
    by_name = {each.name: each for each in objectives}

    def rounded(reply: Response) -> Response:
        found = quantised(reply, objectives, levels)
        scores = {name: score_of(level, by_name[name], levels) for name, level in found.items()}
        return dataclasses.replace(reply, scores=scores, ratings=())

    kept = [reply for reply in record.responses if reply.text and not reply.extra.get("corrupted")]
    return dataclasses.replace(record, responses=tuple(map(rounded, kept)), comparisons=(), rankings=())


def levels_of(policy: Policy) -> PromptLevels:
    """The policy's steering, which must read levels."""
    assert isinstance(policy.steering, PromptLevels), policy.steering
    return policy.steering


def rated(policy: Policy, records: Sequence[Record]) -> list[Record]:
    """The records `on_levels` of the policy, those without a rated reply left out. Raises DataError where none is left."""
    levels = levels_of(policy).levels
    found = [on_levels(record, policy.objectives, levels) for record in records]
    kept = [record for record in found if any(reply.scores for reply in record.responses)]
    if not kept:
        raise DataError("no reply is rated on any objective; score or annotate the data first")
    return kept


def learn_levels(policy: Policy, records: Sequence[Record]) -> None:
    """The steering keeps the ratings of these replies, to choose from under weights. Raises DataError for none."""
    found = (reply.scores for record in rated(policy, records) for reply in record.responses if reply.scores)
    levels_of(policy).learn(
        Targets({name: score for name, score in scores.items() if score is not None}) for scores in found
    )


def imitate(policy: Policy, records: Sequence[Record], stage: Stage, loss: SFT, optim: Optim, share: float) -> None:
    """Fit every rated reply under its own ratings, a random `share` of them without any. Raises DataError for none."""
    levels = levels_of(policy).levels
    groups = [g for r in rated(policy, records) for g in rating_strings(r, policy.objectives, levels)]
    fit(
        policy, GroupSource(partly_unasked(groups, share, stage.seed), optim.batch_size, stage.seed), loss, stage, optim
    )


def partly_unasked(groups: Sequence[Group], share: float, seed: int) -> list[Group]:
    """The same groups, a random share of them without their condition."""
    drawn = np.random.default_rng(seed).random(len(groups)) < share
    return [
        dataclasses.replace(group, conditions=(None,) * len(group.conditions)) if plain else group
        for group, plain in zip(groups, drawn.tolist(), strict=True)
    ]


def check_share(share: float) -> None:
    """Raise ConfigError unless the share of unconditioned examples is in [0, 1)."""
    if not 0 <= share < 1:
        raise ConfigError(f"unasked_share must be in [0, 1), got {share}")


def check_attributes(kind: AttributeKind, trunk: Trunk) -> None:
    """Raise ConfigError for a trunk of no attribute model."""
    if kind == "none" and trunk != "attention":
        raise ConfigError(f"attribute_trunk={trunk} acts on an attribute model only; choose regression or classes")


def wishes(policy: Policy, num: int, seed: Sequence[int]) -> list[Condition]:
    """High ratings to ask for, one for each of `num` prompts: what the steering makes of drawn weights."""
    drawn = simplex.draw(np.random.default_rng(seed), num, policy.num_objectives)
    asked = [from_vector(row, policy.objectives) for row in drawn]
    return [policy.steering.translate(weights, policy.objectives) for weights in asked]
