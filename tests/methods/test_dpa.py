"""DPA: rewards along a direction, the best of n, and a run in rounds that goes on where it was killed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import made_up
import tiny
from pluralign.data.condition import Weights, one_hot
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.dpa import Dpa
from pluralign.methods.steps.graded import best_in, graded, worth
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.directions import PromptDirections
from pluralign.training.optim import Optim
from pluralign.training.run import Run

GOOD, COST = Objective("good", low=0, high=4), Objective("cost", low=0, high=10, direction="lower")
OPTIM = Optim(steps=12, batch_size=8, lr=5e-3, warmup=1)
SHORT = Dpa(
    optim=OPTIM, online=dataclasses.replace(OPTIM, steps=4), rounds=2, samples=5, replies=4,
    decoding=Decoding(max_new_tokens=6), steering=PromptDirections(shared_where=None),
)  # fmt: skip


def train(method: Dpa, folder: Path, what: TrainingData, resume: bool = False) -> Policy:
    policy = tiny.policy(method.new_steering(what.objectives), objectives=what.objectives)
    with Run(folder, resume=resume) as run:
        return method.train(policy, what, run)


def said(policy: Policy, *conditions: Any) -> list[torch.Tensor]:
    texts = ["kind nice good", "joke"]
    return [policy.logprobs([user("a joke")] * 2, texts, [each] * 2) for each in conditions]


def test_rewards_along_a_direction() -> None:
    """Good 3 of 4 is 75, a cost of 2 of 10 is 80: along (3, 4) / 5, 45 + 64."""
    scores = np.array([[3.0, 2.0], [4.0, 10.0]])
    assert worth(scores, Weights({"good": 3.0, "cost": 4.0}), (GOOD, COST)).tolist() == pytest.approx([109.0, 60.0])
    assert worth(scores, Weights({"good": 1.0, "cost": -1.0}), (GOOD, COST)).tolist() == pytest.approx(
        [-5 / 2**0.5, 100 / 2**0.5]
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10)), min_size=1, max_size=8), st.floats(-1.5, 1.5))
def test_more_replies_are_never_worse(rows: list[tuple[int, int]], turn: float) -> None:
    """The best of n is non-decreasing in n, whatever the direction (methods.md A13)."""
    replies = tuple(Response(str(n), scores={"good": float(a), "cost": float(b)}) for n, (a, b) in enumerate(rows))
    found = graded([Record(user("x"), replies)], (GOOD, COST))
    direction = Weights({"good": float(np.cos(turn)), "cost": float(np.sin(turn))})
    best = [best_in(found[:num], direction, (GOOD, COST)) for num in range(1, len(found) + 1)]
    values = [float(worth(each.scores[None], direction, (GOOD, COST))[0]) for each in best if each is not None]
    assert len(values) == len(found) and values == sorted(values)
    assert best_in([], direction, (GOOD, COST)) is None


def test_the_start_imitates_what_is_best_in_its_direction() -> None:
    rows = {"a": (4.0, 10.0), "b": (0.0, 0.0), "c": (1.0, 9.0)}
    record = Record(user("x"), tuple(Response(t, scores={"good": a, "cost": b}) for t, (a, b) in rows.items()))
    method = dataclasses.replace(SHORT, directions_per_prompt=40, unasked=0.25)
    data = TrainingData([record], (GOOD, COST))
    groups = method._start(data.train, data, 0)
    asked = [group for group in groups if group.conditions != (None,)]
    assert 3 <= len(groups) - len(asked) <= 20
    for group in asked:
        condition = group.conditions[0]
        assert isinstance(condition, Weights)
        good, cost = (condition.values.get(name, 0.0) for name in ("good", "cost"))
        assert group.responses == (("a",) if good >= cost else ("b",))
    alone = dataclasses.replace(record, responses=record.responses[:1])
    assert method._start([alone], data, 0) == []


def test_a_rounds_replies_teach_several_directions(tmp_path: Path) -> None:
    """Each prompt's replies are judged in the direction that they were drawn under, and in drawn ones."""
    method = dataclasses.replace(SHORT, directions_per_prompt=6)
    data = TrainingData(made_up.scored(12), made_up.OBJECTIVES, scorer=made_up.Rule())
    policy = tiny.policy(method.new_steering(data.objectives), objectives=data.objectives)
    with Run(tmp_path / "run") as run:
        groups = method._best(policy, run.stage("pool-1"), data, np.random.default_rng(0))
    assert len(groups) == SHORT.samples * 6
    prompts = [groups[place : place + 6] for place in range(0, len(groups), 6)]
    assert all(len({group.messages for group in each}) == 1 for each in prompts)
    assert all(len({group.conditions for group in each}) > 1 for each in prompts)
    assert any(len({group.responses for group in each}) > 1 for each in prompts)


