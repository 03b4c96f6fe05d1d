"""SteerLM: what is imitated, a policy that obeys ratings, the attribute model, and bootstrapping that goes on."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import made_up
import tiny
from pluralign.data.condition import Condition, Targets, one_hot
from pluralign.data.record import Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.steerlm import Steerlm
from pluralign.methods.steps.rated import learn_levels, on_levels, partly_unasked, rated, wishes
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=30, batch_size=8, lr=3e-2, warmup=2)
FEW = dataclasses.replace(OPTIM, steps=4)
KIND, BRIEF = "kind nice good kind nice", "joke"
PAIR = (
    Response(KIND, scores={"kind": 4.0, "brief": 3.0}),
    Response(BRIEF, scores={"kind": 0.0, "brief": 8.0}),
)
RECORDS = [Record(user(prompt), PAIR) for prompt in ("tell me a joke", "a joke please", "joke now")]


def train(
    method: Any, folder: Path, records: list[Record] | None = None, scorer: Any = None, resume: bool = False
) -> Policy:
    policy = tiny.policy(method.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(records or RECORDS, made_up.OBJECTIVES, scorer=scorer), run)


def answer(policy: Policy, asked: Condition) -> str:
    return Engine(policy).generate([Request(user("tell me a joke"), asked, temperature=0.0, max_new_tokens=8)])[0].text


def said(policy: Policy) -> Tensor:
    asked: list[Condition | None] = [one_hot("kind"), Targets({"kind": 1.0}), None]
    return policy.logprobs([user("a joke")] * 3, [KIND, BRIEF, KIND], asked)


def test_ratings_are_rounded_and_what_teaches_nothing_is_left_out() -> None:
    """brief 0..8 over five levels: 4.9 is level 2, which is 4; raters' mean counts where there are no scores."""
    replies = (
        Response("a", scores={"kind": 2.6, "brief": 4.9}),
        Response("b", ratings=(Rating({"kind": 1.0}), Rating({"kind": 2.0}))),
        Response("c", scores={"kind": 1.0}, extra={"corrupted": True}),
        Response("", scores={"kind": 1.0}),
        Response("d"),
    )
    found = on_levels(Record(user("x"), replies), made_up.OBJECTIVES, 5)
    assert [(r.text, r.scores) for r in found.responses] == [("a", {"kind": 3.0, "brief": 4.0}), ("b", {"kind": 2.0}), ("d", {})]  # fmt: skip
    policy = tiny.policy(PromptLevels(), objectives=made_up.OBJECTIVES)
    with pytest.raises(DataError, match="no reply is rated"):
        rated(policy, [Record(user("x"), replies[2:])])
    learn_levels(policy, [Record(user("x"), replies)])
    assert policy.steering.seen == ("kind:3,brief:2", "kind:2")


def test_a_share_is_imitated_without_ratings(tmp_path: Path) -> None:
    policy = tiny.policy(PromptLevels(), objectives=made_up.OBJECTIVES)
    groups = [made_up_group(n) for n in range(400)]
    plain = sum(group.conditions == (None,) for group in partly_unasked(groups, 0.25, 3))
    assert 70 < plain < 130  # 100, give or take 3.5 deviations of 8.7
    assert partly_unasked(groups, 0.0, 3) == groups
    assert policy.steering.write(user("x"), None) == user("x")


def made_up_group(number: int) -> Any:
    from pluralign.data.group import Group

    return Group(user("x"), (str(number),), (Targets({"kind": 1.0}),))


def test_it_obeys_ratings_and_weights_and_is_loaded(tmp_path: Path) -> None:
    policy = train(Steerlm(optim=OPTIM, attribute_model="none"), tmp_path / "run")
    again = Policy.load(policy.save(tmp_path / "policy"))
    for made in (policy, again):
        assert answer(made, one_hot("kind")) == answer(made, Targets({"kind": 4.0, "brief": 3.0})) == KIND
        assert answer(made, one_hot("brief")) == answer(made, Targets({"kind": 0.0, "brief": 8.0})) == BRIEF
    assert torch.equal(said(policy), said(again))
    assert Steerlm().steering.seen == ()  # the method's own settings are not touched


@pytest.mark.parametrize("kind", ["regression", "classes"])
def test_the_attribute_model_rates_what_is_imitated(kind: Any, tmp_path: Path) -> None:
    """It has seen only half of the ratings, and fills in the rest."""
    some = [
        dataclasses.replace(
            r, responses=r.responses if n % 2 else tuple(dataclasses.replace(y, scores={}) for y in r.responses)
        )
        for n, r in enumerate(made_up.scored(12))
    ]
    optim = Optim(steps=30, batch_size=4, lr=1e-2, head_lr=3e-2, warmup=1)
    method = Steerlm(attribute_model=kind, attribute_optim=optim, optim=FEW)
    policy = train(method, tmp_path / "run", some)
    assert sum(policy.steering.counts) == 36  # type: ignore[attr-defined]
    assert len(policy.steering.seen) > 3  # type: ignore[attr-defined]
    assert (tmp_path / "run" / "stages" / "attributes" / "finished.json").exists()


ROUNDS = Steerlm(
    optim=dataclasses.replace(OPTIM, steps=10), attribute_model="none", rounds=2, replies_per_prompt=2, decoding=Decoding(max_new_tokens=6), round_optim=FEW
)  # fmt: skip


def test_bootstrapping_goes_on_where_it_was_killed_and_draws_nothing_twice(tmp_path: Path) -> None:
    judge = made_up.Rule()
    whole = train(ROUNDS, tmp_path / "run", scorer=judge)
    assert judge.told == 2 * 3 * 2  # rounds, prompts, replies
    shutil.rmtree(tmp_path / "run" / "stages" / "bootstrap-2")
    shutil.rmtree(tmp_path / "run" / "stages" / "bootstrap-1")
    idle = made_up.Rule()
    again = train(ROUNDS, tmp_path / "run", scorer=idle, resume=True)
    assert idle.told == 0
    assert torch.equal(said(whole), said(again))
    once = train(dataclasses.replace(ROUNDS, rounds=0), tmp_path / "once")
    assert not torch.equal(said(whole), said(once))


def test_wishes_are_ratings_that_replies_have() -> None:
    policy = tiny.policy(PromptLevels(), objectives=made_up.OBJECTIVES)
    learn_levels(policy, RECORDS)
    drawn = wishes(policy, 20, [0, 1])
    assert set(drawn) == {Targets({"kind": 4.0, "brief": 4.0}), Targets({"kind": 0.0, "brief": 8.0})}  # 3 is level 1.5
    assert drawn == wishes(policy, 20, [0, 1]) != wishes(policy, 20, [0, 2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"unasked_share": 1.0},
        {"rounds": -1},
        {"replies_per_prompt": 0},
        {"attribute_model": "none", "attribute_trunk": "full"},
    ],
)
def test_settings_that_cannot_act_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Steerlm(**wrong)


def test_bootstrapping_needs_somebody_who_rates(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="steerlm lets the policy answer"):
        train(dataclasses.replace(ROUNDS, optim=FEW), tmp_path / "run")
