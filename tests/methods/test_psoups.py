"""Personalised soups: a policy for each end of every objective, each trained alone, merged as chosen."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Bounds, Weights, one_hot, vector
from pluralign.data.objective import Objective
from pluralign.data.record import Record, user
from pluralign.errors import ConditionError, ConfigError, DataError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.methods.contract import TrainingData
from pluralign.methods.psoups import Psoups
from pluralign.methods.steps.online import Sampling, weighed
from pluralign.methods.steps.prompted_poles import drawn_poles
from pluralign.policy import Policy
from pluralign.steering.poles import PolesSteering
from pluralign.steering.prompt.poles import PromptPoles
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=8, batch_size=8, lr=1e-2, head_lr=2e-2, warmup=1)
HEADS = PolesSteering(rank="full")
LOW = Weights({"kind": -1.0})
BOTH = Weights({"kind": 0.5, "brief": -0.5})
SMALL = Sampling(prompts_per_step=2, replies_per_prompt=2, max_new_tokens=4, num_reference=4)


class Words:
    """kind counts the letters i, brief falls with the words. Fails once at record `fail_at`."""

    objectives = made_up.OBJECTIVES

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at, self.asked = fail_at, 0

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if self.asked == self.fail_at:
                self.fail_at = -1
                raise ConnectionError("the judge is away")
            self.asked += 1
            replies = (dataclasses.replace(r, scores=self.rate(r.text)) for r in record.responses)
            yield dataclasses.replace(record, responses=tuple(replies))

    def rate(self, text: str) -> dict[str, float]:
        return {"kind": float(min(4, text.count("i"))), "brief": float(max(0, 8 - len(text.split())))}


def train(
    method: Psoups,
    folder: Path,
    records: list[Record] | None = None,
    resume: bool = False,
    scorer: Words | None = None,
    objectives: tuple[Objective, ...] = made_up.OBJECTIVES,
) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.new_steering(objectives)), objectives=objectives)
    with Run(folder, resume=resume) as run:
        data = TrainingData(made_up.scored(10) if records is None else records, objectives, scorer=scorer)
        return method.train(policy, data, run)


def said(policy: Policy, condition: Weights | None) -> torch.Tensor:
    texts = ["good and nice joke", "short", "very very long and funny"]
    return policy.logprobs([user("a joke")] * 3, texts, [condition] * 3)


def kind_turned_round(records: list[Record]) -> list[Record]:
    def turned(record: Record) -> Record:
        replies = (
            dataclasses.replace(r, scores={**r.scores, "kind": 4 - (r.scores["kind"] or 0)}) for r in record.responses
        )
        return dataclasses.replace(record, responses=tuple(replies))

    return [turned(record) for record in records]


@pytest.mark.parametrize("loss", [CDPO(), DPO()], ids=["cdpo", "dpo"])
def test_the_low_pole_is_the_high_pole_of_feedback_turned_round(tmp_path: Path, loss: Any) -> None:
    """And no pole knows the labels of another objective."""
    method = Psoups(optim=OPTIM, loss=loss, steering=HEADS)
    one = train(method, tmp_path / "one")
    two = train(method, tmp_path / "two", kind_turned_round(made_up.scored(10)))
    torch.testing.assert_close(said(one, LOW), said(two, one_hot("kind")), atol=1e-4, rtol=0)
    torch.testing.assert_close(said(two, LOW), said(one, one_hot("kind")), atol=1e-4, rtol=0)
    assert not torch.allclose(said(one, LOW), said(one, one_hot("kind")), atol=1e-1)
    for end in (1.0, -1.0):
        assert torch.equal(said(one, Weights({"brief": end})), said(two, Weights({"brief": end})))


def test_a_corrupted_reply_wins_at_no_end(tmp_path: Path) -> None:
    """Every pair that it stands in, under both ends, has it as the loser; `widest` keeps one pair of a record and end."""
    records = [
        dataclasses.replace(r, responses=(*r.responses[:2], dataclasses.replace(r.responses[2], text=f"kind {n}",
        scores={"kind": 0.0, "brief": 0.0}, extra={"corrupted": True})))
        for n, r in enumerate(made_up.scored(10))
    ]  # fmt: skip
    policy = tiny.policy(PolesSteering(rank=1), objectives=made_up.OBJECTIVES)
    for pairs, most in (("all", 3), ("widest", 1)):
        method = Psoups(optim=OPTIM, pairs=pairs)  # type: ignore[arg-type]
        with Run(tmp_path / pairs) as run:
            experts = list(method._from_pairs(policy, TrainingData(records, made_up.OBJECTIVES), run))
        assert [expert.name for expert in experts] == ["kind-high", "kind-low", "brief-high", "brief-low"]
        for expert in experts:
            found = expert.source.groups  # type: ignore[attr-defined]
            assert max(Counter(group.id for group in found).values()) <= most
            lost = [group.responses[group.preferences[0].rejected] for group in found]
            won = [group.responses[group.preferences[0].chosen] for group in found]
            assert any(text.startswith("kind ") and text[-1].isdigit() for text in lost)
            assert not any(text.startswith("kind ") and text[-1].isdigit() for text in won)


def test_chosen_poles_are_merged_in_equal_shares(tmp_path: Path) -> None:
    """On heads the logits of a merge are the mean of its poles' logits, so log π up to a constant of the prefix."""
    policy = train(Psoups(optim=OPTIM, steering=HEADS), tmp_path / "run")
    ids = tiny.ids()
    alone = [
        tiny.steered_logits(policy, ids, policy.coefficients([pole] * 3))
        for pole in (one_hot("kind"), Weights({"brief": -1.0}))
    ]
    for chosen in (BOTH, Weights({"kind": 0.9, "brief": -0.1})):  # uniform: the sizes do not matter
        mixed = tiny.steered_logits(policy, ids, policy.coefficients([chosen] * 3))
        torch.testing.assert_close(mixed, (alone[0] + alone[1]) / 2, atol=1e-4, rtol=0)


