"""Constrained RLHF: multipliers by hand, the optimum on a finite set, and levels that are reached."""

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
from pluralign.data.condition import one_hot
from pluralign.data.record import Record, user
from pluralign.errors import ConditionError, ConfigError
from pluralign.methods.constrained import Constrained
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.multipliers import Multipliers, mixed, moved, multipliers
from pluralign.methods.steps.online import Sampling, Scale
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

SAMPLING = Sampling(prompts_per_step=3, replies_per_prompt=4, max_new_tokens=6, num_reference=8)
OPTIM = Optim(steps=4, lr=1e-2, warmup=1)
PROMPTS = [Record(user(text), id=str(n)) for n, text in enumerate(("tell me a joke", "a joke", "please", "now"))]
UNIT = Scale((0.0, 0.0), (1.0, 1.0))


def train(method: Constrained, folder: Path, scorer: Any = None, resume: bool = False) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.new_steering(made_up.OBJECTIVES)), objectives=made_up.OBJECTIVES)
    data = TrainingData([], made_up.OBJECTIVES, prompts=PROMPTS, scorer=scorer or made_up.Rule())
    with Run(folder, resume=resume) as run:
        return method.train(policy, data, run)


def constrained(**options: Any) -> Constrained:
    made = {"sampling": SAMPLING, "optim": OPTIM, "steering": NoSteering(shared_rank=2), "multiplier_lr": 0.5}
    return Constrained(**{**made, **options})


def test_a_multiplier_by_hand() -> None:
    """m = 0, slack −.4, lr .5: at_least μ' = ¼, equal μ' = 1, safe μ = 1; then the velocity counts a tenth."""
    m, v = moved("at_least", np.zeros(1), np.zeros(1), np.array([-0.4]), 0.5, 0.1)
    assert (m.tolist(), v.tolist()) == (pytest.approx([0.05]), pytest.approx([-0.1]))
    assert moved("at_least", m, v, np.zeros(1), 0.5, 0.1)[0].tolist() == pytest.approx([0.055])
    assert moved("equal", np.zeros(1), np.zeros(1), np.array([-0.4]), 0.5, 0.1)[0].tolist() == pytest.approx([0.2])
    assert moved("safe", np.zeros(1), np.zeros(1), np.array([-0.4]), 0.5, 0.1)[0].tolist() == pytest.approx([0.2])
    assert moved("equal", np.ones(1), np.zeros(1), np.array([np.nan]), 0.5, 0.1)[0].tolist() == [1.0]


@pytest.mark.parametrize("form", ["at_least", "equal", "safe"])
def test_multipliers_fall_with_slack_and_grow_without(form: Any) -> None:
    held, broken = ((np.zeros(1), np.zeros(1)) for _ in range(2))
    for _ in range(400):
        held = moved(form, *held, np.array([0.5]), 0.1, 0.1)
        broken = moved(form, *broken, np.array([-0.5]), 0.1, 0.1)
    least = {"at_least": 0.0, "equal": -1.0, "safe": 0.0}[form]
    assert multipliers(form, held[0]).item() == pytest.approx(least, abs=0.12)
    assert multipliers(form, broken[0]).item() > {"at_least": 0.85, "equal": 0.98, "safe": 4.99}[form]


def test_the_optimum_for_fixed_multipliers() -> None:
    """π_ref exp(Σ μ_i R_i / (N − Σ μ_i)), normalised (methods.md C6): gradient ascent along the mixed advantages ends there."""
    reference = np.array([0.4, 0.3, 0.2, 0.1])
    rewards, mu = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.8, 0.7]]), np.array([0.6, 0.3])
    logits = np.log(reference)
    for _ in range(4000):
        policy = np.exp(logits) / np.exp(logits).sum()
        centred = [values - policy @ values for values in (-np.log(policy / reference), *rewards.T)]
        (advantage,) = mixed("at_least", centred[:1], [[each] for each in centred[1:]], mu)
        logits = logits + 0.5 * policy * advantage
    expected = reference * np.exp(rewards @ mu / (2 - mu.sum()))
    assert policy == pytest.approx(expected / expected.sum(), abs=1e-6)


