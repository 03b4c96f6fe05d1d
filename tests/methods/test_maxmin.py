"""MaxMin: the worst-off counts; on a finite set the mixture finds the saddle point; log σ of rewards is an AND."""

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
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Rater, Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.maxmin import Maxmin, multiplicative
from pluralign.methods.steps.online import Sampling, column_means
from pluralign.methods.steps.rewarding import RewardTraining, train_reward
from pluralign.methods.steps.transforms import LogSigmoid
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

SAMPLING = Sampling(prompts_per_step=3, replies_per_prompt=4, max_new_tokens=6, num_reference=16)
PROMPTS = [Record(user(text), id=str(n)) for n, text in enumerate(("tell me a joke", "a joke", "please", "now"))]


def train(method: Maxmin, folder: Path, scorer: Any = None, resume: bool = False, num: int = 2) -> Policy:
    objectives = made_up.OBJECTIVES[:num]
    policy = tiny.policy(dataclasses.replace(method.new_steering(objectives)), objectives=objectives)
    data = TrainingData([], objectives, prompts=PROMPTS, scorer=scorer or made_up.Rule())
    with Run(folder, resume=resume) as run:
        return method.train(policy, data, run)


def maxmin(**options: Any) -> Maxmin:
    made = {"sampling": SAMPLING, "optim": Optim(steps=5, lr=1e-2, warmup=1), "steering": NoSteering(shared_rank=2)}
    return Maxmin(**{**made, **options})


def test_the_mixture_finds_the_worst_one_on_a_finite_set() -> None:
    """min_w V*(w) = .526840 at w_1 = .416379 (methods.md H), by following the means under π*_w."""
    reference, beta = np.array([0.4, 0.3, 0.2, 0.1]), 0.5
    rewards, shares = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.8, 0.7]]), np.array([0.9, 0.1])
    for _ in range(400):
        best = reference * np.exp(rewards @ shares / beta)
        shares = multiplicative(shares, best / best.sum() @ rewards, 0.5)
    assert shares[0] == pytest.approx(0.416379, abs=1e-5)
    assert beta * np.log(reference @ np.exp(rewards @ shares / beta)) == pytest.approx(0.526840, abs=1e-6)


def test_a_mixture_by_hand() -> None:
    """(½, ½) with means (0, ln 2) and η = 1: (1, ½) / 1.5. A group that nobody was scored on keeps its share."""
    assert multiplicative(np.array([0.5, 0.5]), np.array([0.0, np.log(2)]), 1.0).tolist() == pytest.approx(
        [2 / 3, 1 / 3]
    )
    assert multiplicative(np.array([0.5, 0.5]), np.array([0.0, np.nan]), 1.0).tolist() == [0.5, 0.5]


def test_means_are_of_what_is_known() -> None:
    found = column_means([np.array([[1.0, np.nan, np.nan]]), np.array([[2.0, 4.0, np.nan], [6.0, np.nan, np.nan]])])
    assert found[:2].tolist() == [3.0, 4.0] and np.isnan(found[2])


@pytest.mark.parametrize("update", ["worst", "multiplicative"])
def test_it_ends_and_a_killed_run_ends_alike(update: Any, tmp_path: Path) -> None:
    first, second = made_up.Rule(), made_up.Rule()
    whole = train(maxmin(update=update), tmp_path / "run", first)
    folder = tmp_path / "run" / "stages" / "maxmin"
    told = [json.loads(path.read_text()) for path in sorted(folder.glob("rollouts/*/shares.json"))]
    for each, before in zip(told, [None, *told], strict=False):
        worst = int(np.argmin(each["means"]))
        if update == "worst":
            assert each["shares"] == np.eye(2)[worst].tolist()
        else:
            assert each["shares"] == pytest.approx(multiplicative(np.array(before["shares"] if before else [0.5, 0.5]), np.array(each["means"]), 0.1))  # fmt: skip
    for path in folder.glob("*.*"):
        path.unlink()
    shutil.rmtree(folder / "rollouts" / "000004")
    again = train(maxmin(update=update), tmp_path / "run", second, resume=True)
    for name, tensor in whole.steering_state().items():
        assert torch.equal(tensor, again.steering_state()[name])
    assert second.told == 12 < first.told
    assert whole.lineage["shares"] == again.lineage["shares"]


def test_one_group_is_ordinary_rlhf(tmp_path: Path) -> None:
    worst, mixture = (train(maxmin(update=name), tmp_path / name, num=1) for name in ("worst", "multiplicative"))
    for name, tensor in worst.steering_state().items():
        assert torch.equal(tensor, mixture.steering_state()[name])


def raters(num: int = 20) -> list[Record]:
    """Pairs of replies, each compared by four people who like kind ones and two who like brief ones."""
    found = []
    for record in made_up.scored(num, replies=2):
        sizes = [record.responses[0].scores[name] - record.responses[1].scores[name] for name in ("kind", "brief")]  # type: ignore[operator]
        said = tuple(
            Comparison(0, 1, "first" if sizes[liked] > 0 else "second", rater=Rater(f"{'kb'[liked]}{person}"))
            for person, liked in enumerate((0, 0, 0, 0, 1, 1))
            if sizes[liked]
        )
        bare = tuple(Response(reply.text) for reply in record.responses)
        found.append(Record(record.messages, bare, said, id=record.id))
    return found