def test_it_may_be_asked_for_both_ends_also_after_saving(tmp_path: Path) -> None:
    policy = train(Psoups(optim=OPTIM), tmp_path / "run")
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    for condition in (BOTH, LOW, one_hot("brief")):
        assert again.check(condition) == condition
        assert torch.equal(said(again, condition), said(policy, condition))
    with pytest.raises(ConditionError, match="outside its bound"):
        again.check(Weights({"kind": -1.5, "brief": 0.5}))


def test_an_objective_of_safety_has_no_low_pole(tmp_path: Path) -> None:
    objectives = (made_up.OBJECTIVES[0], dataclasses.replace(made_up.OBJECTIVES[1], safety=True))
    policy = train(Psoups(optim=OPTIM), tmp_path / "run", objectives=objectives)
    assert policy.check(Weights({"kind": -0.5, "brief": 0.5}))
    with pytest.raises(ConditionError, match="outside its bound"):
        policy.check(BOTH)
    assert sorted(path.name for path in (tmp_path / "run" / "stages").iterdir()) == [
        "expert-brief-high",
        "expert-kind-high",
        "expert-kind-low",
    ]


def test_bounds_that_were_set_are_kept(tmp_path: Path) -> None:
    policy = tiny.policy(PolesSteering(rank=1), objectives=made_up.OBJECTIVES)
    policy.bounds = Bounds({"kind": (0.2, 1.0)})
    with Run(tmp_path / "run") as run:
        Psoups(optim=dataclasses.replace(OPTIM, steps=1)).train(
            policy, TrainingData(made_up.scored(4), made_up.OBJECTIVES), run
        )
    assert policy.bounds == Bounds({"kind": (0.2, 1.0)})


