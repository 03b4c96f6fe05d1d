"""CPO: the score of a reply under control, the pairs it makes, and a policy that obeys some levels and maximises the rest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Targets, one_hot
from pluralign.data.conversions.controlled import Controlled, partly_rated, preferred, subset, wish
from pluralign.data.evidence import score_row
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.cpo import Cpo
from pluralign.policy import Policy
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OBJECTIVES = (Objective("good", low=0, high=4), Objective("safe", low=0, high=4), Objective("cost", low=0, high=8, direction="lower"))  # fmt: skip
ROWS = np.array([[4.0, 1.0, 0.0], [2.0, 2.0, 8.0], [0.0, 4.0, 4.0]])
OPTIM = Optim(steps=25, batch_size=8, lr=1e-2, warmup=2)


def test_the_score_by_hand() -> None:
    """C = {good} at 2: |4 − 2| / 4, 0 and |0 − 2| / 4 held; then safe / 4 and − cost / 8."""
    asked, chosen = Targets({"good": 2.0}), np.array([True, False, False])
    terms = Controlled(OBJECTIVES).terms(ROWS, asked, chosen)
    assert terms.tolist() == [[-0.5, 0.25, 0.0], [0.0, 0.5, -1.0], [-0.5, 1.0, -0.5]]
    found = {(p.chosen, p.rejected): p.margin for p in preferred(terms)}
    assert found == pytest.approx({(0, 1): 0.25, (2, 0): 0.25, (2, 1): 0.5})  # sums −.25, −.5, 0
    weighed = Controlled(OBJECTIVES, held=2.0, free=0.5).terms(ROWS, asked, chosen)
    assert weighed[0].tolist() == [-1.0, 0.125, 0.0]


def test_identities() -> None:
    """Nothing held: the order of the summed ratings. All held at one's own ratings: 0, the largest there is."""
    none, every = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    free = Controlled(OBJECTIVES).terms(ROWS, Targets({"good": 0.0}), none).sum(1)
    assert free.tolist() == [1.25, 0.0, 0.5]  # 1 + 1/4 − 0, 1/2 + 1/2 − 1, 0 + 1 − 1/2
    for row in ROWS:
        held = Controlled(OBJECTIVES).terms(ROWS, wish(row, every, OBJECTIVES), every).sum(1)
        assert held.max() == 0 == held[[list(r) for r in ROWS.tolist()].index(row.tolist())]


def test_a_term_that_one_of_two_lacks_does_not_count_and_ties_are_no_pairs() -> None:
    terms = np.array([[1.0, np.nan], [0.0, 5.0], [0.0, 5.0]])
    assert [(p.chosen, p.rejected, p.margin) for p in preferred(terms)] == [(0, 1, 1.0), (0, 2, 1.0)]


def test_conditions_are_ratings_of_the_prompts_replies_on_some_objectives() -> None:
    replies = tuple(Response(str(n), scores=dict(zip(("good", "safe", "cost"), row, strict=True))) for n, row in enumerate(ROWS.tolist()))  # fmt: skip
    record = Record(user("x"), replies)
    groups = Controlled(OBJECTIVES).pairs(record, np.random.default_rng(0), 40)
    asked = [group.conditions[0] for group in groups]
    assert len(set(asked)) == len(asked) <= 21  # 7 subsets of 3 replies
    assert {len(each.values) for each in asked if isinstance(each, Targets)} == {1, 2, 3}
    rows = [{name: reply.scores[name] for name in reply.scores} for reply in replies]
    assert all(any(each.values.items() <= row.items() for row in rows) for each in asked if isinstance(each, Targets))
    best = Controlled(OBJECTIVES, target="best").pairs(record, np.random.default_rng(0), 40)
    ends = {"good": 4.0, "safe": 4.0, "cost": 0.0}
    assert all(g.conditions[0].values.items() <= ends.items() for g in best)  # type: ignore[union-attr]
    for group in partly_rated(record, OBJECTIVES, [0]):
        own = score_row(replies[int(group.responses[0])], OBJECTIVES)
        stated = group.conditions[0].values  # type: ignore[union-attr]
        assert stated and all(own[["good", "safe", "cost"].index(name)] == score for name, score in stated.items())


def test_a_subset_is_known_and_never_empty() -> None:
    rng = np.random.default_rng(0)
    drawn = [subset(rng, np.array([True, False, True])) for _ in range(50)]
    assert {tuple(each.tolist()) for each in drawn} == {(True, False, False), (False, False, True), (True, False, True)}
    assert not subset(rng, np.zeros(2, dtype=bool)).any()


def train(method: Any, folder: Path, records: list[Record], resume: bool = False) -> Policy:
    policy = tiny.policy(method.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(records, made_up.OBJECTIVES, records[:2]), run)


KIND, BRIEF = "kind nice good kind nice", "joke"
PAIR = (Response(KIND, scores={"kind": 4.0, "brief": 6.0}), Response(BRIEF, scores={"kind": 0.0, "brief": 8.0}))
RECORDS = [Record(user(prompt), PAIR) for prompt in ("tell me a joke", "a joke please", "joke now")]
METHOD = Cpo(sft_optim=OPTIM, optim=OPTIM)


def margin(policy: Policy, asked: Any) -> float:
    found = policy.logprobs([user("a joke")] * 2, [KIND, BRIEF], [asked] * 2)
    return float(found[0] - found[1])


@pytest.mark.parametrize("shared_where", [None, "attention"])
def test_it_obeys_and_is_resumed_and_loaded(shared_where: Any, tmp_path: Path) -> None:
    method = dataclasses.replace(METHOD, steering=dataclasses.replace(METHOD.steering, shared_where=shared_where))
    policy = train(method, tmp_path / "run", RECORDS)
    assert margin(policy, Targets({"kind": 4.0})) > margin(policy, Targets({"kind": 0.0})) + 3
    assert margin(policy, one_hot("kind")) > margin(policy, one_hot("brief")) + 3
    again = train(method, tmp_path / "run", RECORDS, resume=True)
    loaded = Policy.load(policy.save(tmp_path / "policy"))
    for asked in (one_hot("kind"), Targets({"brief": 8.0})):
        assert margin(policy, asked) == margin(again, asked) == margin(loaded, asked)
    assert torch.isfinite(policy.logprobs([user("a joke")], [KIND], [None])).all()


@pytest.mark.parametrize("wrong", [{"conditions_per_prompt": 0}, {"controlled": 0.0}, {"free": -1.0}, {"unasked_share": 2.0}])  # fmt: skip
def test_settings_that_cannot_act_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Cpo(**wrong)


def test_replies_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    single = [dataclasses.replace(record, responses=record.responses[:1]) for record in RECORDS]
    with pytest.raises(DataError, match="compares replies of a prompt"):
        train(dataclasses.replace(METHOD, sft_optim=dataclasses.replace(OPTIM, steps=1)), tmp_path / "run", single)