def test_a_policy_learns_directions(tmp_path: Path) -> None:
    """Two replies to every prompt, one kind and one brief: each is likelier in its own direction."""
    pair = {"kind nice good": {"kind": 3.0, "brief": 5.0}, "joke": {"kind": 0.0, "brief": 7.0}}
    replies = tuple(Response(text, scores=scores) for text, scores in pair.items())
    records = [Record(user(prompt), replies) for prompt in ("tell me a joke", "a joke please", "joke now")]
    optim = dataclasses.replace(OPTIM, steps=60, lr=2e-2)
    method = dataclasses.replace(SHORT, rounds=0, unasked=0.0, steering=PromptDirections(), optim=optim)
    policy = train(method, tmp_path / "run", TrainingData(records, made_up.OBJECTIVES))
    difference = torch.sub(*said(policy, one_hot("kind"), one_hot("brief")))
    assert float(difference[0]) > 1 > -1 > float(difference[1])
    again = Policy.load(policy.save(tmp_path / "policy"))
    both = (Weights({"kind": 0.3, "brief": 0.7}), None)
    assert all(torch.equal(*values) for values in zip(said(policy, *both), said(again, *both), strict=True))


def test_a_killed_run_draws_and_scores_nothing_twice(tmp_path: Path) -> None:
    data = TrainingData(made_up.scored(12), made_up.OBJECTIVES, scorer=made_up.Rule())
    whole = train(SHORT, tmp_path / "run", data)
    stages = tmp_path / "run" / "stages"
    pools = sorted(stages.glob("pool-*/part-*/scored.jsonl"))
    before = [file.read_bytes() for file in pools]
    assert len(pools) == 4  # two rounds, two temperatures
    for file in [*(stages / "round-1").glob("*"), *(stages / "round-2").glob("*")]:
        file.unlink()
    judge = made_up.Rule()
    again = train(SHORT, tmp_path / "run", dataclasses.replace(data, scorer=judge), resume=True)
    assert judge.told == 0 and [file.read_bytes() for file in pools] == before
    pairs = zip(said(whole, one_hot("kind"), None), said(again, one_hot("kind"), None), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_papers_cone_becomes_the_policys_bounds(tmp_path: Path) -> None:
    method = dataclasses.replace(SHORT, rounds=0, steering=PromptDirections(axis="kind"))
    policy = train(method, tmp_path / "run", TrainingData(made_up.scored(6), made_up.OBJECTIVES))
    policy.check(Weights({"kind": 0.9, "brief": -0.4}))
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert again.bounds == policy.bounds and not again.bounds.simplex


def test_settings_and_data_act_or_raise(tmp_path: Path) -> None:
    for wrong in ({"rounds": -1}, {"replies": 3}, {"temperatures": ()}, {"unasked": 1.0}, {"kept_share": -1.0}):
        with pytest.raises(ConfigError):
            Dpa(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dpa lets the policy answer"):
        train(SHORT, tmp_path / "none", TrainingData(made_up.scored(3), made_up.OBJECTIVES))
    bare = TrainingData(made_up.compared(3), made_up.OBJECTIVES, scorer=made_up.Rule())
    with pytest.raises(DataError, match="two replies scored"):
        train(SHORT, tmp_path / "bare", bare)
