"""Experts: each trained as if alone; MOD and soups mix them, and agree where theory says so."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import made_up
import tiny
from pluralign.data.condition import Bounds, Weights, one_hot
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.methods.contract import TrainingData
from pluralign.methods.dera import Dera
from pluralign.methods.mod import Mod
from pluralign.methods.soups import Soups
from pluralign.methods.steps.experts import pairs_of
from pluralign.policy import Policy
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=5, batch_size=8, lr=2e-2, head_lr=4e-2, warmup=1, weight_decay=0.5)
TEXTS = ["good and nice joke", "short", "very very long and funny"]
EVEN = Weights({"kind": 0.5, "brief": 0.5})


def train(method: Any, folder: Path, records: list[Record] | None = None, resume: bool = False) -> Policy:
    objectives = made_up.OBJECTIVES[:1] if isinstance(method, Dera) else made_up.OBJECTIVES
    policy = tiny.policy(dataclasses.replace(method.new_steering(objectives)), objectives=objectives)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(records or made_up.scored(12), objectives), run)  # type: ignore[no-any-return]


def said(policy: Policy, condition: Weights | None) -> Tensor:
    return policy.logprobs([user("a joke")] * 3, TEXTS, [condition] * 3)


def brief_turned_round(records: list[Record]) -> list[Record]:
    return [
        dataclasses.replace(
            record,
            responses=tuple(
                dataclasses.replace(r, scores={**r.scores, "brief": 8 - (r.scores["brief"] or 0)})
                for r in record.responses
            ),
        )
        for record in records
    ]


@pytest.mark.parametrize("loss", [DPO(), CDPO()], ids=["dpo", "cdpo"])
def test_an_expert_is_trained_as_if_alone(tmp_path: Path, loss: Any) -> None:
    """Other labels on brief change the expert of brief, and not a bit of the one of kind (nor does weight decay)."""
    records = made_up.scored(12)
    one = train(Soups(optim=OPTIM, loss=loss), tmp_path / "one", records)
    two = train(Soups(optim=OPTIM, loss=loss), tmp_path / "two", brief_turned_round(records))
    assert torch.equal(said(one, one_hot("kind")), said(two, one_hot("kind")))
    assert not torch.allclose(said(one, one_hot("brief")), said(two, one_hot("brief")), atol=1e-2)
    assert not torch.allclose(said(one, one_hot("kind")), said(one, None), atol=1e-2)


def test_experts_mixed_by_weights_or_logits_are_one_model_where_only_heads_differ(tmp_path: Path) -> None:
    """Soups on heads = MOD on heads (methods.md A4, G); their experts are the same, bit by bit."""
    soups = train(Soups(optim=OPTIM, steering=PluralSteering(rank=4)), tmp_path / "soups")
    mod = train(Mod(optim=OPTIM, steering=MixtureSteering(rank=4)), tmp_path / "mod")
    assert torch.equal(said(soups, one_hot("brief")), said(mod, one_hot("brief")))
    torch.testing.assert_close(said(soups, EVEN), said(mod, EVEN), atol=1e-4, rtol=0)


def test_elsewhere_they_differ(tmp_path: Path) -> None:
    soups = train(Soups(optim=OPTIM), tmp_path / "soups")
    mod = train(Mod(optim=OPTIM), tmp_path / "mod")
    assert torch.equal(said(soups, one_hot("brief")), said(mod, one_hot("brief")))
    assert not torch.allclose(said(soups, EVEN), said(mod, EVEN), atol=1e-3)


def test_an_interrupted_training_goes_on_with_the_expert_that_is_missing(tmp_path: Path) -> None:
    whole = train(Mod(optim=OPTIM), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "stages" / "expert-brief")
    again = train(Mod(optim=OPTIM), tmp_path / "run", resume=True)
    for condition in (one_hot("kind"), one_hot("brief"), EVEN):
        assert torch.equal(said(whole, condition), said(again, condition))


def test_a_realigned_expert_goes_from_the_reference_and_beyond(tmp_path: Path) -> None:
    """Asked for more, it prefers more: the margin of a pair moves one way (methods.md A8)."""
    policy = train(Dera(optim=OPTIM), tmp_path / "run")
    policy.bounds = Bounds(allow_extrapolation=True)
    torch.testing.assert_close(said(policy, Weights({"kind": 1.0}, 0.0)), said(policy, None), atol=1e-4, rtol=0)
    margins = [preferred(policy, Weights({"kind": 1.0}, strength)) for strength in (0, 0.5, 1, 2)]
    assert margins == sorted(margins) and margins[-1] > margins[0] + 1


def preferred(policy: Policy, condition: Weights) -> float:
    """By how much the kinder replies of the training data are likelier than the less kind, nats, summed over pairs."""
    total = 0.0
    for record in made_up.scored(12):
        texts = [response.text for response in record.responses]
        found = policy.logprobs([record.messages] * len(texts), texts, [condition] * len(texts)).tolist()
        kind = [response.scores["kind"] or 0.0 for response in record.responses]
        pairs = [(i, j) for i in range(len(texts)) for j in range(len(texts)) if kind[i] > kind[j]]
        total += sum(found[i] - found[j] for i, j in pairs)
    return total


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (
            lambda: Mod(steering=MixtureSteering(shared_where="attention")),
            ConfigError,
            "share the base and nothing else",
        ),
        (lambda: Soups(kappa=2.0), ConfigError, "DPO learns who is better"),
        (lambda: Mod(feedback="comparisons"), ConfigError, "leave feedback and kappa alone"),
        (lambda: Dera(steering=MixtureSteering(divergence="forward_kl")), ConfigError, "geometric mean"),
    ],
)
def test_settings_act_or_raise(tmp_path: Path, make: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        train(make(), tmp_path / "run")


def test_what_cannot_be_trained_is_named(tmp_path: Path) -> None:
    flat = [dataclasses.replace(r, responses=r.responses[:1]) for r in made_up.scored(3)]
    with pytest.raises(DataError, match="no pair of replies differs on 'kind'"):
        train(Soups(optim=OPTIM), tmp_path / "run", flat)
    with pytest.raises(ConfigError, match="choose with --objectives from kind, brief"):
        Dera().new_steering(made_up.OBJECTIVES)


def test_the_widest_pair_of_each_record_alone() -> None:
    rows = [Response(f"r{score}", scores={"kind": float(score)}) for score in (1, 4, 2, 4)]
    record = Record(user("q"), tuple(rows))
    kind = Objective("kind", low=0, high=4)
    found = [(p.responses, p.preferences[0].margin) for p in pairs_of([record, record], kind, "widest")]
    assert len(found) == 2 and all(margin == 3.0 for _, margin in found)
    assert len(pairs_of([record], kind)) == 5
    with pytest.raises(ConfigError, match="all or widest"):
        pairs_of([record], kind, "best")  # type: ignore[arg-type]