def of_users(folder: Path, records: list[Record], resume: bool = False, **options: Any) -> Policy:
    reward = RewardTraining(kind="bt", trunk="frozen", optim=Optim(steps=10, batch_size=8, head_lr=0.1, lr=0.1))
    method = maxmin(**{"groups": 2, "reward": reward, "optim": Optim(steps=2, lr=1e-2, warmup=1), **options})
    policy = tiny.policy(dataclasses.replace(method.new_steering(made_up.OBJECTIVES)), objectives=made_up.OBJECTIVES)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(records, made_up.OBJECTIVES), run)


@pytest.mark.parametrize("assignment", ["hard", "soft"])
def test_groups_of_users_are_found_and_judge(assignment: Any, tmp_path: Path) -> None:
    """Without a scorer: the reward model of the groups is the judge. Killed after the groups, it goes on with them."""
    whole = of_users(tmp_path / "run", raters(), assignment=assignment)
    about = whole.lineage["user_groups"]
    assert about["raters"] == [4, 2] and about["explained"] > 0.6
    assert set(whole.lineage["shares"]) == {"group-1", "group-2"}
    stages = tmp_path / "run" / "stages"
    member = json.loads((stages / "user-groups" / "finished.json").read_text())["result"]["member"]
    assert {person for person, group in member.items() if group == 1} == {"b4", "b5"}
    judged = json.loads((stages / "maxmin/rollouts/000000/scored.jsonl").read_text().splitlines()[-1])
    assert set(judged["responses"][0]["scores"]) == {"group-1", "group-2"}
    shutil.rmtree(stages / "maxmin")
    changed = [dataclasses.replace(record, comparisons=()) for record in raters()]
    with pytest.raises(DataError):  # the groups are known, but nobody says what they prefer
        of_users(tmp_path / "run", changed, resume=True, assignment=assignment)
    again = of_users(tmp_path / "run", raters(), resume=True, assignment=assignment)
    for name, tensor in whole.steering_state().items():
        assert torch.equal(tensor, again.steering_state()[name])


def test_one_group_of_users_is_rlhf_on_their_reward_model(tmp_path: Path) -> None:
    """K = 1: the same as with that reward model as the scorer of the one group there is."""
    users = of_users(tmp_path / "users", raters(), groups=1)
    assert users.lineage["shares"] == {"group-1": 1.0}
    group = (Objective("group-1", low=-5, high=5),)
    plain = [
        dataclasses.replace(r, comparisons=tuple(dataclasses.replace(c, objective="group-1") for c in r.comparisons))
        for r in raters()
    ]
    policy = tiny.policy(dataclasses.replace(maxmin().new_steering(group)), objectives=group)
    with Run(tmp_path / "plain") as run:
        how = RewardTraining(kind="bt", trunk="frozen", optim=Optim(steps=10, batch_size=8, head_lr=0.1, lr=0.1))
        data = TrainingData(plain, group, prompts=TrainingData(plain, group).questions())
        model = train_reward(policy, data, run.stage("group-rewards"), how)
        method = maxmin(optim=Optim(steps=2, lr=1e-2, warmup=1))
        method.train(policy, dataclasses.replace(data, scorer=model), run)
    for name, tensor in users.steering_state().items():
        torch.testing.assert_close(tensor, policy.steering_state()[name])


def test_what_users_do_not_tell_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody with a rater id prefers"):
        of_users(tmp_path / "nobody", made_up.scored(4))
    with pytest.raises(DataError, match="6 raters cannot make 7 groups"):
        of_users(tmp_path / "many", raters(), groups=7)
    with pytest.raises(ConfigError, match=r"reward\.kind is bt"):
        of_users(tmp_path / "kind", raters(), reward=RewardTraining())


def test_a_conjunction_by_hand() -> None:
    """Gaps of +.5 and −.5 to the reference: Σ log σ = −1.448154 (methods.md H)."""
    u = LogSigmoid(reference=1.0)(np.array([[1.5, 0.5]]))
    assert u.sum() == pytest.approx(-1.448154, abs=1e-6)
    assert (u < 0).all() and u.sum() <= u.min()


def test_the_transform_is_monotone_linear_below_and_flat_above() -> None:
    rewards = np.linspace(-30, 30, 61)
    u = LogSigmoid()(rewards)
    assert (np.diff(u) > 0).all() and u[-1] == pytest.approx(0, abs=1e-6)
    slope = np.diff(u) / np.diff(rewards)
    assert slope[0] == pytest.approx(1, abs=1e-6)
    step = 1e-5
    local = (LogSigmoid()(np.array([0.3 + step])) - LogSigmoid()(np.array([0.3 - step]))) / (2 * step)
    assert local == pytest.approx(1 / (1 + np.exp(0.3 - 1.04)), abs=1e-6)
    assert np.isnan(LogSigmoid()(np.array([np.nan])))[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"update": "best"}, "update is"),
        ({"eta": 0.5}, "leave it alone"),
        ({"eta": 0.0, "update": "multiplicative"}, "eta is above 0"),
        ({"assignment": "soft"}, "say how many, or leave them alone"),
        ({"reward": RewardTraining(kind="bt", rank=4)}, "say how many, or leave them alone"),
        ({"groups": 0}, "groups is 1 or more"),
        ({"groups": 2, "assignment": "firm"}, "assignment hard or soft"),
    ],
)
def test_settings_act_or_raise(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        maxmin(**options)
