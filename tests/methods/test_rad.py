"""RAD: both replies of a pair win under their own goal, and the policy learns it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_up
import tiny
from pluralign.data.condition import Targets, one_hot
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.rad import Rad, relabelled
from pluralign.methods.steps.rated import partly_unasked
from pluralign.policy import Policy
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=25, batch_size=4, lr=1e-2, warmup=2)
KIND, BRIEF = "kind nice good kind nice", "joke"
PAIR = (Response(KIND, scores={"kind": 4.0, "brief": 2.0}), Response(BRIEF, scores={"kind": 0.0, "brief": 8.0}))
RECORDS = [Record(user(prompt), PAIR) for prompt in ("tell me a joke", "a joke please", "joke now")]


def fresh(**options: Any) -> Policy:
    return tiny.policy(PromptLevels(**options), objectives=made_up.OBJECTIVES)


def train(method: Rad, folder: Path, records: list[Record], resume: bool = False) -> Policy:
    policy = tiny.policy(method.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(records, made_up.OBJECTIVES, records[:1]), run)


def margin(policy: Policy, asked: Any) -> float:
    found = policy.logprobs([user("a joke")] * 2, [KIND, BRIEF], [asked] * 2)
    return float(found[0] - found[1])


@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 8)), min_size=2, max_size=4))
def test_relabelling_agrees_with_the_implied_reward(rows: list[tuple[float, float]]) -> None:
    """Under goal g the chosen reply is the nearer one, for every record (methods.md A17); every pair occurs twice."""
    policy = POLICY
    replies = tuple(Response(f"r{n}", scores={"kind": k, "brief": b}) for n, (k, b) in enumerate(rows))
    own = [(round_half_up(k) / 4, round_half_up(b / 2) / 4) for k, b in rows]
    groups = relabelled(policy, [Record(user("x"), replies)])
    preferences = [p for group in groups for p in group.preferences]
    for group in groups:
        for p in group.preferences:
            goal = group.conditions[p.condition].values  # type: ignore[union-attr]
            wanted = (goal["kind"] / 4, goal["brief"] / 8)
            near, far = (
                sum((a - b) ** 2 for a, b in zip(wanted, own[at], strict=True)) for at in (p.chosen, p.rejected)
            )
            assert near == 0 < far and p.margin == pytest.approx(far)
    different = sum(a != b for i, a in enumerate(own) for b in own[i + 1 :])
    assert len(preferences) == 2 * different


POLICY = fresh()


def round_half_up(value: float) -> int:
    return int(value + 0.5)


def test_it_learns_to_meet_goals_and_is_resumed_and_loaded(tmp_path: Path) -> None:
    method = Rad(optim=OPTIM)
    policy = train(method, tmp_path / "run", RECORDS)
    near, far = (
        margin(policy, Targets(values)) for values in ({"kind": 4.0, "brief": 2.0}, {"kind": 0.0, "brief": 8.0})
    )
    assert near > far + 3
    assert margin(policy, one_hot("kind")) > margin(policy, one_hot("brief")) + 3
    again = train(method, tmp_path / "run", RECORDS, resume=True)
    loaded = Policy.load(policy.save(tmp_path / "policy"))
    for asked in (one_hot("kind"), one_hot("brief"), None):
        assert margin(policy, asked) == margin(again, asked) == margin(loaded, asked)


def test_a_base_that_cannot_read_goals_learns_it_first(tmp_path: Path) -> None:
    first = Optim(steps=20, batch_size=4, lr=1e-2, warmup=1)
    policy = train(Rad(first_optim=first, optim=Optim(steps=1, batch_size=2, lr=1e-9)), tmp_path / "run", RECORDS)
    assert margin(policy, one_hot("kind")) > margin(policy, one_hot("brief")) + 3
    assert (tmp_path / "run" / "stages" / "imitation" / "finished.json").exists()


def test_without_a_goal_both_orders_of_a_pair_are_there() -> None:
    """So that −log σ(h) − log σ(−h) pulls h to 0."""
    (group,) = partly_unasked(relabelled(POLICY, RECORDS[:1]), 0.999, 0)
    assert set(group.conditions) == {None}
    assert {(p.chosen, p.rejected) for p in group.preferences} == {(0, 1), (1, 0)}
    with pytest.raises(ConfigError, match="unasked_share"):
        Rad(unasked_share=1.0)


def test_pairs_on_one_level_are_left_out_and_nothing_else_is_refused(tmp_path: Path) -> None:
    same = tuple(dataclasses.replace(reply, scores={"kind": 2.0 + n / 10}) for n, reply in enumerate(PAIR))
    with pytest.raises(DataError, match="compares replies of a prompt"):
        train(Rad(), tmp_path / "run", [Record(user("x"), same)])
