"""RL on weighted rewards, one model per weight: it ends, obeys its weights, and goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import Record, user
from pluralign.errors import ConditionError, ConfigError
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.losses.ppo import PPO
from pluralign.methods.contract import TrainingData
from pluralign.methods.morlhf import Morlhf
from pluralign.methods.ppo import Ppo
from pluralign.methods.steps.online import Sampling
from pluralign.methods.steps.proximal import Proximal, adapted
from pluralign.methods.steps.scalarised import Scalarised
from pluralign.methods.steps.transforms import LogSigmoid
from pluralign.policy import Policy
from pluralign.steering.front import FrontSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

SAMPLING = Sampling(prompts_per_step=3, replies_per_prompt=4, max_new_tokens=6, num_reference=8)
OPTIM = Optim(steps=6, batch_size=2, lr=1e-2, head_lr=1e-2, warmup=1)
PROMPTS = [Record(user(text), id=str(n)) for n, text in enumerate(("tell me a joke", "a joke", "please", "now"))]
FRONT = FrontSteering(where="attention", rank=2)
LOSSES = {"ppo": PPO(), "rloo": PolicyGradient()}


def train(method: Any, folder: Path, scorer: Any = None, resume: bool = False) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.new_steering(made_up.OBJECTIVES)), objectives=made_up.OBJECTIVES)
    data = TrainingData([], made_up.OBJECTIVES, prompts=PROMPTS, scorer=scorer or made_up.Rule())
    with Run(folder, resume=resume) as run:
        return method.train(policy, data, run)


def morlhf(loss: Any, **options: Any) -> Morlhf:
    proximal = Proximal(epochs=2, kl_target=1.0, kl_horizon=12) if isinstance(loss, PPO) else Proximal()
    made = {"loss": loss, "proximal": proximal, "sampling": SAMPLING, "optim": OPTIM, "steering": FRONT, "beta": 0.05}
    return Morlhf(**{**made, **options})


def few(name: str) -> Optim:
    """Steps until PPO's second rollout; REINFORCE draws one for every step."""
    return OPTIM if name == "ppo" else dataclasses.replace(OPTIM, steps=3)


def state(policy: Policy) -> dict[str, list[float]]:
    return {name: tensor.tolist() for name, tensor in policy.steering_state().items()}


@pytest.mark.parametrize("name", LOSSES)
def test_every_point_has_a_model_and_a_killed_run_ends_alike(name: str, tmp_path: Path) -> None:
    """Killed in the second point's training, after some of its rollouts: what was drawn is not drawn again."""
    judge = made_up.Rule()
    whole = train(morlhf(LOSSES[name], optim=few(name)), tmp_path / "run", judge)
    assert whole.steering.points == ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))  # type: ignore[attr-defined]
    values = [whole.logprobs([user("a joke")], ["nice joke"], [each]).item() for each in (one_hot("kind"), one_hot("brief"), None)]  # fmt: skip
    assert len(set(values)) == 3
    with pytest.raises(ConditionError, match="no model was trained"):
        whole.logprobs([user("a joke")], ["nice"], [Weights({"kind": 0.8, "brief": 0.2})])
    stages = tmp_path / "run" / "stages"
    shutil.rmtree(stages / "point-2")
    for path in (stages / "point-1").glob("*.*"):
        path.unlink()
    assert list((stages / "point-1" / "rollouts").glob("*/scored.jsonl"))
    again = made_up.Rule()
    resumed = train(morlhf(LOSSES[name], optim=few(name)), tmp_path / "run", again, resume=True)
    assert state(resumed) == state(whole)
    rollouts = len(list((stages / "point-2" / "rollouts").glob("*/scored.jsonl")))
    assert 0 < again.told == rollouts * 12 < judge.told


