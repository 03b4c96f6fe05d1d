"""RiC: what is kept and wished for, a run in stages that goes on where it was killed, and a policy that obeys rewards."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Targets, Weights, one_hot
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.ric import Ric
from pluralign.methods.steps.graded import graded, in_rounds
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.scores import PromptScores
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=20, batch_size=8, lr=5e-3, warmup=1)
SHORT = Ric(
    optim=OPTIM, online=dataclasses.replace(OPTIM, steps=4), iterations=2, samples=6, offline_kept=8,
    decoding=Decoding(0.7, 0.9, 6), steering=PromptScores(shared_where=None),
)  # fmt: skip


def data(scorer: Any = None, num: int = 12) -> TrainingData:
    return TrainingData(made_up.scored(num), made_up.OBJECTIVES, scorer=scorer)


def train(method: Ric, folder: Path, what: TrainingData, resume: bool = False) -> Policy:
    policy = tiny.policy(method.new_steering(what.objectives), objectives=what.objectives)
    with Run(folder, resume=resume) as run:
        return method.train(policy, what, run)


def said(policy: Policy, *conditions: Any) -> list[torch.Tensor]:
    texts = ["kind nice good", "joke"]
    return [policy.logprobs([user("a joke")] * 2, texts, [each] * 2) for each in conditions]


def test_replies_are_kept_that_reach_a_quantile_of_some_reward() -> None:
    """Scores (0, 0), (1, 0), (2, 0), (3, 0), (0, 8): the .7-quantiles are 1.8 and 0; of brief only what is above the
    lowest counts."""
    rows = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 8)]
    replies = tuple(Response(f"r{i}", scores={"kind": float(a), "brief": float(b)}) for i, (a, b) in enumerate(rows))
    found = graded([Record(user("x"), replies)], made_up.OBJECTIVES)
    kept = SHORT._kept(found, made_up.OBJECTIVES)
    assert [each.reply.text for each in kept] == ["r2", "r3", "r4"]
    assert SHORT._kept([], made_up.OBJECTIVES) == []


def test_what_is_not_scored_in_full_is_not_imitated() -> None:
    replies = (
        Response("a", scores={"kind": 1.0, "brief": 2.0}),
        Response("b", scores={"kind": 1.0}),
        Response("", scores={"kind": 1.0, "brief": 2.0}),
        Response("c", scores={"kind": 1.0, "brief": 2.0}, extra={"corrupted": True}),
    )
    assert [each.reply.text for each in graded([Record(user("x"), replies)], made_up.OBJECTIVES)] == ["a"]


def test_a_wish_on_the_frontier_leaves_one_reward_below_its_highest() -> None:
    policy = tiny.policy(PromptScores(), objectives=made_up.OBJECTIVES)
    steering = policy.steering
    assert isinstance(steering, PromptScores)
    steering.fit(np.array([[0.0, 0.0], [4.0, 8.0]]), made_up.OBJECTIVES)
    rng = np.random.default_rng(0)
    wishes = [SHORT._wish(steering, made_up.OBJECTIVES, rng).values for _ in range(40)]
    assert all((wish["kind"] == 4.0) != (wish["brief"] == 8.0) for wish in wishes)
    assert {wish["kind"] == 4.0 for wish in wishes} == {True, False}
    drawn = dataclasses.replace(SHORT, wish="weights")
    asked = [drawn._wish(steering, made_up.OBJECTIVES, rng).values for _ in range(40)]
    assert {(4.0, 0.0), (0.0, 8.0)} < {(wish["kind"], wish["brief"]) for wish in asked}  # one-hots are among them


def test_prompts_come_in_rounds() -> None:
    prompts = [Record(user(text)) for text in "abc"]
    drawn = [record.messages[0].content for record in in_rounds(prompts, 7, np.random.default_rng(0))]
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == ["a", "b", "c"] and len(drawn) == 7


def test_a_policy_learns_what_rewards_mean(tmp_path: Path) -> None:
    """Two replies to every prompt, one kind and one brief: each is what its own rewards ask for."""
    pair = {"kind nice good": {"kind": 3.0, "brief": 5.0}, "joke": {"kind": 0.0, "brief": 7.0}}
    replies = tuple(Response(text, scores=scores) for text, scores in pair.items())
    records = [Record(user(prompt), replies) for prompt in ("tell me a joke", "a joke please", "joke now")]
    method = dataclasses.replace(
        SHORT, iterations=0, unasked=0.0, steering=PromptScores(), optim=dataclasses.replace(OPTIM, steps=60, lr=2e-2)
    )
    policy = train(method, tmp_path / "run", TrainingData(records, made_up.OBJECTIVES))
    for high, low in ((one_hot("kind"), one_hot("brief")), (Targets(pair["kind nice good"]), Targets(pair["joke"]))):
        difference = -torch.sub(*said(policy, low, high))
        assert float(difference[0]) > 1 > -1 > float(difference[1])
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert again.steering == policy.steering
    both = (Weights({"kind": 0.3, "brief": 0.7}), None)
    assert all(torch.equal(*pair) for pair in zip(said(policy, *both), said(again, *both), strict=True))


def test_a_killed_run_draws_and_scores_nothing_twice(tmp_path: Path) -> None:
    """Stages: offline, pool-1, online-1, pool-2, online-2; without the last two fits it ends as the whole run did."""
    whole = train(SHORT, tmp_path / "run", data(made_up.Rule()))
    stages = tmp_path / "run" / "stages"
    pools = [(stages / name / "scored.jsonl").read_bytes() for name in ("pool-1", "pool-2")]
    for name in ("online-1", "online-2"):
        (stages / name / "finished.json").unlink()
        for file in (stages / name).glob("*"):
            file.unlink()
    judge = made_up.Rule()
    again = train(SHORT, tmp_path / "run", data(judge), resume=True)
    assert judge.told == 0
    assert [(stages / name / "scored.jsonl").read_bytes() for name in ("pool-1", "pool-2")] == pools
    pairs = zip(said(whole, one_hot("kind"), None), said(again, one_hot("kind"), None), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    rows = [json.loads(line) for line in pools[0].splitlines()]
    replies = [reply for row in rows for reply in row.get("responses", [])]
    assert len(replies) == 6 and all("targets" in reply["condition"] for reply in replies)


def test_settings_and_data_act_or_raise(tmp_path: Path) -> None:
    for wrong in ({"iterations": -1}, {"samples": 0}, {"quantile": 1.0}, {"unasked": 1.0}, {"wish": "stars"}):
        with pytest.raises(ConfigError):
            Ric(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ric lets the policy answer"):
        train(SHORT, tmp_path / "none", data())
    bare = TrainingData(made_up.compared(3), made_up.OBJECTIVES, scorer=made_up.Rule())
    with pytest.raises(DataError, match="scored on every objective"):
        train(SHORT, tmp_path / "bare", bare)