def test_the_safe_form_is_a_weighted_mean() -> None:
    (found,) = mixed("safe", [np.array([1.0, -1.0])], [[np.array([-2.0, 2.0])]], np.array([3.0]))
    assert found.tolist() == [(1 - 6) / 4, (-1 + 6) / 4]


def test_what_a_step_left_is_on_the_disk(tmp_path: Path) -> None:
    kept = Multipliers("equal", 2, 0.5, 0.1, tmp_path)
    assert kept(0).tolist() == [0.0, 0.0]
    kept.move(0, np.array([-0.4, 0.4]))
    again = Multipliers("equal", 2, 0.5, 0.1, tmp_path)
    assert again(1).tolist() == pytest.approx([np.tanh(0.2), -np.tanh(0.2)])


@pytest.mark.parametrize(
    "options", [{}, {"form": "equal"}, {"form": "safe", "maximise": "kind", "thresholds": "brief:6"}]
)
def test_it_ends_and_a_killed_run_ends_alike(options: dict[str, str], tmp_path: Path) -> None:
    first, second = made_up.Rule(), made_up.Rule()
    whole = train(constrained(**options), tmp_path / "run", first)
    folder = tmp_path / "run" / "stages" / "constrained"
    for path in folder.glob("*.*"):
        path.unlink()
    shutil.rmtree(folder / "rollouts" / "000003")
    again = train(constrained(**options), tmp_path / "run", second, resume=True)
    for name, tensor in whole.steering_state().items():
        assert torch.equal(tensor, again.steering_state()[name])
    assert second.told == 12 < first.told
    assert whole.lineage["multipliers"] == again.lineage["multipliers"]
    assert list(whole.lineage["multipliers"]) == (["brief"] if options.get("thresholds") else ["kind", "brief"])
    with pytest.raises(ConditionError, match="not steerable"):
        whole.logprobs([user("a joke")], ["nice"], [one_hot("kind")])


def test_a_level_is_led_to_from_below(tmp_path: Path) -> None:
    """Replies get shorter while brevity is short of its level, and its multiplier grows meanwhile."""
    train(constrained(thresholds="brief:8", optim=Optim(steps=12, lr=6e-2, warmup=1)), tmp_path / "run")
    told = [json.loads(path.read_text()) for path in sorted((tmp_path / "run").glob("**/multipliers.json"))]
    slack = [each["slack"][0] for each in told]
    assert np.mean(slack[-4:]) > np.mean(slack[:4]) + 0.3
    assert told[-1]["m"][0] > told[0]["m"][0] > 0


def test_levels_are_in_standard_deviations_of_the_reference() -> None:
    scale = Scale((2.0, -1.0), (0.5, 2.0))
    assert constrained().levels(made_up.OBJECTIVES, scale).tolist() == [0.5, 0.5]
    assert constrained(thresholds="kind:3").levels(made_up.OBJECTIVES, scale).tolist() == pytest.approx([2.0, np.nan], nan_ok=True)  # fmt: skip
    lower = (made_up.OBJECTIVES[0], dataclasses.replace(made_up.OBJECTIVES[1], direction="lower"))
    assert constrained(thresholds="brief:5").levels(lower, scale)[1] == (-5 + 1) / 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"form": "more"}, "form is"),
        ({"maximise": "kind"}, "form=safe maximises"),
        ({"form": "safe"}, "form=safe maximises"),
        ({"momentum": 1.0}, "momentum"),
        ({"sampling": Sampling(baseline="batch")}, "baseline rloo"),
        ({"thresholds": "kind=1"}, "written as"),
        ({"thresholds": "kind:1", "form": "safe", "maximise": "kind"}, "choose one"),
    ],
)
def test_settings_act_or_raise(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        constrained(**options).new_steering(made_up.OBJECTIVES)
