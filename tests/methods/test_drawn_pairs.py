"""Pairs of the training data under drawn weights, as clp learns from them without a scorer."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import Record, user
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.regression import Regression
from pluralign.methods.clp import Clp
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.drawn_pairs import DrawnPairs
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.optim import Optim
from pluralign.training.run import Run

ATTENTION = PluralSteering(where="attention", rank=2)
OPTIM = Optim(steps=12, batch_size=8, lr=2.5e-2, head_lr=2.5e-2, warmup=1)


def train(method: Clp, folder: Path, train: list[Record], validation: list[Record] | None = None) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.steering), objectives=made_up.OBJECTIVES)
    with Run(folder) as run:
        return method.train(policy, TrainingData(train, made_up.OBJECTIVES, validation or []), run)


def preferred(policy: Policy, condition: Weights) -> list[float]:
    """By how much the better replies of the training data are likelier than the worse, nats per pair, for each objective."""
    sums, counts = np.zeros(2), np.zeros(2)
    for record in made_up.scored(8):
        texts = [reply.text for reply in record.responses]
        own = policy.logprobs([record.messages] * len(texts), texts, [condition] * len(texts)).tolist()
        for place, objective in enumerate(made_up.OBJECTIVES):
            rated = [reply.scores[objective.name] or 0.0 for reply in record.responses]
            pairs = [(i, j) for i in range(len(texts)) for j in range(len(texts)) if rated[i] > rated[j]]
            sums[place] += sum(own[i] - own[j] for i, j in pairs)
            counts[place] += len(pairs)
    return (sums / counts).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("loss", [CDPO(), DPO(), Regression()], ids=["cdpo", "dpo", "regression"])
@pytest.mark.parametrize("compared", [False, True], ids=["scores", "comparisons"])
def test_the_weights_decide_what_is_preferred(tmp_path: Path, loss: Any, compared: bool) -> None:
    pairs = DrawnPairs(loss=loss, weights_per_step=2)
    method = Clp(learn_from="preferences", pairs=pairs, optim=OPTIM, steering=ATTENTION)
    policy = train(method, tmp_path / "run", made_up.compared(8) if compared else made_up.scored(8))
    by_kind, by_brief = (preferred(policy, one_hot(objective.name)) for objective in made_up.OBJECTIVES)
    assert by_kind[0] > by_brief[0] + 0.3
    assert by_brief[1] > by_kind[1] + 0.3


def test_weights_in_the_prompt_learn_from_pairs_too(tmp_path: Path) -> None:
    """With all parameters trained: the reference is a copy."""
    steering = PromptWeights(shared_where=None)
    optim = dataclasses.replace(OPTIM, steps=4)
    method = Clp(learn_from="preferences", optim=optim, steering=steering)
    policy = train(method, tmp_path / "run", made_up.scored(8))
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    said = [
        each.logprobs([user("a joke")], ["good"], [one_hot(name)])
        for each in (policy, again)
        for name in ("kind", "brief")
    ]
    assert torch.equal(said[0], said[2]) and torch.equal(said[1], said[3])
    assert not torch.equal(said[0], said[1])


def test_validation_chooses_the_checkpoint(tmp_path: Path) -> None:
    """Held-out people who want the opposite: what is learnt is worse than nothing."""
    opposite = [
        dataclasses.replace(
            record,
            responses=tuple(
                dataclasses.replace(
                    r, scores={"kind": 4 - (r.scores["kind"] or 0.0), "brief": 8 - (r.scores["brief"] or 0.0)}
                )
                for r in record.responses
            ),
        )
        for record in made_up.scored(8)
    ]
    method = Clp(learn_from="preferences", optim=OPTIM, steering=ATTENTION)
    train(method, tmp_path / "run", made_up.scored(8), opposite)
    finished = json.loads((tmp_path / "run" / "stages" / "clp" / "finished.json").read_text())["result"]
    assert finished["best_step"] == 12  # judged at the end
    assert finished["validation_loss"] > math.log(2) + 0.05  # and worse than the untrained policy, whose loss is log 2
