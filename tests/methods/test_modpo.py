"""MODPO trains a front: each weight alone, with margins from DPO models, scores or a scorer."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import made_up
import tiny
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import Record, user
from pluralign.errors import ConditionError, ConfigError, DataError
from pluralign.losses.dpo import DPO
from pluralign.losses.modpo import MODPO
from pluralign.methods.contract import TrainingData
from pluralign.methods.modpo import Modpo
from pluralign.methods.soups import Soups
from pluralign.methods.steps.fronts import default_points
from pluralign.policy import Policy
from pluralign.steering.front import FrontSteering
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=5, batch_size=8, lr=4e-2, warmup=1)
FRONT = FrontSteering(where="attention", rank=2)
TEXTS = ["good and nice joke", "short", "very very long and funny"]
EVEN = Weights({"kind": 0.5, "brief": 0.5})


def train(method: Any, folder: Path, records: Sequence[Record] | None = None, **options: Any) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.new_steering(made_up.OBJECTIVES)), objectives=made_up.OBJECTIVES)
    data = TrainingData(made_up.scored(12) if records is None else records, made_up.OBJECTIVES, scorer=options.pop("scorer", None))  # fmt: skip
    with Run(folder, **options) as run:
        return method.train(policy, data, run)


def modpo(**options: Any) -> Modpo:
    return Modpo(**{"optim": OPTIM, "steering": FRONT, **options})


def said(policy: Policy, condition: Weights | None) -> Tensor:
    return policy.logprobs([user("tell me a joke")] * 3, TEXTS, [condition] * 3)


def test_default_points_are_the_objectives_all_of_them_and_pairs() -> None:
    assert default_points(1) == ((1.0,),)
    assert default_points(2) == ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
    six = default_points(6)
    assert len(six) == 9 and six[6] == (1 / 6,) * 6
    assert six[7:] == ((0.5, 0.5, 0, 0, 0, 0), (0, 0, 0.5, 0.5, 0, 0))
    assert np.sum(six, axis=1) == pytest.approx(1)


def test_a_model_of_one_objective_is_its_dpo_model(tmp_path: Path) -> None:
    """The same expert as rewarded soups trains, where both begin alike (the first objective's start)."""
    front = train(modpo(steering=dataclasses.replace(FRONT, points=((1.0, 0.0), (0.0, 1.0)))), tmp_path / "front")
    soups = train(
        Soups(loss=DPO(), optim=OPTIM, steering=PluralSteering(where="attention", rank=2)), tmp_path / "soups"
    )
    torch.testing.assert_close(said(front, one_hot("kind")), said(soups, one_hot("kind")), atol=1e-4, rtol=0)
    assert not torch.allclose(said(front, one_hot("kind")), said(front, one_hot("brief")), atol=1e-2)


@pytest.mark.parametrize("margins", ["experts", "scores", "scorer"])
def test_a_mixed_weight_stands_between_its_objectives(margins: str, tmp_path: Path) -> None:
    """Under (.5, .5), the margin of β δ over pairs is nearer to the mean of the experts' than either expert's is."""
    long = dataclasses.replace(OPTIM, steps=25)
    policy = train(modpo(margins=margins, optim=long, loss=MODPO(beta=0.5)), tmp_path / "run", scorer=made_up.Rule())
    ratios = {str(asked): _log_ratios(policy, asked) for asked in (one_hot("kind"), one_hot("brief"), EVEN)}
    scores = {name: _scores(name) for name in ("kind", "brief")}
    fit = {key: [np.corrcoef(value, scores[name])[0, 1] for name in scores] for key, value in ratios.items()}
    assert fit["kind=1"][0] > fit["kind=0.5,brief=0.5"][0] > fit["brief=1"][0]
    assert fit["brief=1"][1] > fit["kind=0.5,brief=0.5"][1] > fit["kind=1"][1]


def _log_ratios(policy: Policy, asked: Weights) -> np.ndarray:
    records = made_up.scored(12)
    texts = [reply.text for record in records for reply in record.responses]
    own, reference = (policy.logprobs([records[0].messages] * len(texts), texts, [each] * len(texts)) for each in (asked, None))  # fmt: skip
    return (own - reference).numpy()


def _scores(name: str) -> list[float]:
    return [float(reply.scores[name] or 0) for record in made_up.scored(12) for reply in record.responses]


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    whole = train(modpo(), tmp_path / "run")
    stages = tmp_path / "run" / "stages"
    assert sorted(path.name for path in stages.iterdir()) == ["expert-brief", "expert-kind", "point-2"]
    for name in ("expert-brief", "point-2"):
        shutil.rmtree(stages / name)
    again = train(modpo(), tmp_path / "run", resume=True)
    for condition in (one_hot("kind"), one_hot("brief"), EVEN):
        assert torch.equal(said(whole, condition), said(again, condition))


def test_experts_that_the_front_does_not_keep_are_trained_for_their_rewards(tmp_path: Path) -> None:
    """A front of a mixed weight alone: the experts are trained in its place, and leave nothing behind but their rewards."""
    alone = train(modpo(steering=dataclasses.replace(FRONT, points=((0.6, 0.4),))), tmp_path / "alone")
    asked = Weights({"kind": 0.6, "brief": 0.4})
    stages = sorted(path.name for path in (tmp_path / "alone" / "stages").iterdir())
    assert stages == ["expert-brief", "expert-kind", "point-0"]
    assert not torch.allclose(said(alone, asked), said(alone, None), atol=1e-2)
    again = Policy.load(alone.save(tmp_path / "policy"))
    assert torch.equal(said(again, asked), said(alone, asked))
    with pytest.raises(ConditionError, match=r"trained are: kind=0\.6,brief=0\.4"):
        said(again, one_hot("kind"))


def test_it_learns_from_comparisons_too(tmp_path: Path) -> None:
    policy = train(modpo(), tmp_path / "run", made_up.compared(12))
    assert not torch.allclose(said(policy, EVEN), said(policy, None), atol=1e-2)
    with pytest.raises(DataError, match="no pair of replies differs on 'kind'"):
        train(modpo(margins="scores"), tmp_path / "scores", made_up.compared(12)[:0])


def test_the_objective_to_learn_from_may_be_fixed(tmp_path: Path) -> None:
    free, fixed = (train(modpo(objective=name), tmp_path / f"run-{name}") for name in ("", "brief"))
    assert torch.equal(said(free, one_hot("kind")), said(fixed, one_hot("kind")))
    assert not torch.allclose(said(free, EVEN), said(fixed, EVEN), atol=1e-3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: modpo(loss=MODPO(weight=0.5)), "leave it at 1"),
        (lambda: modpo(unit=2.0), "has rewards already"),
        (lambda: modpo(unit=0.0, margins="scores"), "above 0"),
        (
            lambda: modpo(steering=FrontSteering(shared_where="attention")).new_steering(made_up.OBJECTIVES),
            "share the base",
        ),
    ],
)
def test_settings_act_or_raise(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ConditionError, match="warm"):
        modpo(objective="warm").new_steering(made_up.OBJECTIVES)