def test_experts_that_learn_from_their_own_replies_go_on_where_the_scorer_failed(tmp_path: Path) -> None:
    method = Psoups(
        expert="replies", sampling=SMALL, optim=dataclasses.replace(OPTIM, steps=3), steering=PolesSteering(rank=2)
    )
    whole = train(method, tmp_path / "whole", scorer=Words())
    scorer = Words(fail_at=4 + 3 * 1 + 2)  # 4 replies of the reference; one prompt a step: in the second expert
    with pytest.raises(ConnectionError):
        train(method, tmp_path / "cut", scorer=scorer)
    again = train(method, tmp_path / "cut", scorer=scorer, resume=True)
    assert scorer.asked == 4 + 4 * 3 * 2
    for condition in (LOW, one_hot("kind"), BOTH):
        assert torch.equal(said(whole, condition), said(again, condition))
    assert not torch.allclose(said(whole, LOW), said(whole, one_hot("kind")), atol=1e-3)


def test_poles_are_drawn_and_their_rewards_averaged() -> None:
    """Every size and end comes up, shares are equal, safety is never turned round; (2 − (−1)) / 2 = 1.5 by hand."""
    objectives = (*made_up.OBJECTIVES, Objective("safe", safety=True))
    drawn = [drawn_poles(np.random.default_rng(n), objectives, [-1.0, -1.0, 0.0]) for n in range(300)]
    rows = np.array([vector(each, objectives) for each in drawn])
    np.testing.assert_allclose(np.abs(rows).sum(1), 1)
    assert {len(each.values) for each in drawn} == {1, 2, 3} and (rows[:, 2] >= 0).all()
    assert {tuple(row) for row in np.sign(rows[:, :2]).tolist()} == {(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)}
    chosen = vector(Weights({"kind": 0.5, "brief": -0.5}), made_up.OBJECTIVES)
    assert weighed(chosen, np.array([[2.0, -1.0]])).tolist() == [1.5]


def test_one_policy_reads_the_poles(tmp_path: Path) -> None:
    """P-MORL: it answers signed weights and repeats itself from its files, nothing drawn twice."""
    method = Psoups(
        expert="replies",
        sampling=SMALL,
        optim=dataclasses.replace(OPTIM, steps=2),
        steering=PromptPoles(high="very {}", low="short {}", shared_rank=2),
    )
    scorer = Words(fail_at=4 + 1)  # after the replies of the reference; two prompts a step, each under poles of its own
    with pytest.raises(ConnectionError):
        train(method, tmp_path / "run", scorer=scorer)
    policy = train(method, tmp_path / "run", scorer=scorer, resume=True)
    assert scorer.asked == 4 + 2 * 2
    assert not torch.allclose(said(policy, LOW), said(policy, one_hot("kind")), atol=1e-4)
    assert torch.equal(said(policy, BOTH), said(policy, Weights({"kind": 0.9, "brief": -0.1})))
    policy.save(tmp_path / "policy")
    assert torch.equal(said(Policy.load(tmp_path / "policy"), BOTH), said(policy, BOTH))


@pytest.mark.parametrize(
    ("method", "error", "says"),
    [
        (Psoups(steering=PromptPoles()), ConfigError, "set expert to replies"),
        (Psoups(beta=0.5), ConfigError, "leave them alone, or set expert"),
        (Psoups(expert="replies", loss=CDPO()), ConfigError, "set expert to pairs"),
        (Psoups(expert="replies", beta=-1.0), ConfigError, "beta must be"),
        (Psoups(expert="replies"), ConfigError, "give --scorer"),
        (Psoups(steering=PolesSteering(shared_where="attention")), ConfigError, "share the base and nothing else"),
    ],
)
def test_settings_act_or_raise(tmp_path: Path, method: Psoups, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        train(method, tmp_path / "run")


def test_what_cannot_be_trained_is_named(tmp_path: Path) -> None:
    flat = [dataclasses.replace(record, responses=record.responses[:1]) for record in made_up.scored(3)]
    with pytest.raises(DataError, match="no pair of replies differs on 'kind'"):
        train(Psoups(optim=OPTIM), tmp_path / "run", flat)