def test_ppo_goes_over_a_rollout_as_often_as_it_is_told(tmp_path: Path) -> None:
    """6 steps, 2 prompts a step of 3, 2 passes: a rollout serves 4 steps, so there are 2, and β follows the KL."""
    train(morlhf(PPO()), tmp_path / "run")
    for point in range(3):
        folder = tmp_path / "run" / "stages" / f"point-{point}" / "rollouts"
        told = [json.loads(path.read_text()) for path in sorted(folder.glob("*/tokens.json"))]
        assert [each["replies"] for each in told] == [12, 12]
        assert told[0]["kl"] == pytest.approx(0.0, abs=1e-4)
        assert told[1]["beta"] == pytest.approx(adapted(0.05, told[0]["kl"], 1.0, 1.0)) == pytest.approx(0.05 * 0.98)
        advantages = np.concatenate([reply["advantage"] for reply in told[0]["series"]])
        assert (advantages.mean(), advantages.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


@pytest.mark.parametrize("name", LOSSES)
def test_it_learns_what_it_is_asked_to(name: str, tmp_path: Path) -> None:
    """Brevity is easy: the model of brief writes shorter replies than the reference."""
    how = {"optim": Optim(steps=12, batch_size=4, lr=6e-2, warmup=1), "steering": dataclasses.replace(FRONT, points=((0.0, 1.0),))}  # fmt: skip
    train(morlhf(LOSSES[name], sampling=dataclasses.replace(SAMPLING, prompts_per_step=4), **how), tmp_path / "run")
    folder = tmp_path / "run" / "stages" / "point-0" / "rollouts"
    drawn = [json.loads(line) for at in sorted(folder.glob("*")) for line in (at / "sampled.jsonl").read_text().splitlines()[1:]]  # fmt: skip
    lengths = [np.mean([len(reply["text"].split()) for reply in record["responses"]]) for record in drawn]
    assert np.mean(lengths[-8:]) < np.mean(lengths[:8]) - 0.5


def test_a_logical_and_is_not_a_sum(tmp_path: Path) -> None:
    how = {"optim": dataclasses.replace(OPTIM, steps=2), "steering": dataclasses.replace(FRONT, points=((0.5, 0.5),))}
    plain = train(morlhf(PolicyGradient(), **how), tmp_path / "plain")
    both = train(morlhf(PolicyGradient(), transform=LogSigmoid(), **how), tmp_path / "and")
    assert state(plain) != state(both)


def test_ppo_trains_one_weighting(tmp_path: Path) -> None:
    method = Ppo(weights="kind=.8,brief=.2", sampling=SAMPLING, optim=OPTIM, steering=FRONT)
    policy = train(method, tmp_path / "run")
    asked = Weights({"kind": 0.8, "brief": 0.2})
    values = policy.logprobs([user("a joke")] * 2, ["nice"] * 2, [asked, None])
    assert not torch.equal(values[0], values[1])
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert torch.equal(again.logprobs([user("a joke")] * 2, ["nice"] * 2, [asked, None]), values)
    assert Ppo().new_steering(made_up.OBJECTIVES).points == ((0.5, 0.5),)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: morlhf(PolicyGradient(), proximal=Proximal(epochs=2)), "proximal is about PPO"),
        (lambda: morlhf(PPO(), sampling=Sampling(baseline="batch")), "leave sampling.baseline alone"),
        (lambda: morlhf(PPO(), beta=0.0), "begin with a beta above 0"),
        (lambda: morlhf(PolicyGradient(), beta=-1.0), "beta must be"),
        (lambda: Proximal(epochs=0), "at least 1"),
        (lambda: Proximal(lam=1.5), "lam in"),
        (lambda: Proximal(kl_target=0.0), "kl_target"),
        (lambda: LogSigmoid(slope=0.0), "slope above 0"),
        (lambda: Ppo(weights="kind:3").new_steering(made_up.OBJECTIVES), "weights are written as"),
        (lambda: Ppo(weights="kind=1 @2").new_steering(made_up.OBJECTIVES), "without a strength"),
        (
            lambda: Ppo(steering=FrontSteering(points=((1.0, 0.0),))).new_steering(made_up.OBJECTIVES),
            "trains one model",
        ),
        (
            lambda: morlhf(PPO(), steering=FrontSteering(shared_where="all")).new_steering(made_up.OBJECTIVES),
            "share the base",
        ),
    ],
)
def test_settings_act_or_raise(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_both_are_reinforcement_learning_on_a_weighted_reward() -> None:
    assert issubclass(Ppo, Scalarised) and issubclass(Morlhf, Scalarised)
    assert isinstance(Morlhf().loss, PPO) and Morlhf().proximal.kl_target == 3.0


def test_without_a_scorer_it_says_so(tmp_path: Path) -> None:
    policy = tiny.policy(morlhf(PPO()).new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)
    with Run(tmp_path / "run") as run, pytest.raises(ConfigError, match="somebody must judge; give --scorer"):
        morlhf(PPO()).train(policy, TrainingData([], made_up.OBJECTIVES, prompts=PROMPTS), run)
