"""RLOO: one policy for one reward, from its own replies; near the exact optimum where that is known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import one_hot
from pluralign.data.record import Record, user
from pluralign.errors import ConditionError, ConfigError, DataError, RunError
from pluralign.methods.contract import TrainingData
from pluralign.methods.rloo import Rloo
from pluralign.methods.steps.online import Sampling
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

PROMPTS = [Record(user(text), id=text) for text in ("tell me a joke", "now")]
KIND = ("kind", "nice", "good")
ONE_TOKEN = Sampling(prompts_per_step=6, replies_per_prompt=4, max_new_tokens=1, standardise="none")
SMALL = Sampling(prompts_per_step=2, replies_per_prompt=2, max_new_tokens=4, num_reference=8)
OPTIM = Optim(steps=3, lr=1e-2, warmup=0)


class Words:
    """kind: 4 for each kind word (up to 4); brief: 8 less the words. Fails once at record `fail_at`; `mute` says nothing."""

    objectives = made_up.OBJECTIVES

    def __init__(self, fail_at: int = -1, mute: str = "") -> None:
        self.fail_at, self.mute, self.asked = fail_at, mute, 0

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if self.asked == self.fail_at:
                self.fail_at = -1
                raise ConnectionError("the judge is away")
            self.asked += 1
            replies = (dataclasses.replace(r, scores=self.rate(r.text)) for r in record.responses)
            yield dataclasses.replace(record, responses=tuple(replies))

    def rate(self, text: str) -> dict[str, float]:
        words = text.split()
        scores = {"kind": 4.0 * any(word in KIND for word in words), "brief": 8.0 - len(words)}
        return {name: score for name, score in scores.items() if name != self.mute}


def train(
    method: Rloo, folder: Path, scorer: Words | None = None, resume: bool = False, prompts: Any = PROMPTS
) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.new_steering(made_up.OBJECTIVES)), objectives=made_up.OBJECTIVES)
    data = TrainingData(made_up.scored(4) if prompts else [], made_up.OBJECTIVES, prompts=prompts, scorer=scorer)
    with Run(folder, resume=resume) as run:
        return method.train(policy, data, run)


def said(policy: Policy) -> torch.Tensor:
    return policy.logprobs([user("a joke")] * 2, ["good and nice", "short"])


def test_it_comes_near_the_exact_optimum_and_nearer_to_the_reference_for_a_larger_beta(tmp_path: Path) -> None:
    """Replies of one token: J = E R − β KL and its largest value, β log E_ref exp(R / β), are known."""
    optim = Optim(steps=15, lr=1.4e-2, warmup=0, schedule="constant")
    divergence = {}
    for beta in (1.0, 8.0):
        method = Rloo(
            objective="kind", beta=beta, sampling=ONE_TOKEN, optim=optim, steering=NoSteering(shared_where="all")
        )
        policy = train(method, tmp_path / str(beta), Words())
        share, divergence[beta] = exactly(policy, beta)
        assert share > 0.6 or beta > 1
        lines = [json.loads(line) for line in (tmp_path / str(beta) / "metrics.jsonl").read_text().splitlines()]
        logged = sum(line["rho"] for line in lines[-5:]) / 5  # an estimate of the KL
        assert logged == pytest.approx(divergence[beta], abs=0.5 * divergence[beta] + 0.1)
    assert divergence[8.0] < 0.3 * divergence[1.0]
    with pytest.raises(ConditionError, match="not steerable"):
        policy.check(one_hot("kind"))


def exactly(policy: Policy, beta: float) -> tuple[float, float]:
    """(the share of what is to be gained over the reference, KL to the reference), means over the prompts."""
    tokenizer = policy.encoder.tokenizer
    reward = torch.tensor([4.0 * (tokenizer.decode([token]) in KIND) for token in range(len(tokenizer))])
    found = []
    for prompt in PROMPTS:
        ids = torch.tensor([policy.encoder.prompt(prompt.messages).ids])
        own = tiny.steered_logits(policy, ids, policy.coefficients([None]))[0, -1].log_softmax(-1)
        reference = tiny.steered_logits(policy, ids, policy.reference_coefficients(1))[0, -1].log_softmax(-1)
        divergence = (own.exp() * (own - reference)).sum()
        reached, start = (own.exp() * reward).sum() - beta * divergence, (reference.exp() * reward).sum()
        best = beta * torch.logsumexp(reference + reward / beta, -1)
        found.append([(reached - start) / (best - start), divergence])
    share, divergence = torch.tensor(found).mean(0).tolist()
    return share, divergence


@pytest.mark.parametrize(
    ("baseline", "shared_where"),
    [("rloo", "attention"), ("batch", "attention"), ("running", "attention"), ("running", None)],
)
def test_a_scorer_that_fails_loses_nothing(tmp_path: Path, baseline: Any, shared_where: Any) -> None:
    method = Rloo(
        objective="kind=.5,brief=.5",
        sampling=dataclasses.replace(SMALL, baseline=baseline),
        optim=OPTIM,
        steering=NoSteering(shared_where=shared_where),
        checkpoint_every=2,
    )
    whole = train(method, tmp_path / "whole", Words())
    scorer = Words(fail_at=8 + 5)  # the reference's 8 replies, then 2 prompts a step: in the third step
    with pytest.raises(ConnectionError):
        train(method, tmp_path / "cut", scorer)
    again = train(method, tmp_path / "cut", scorer, resume=True)
    assert scorer.asked == 8 + 6
    assert torch.equal(said(whole), said(again))
    again.save(tmp_path / "policy")
    assert torch.equal(said(Policy.load(tmp_path / "policy")), said(whole))


def test_rewards_are_measured_against_the_pool_or_the_reference(tmp_path: Path) -> None:
    """The same seed and replies, other units: another step. The pool needs no replies of the reference."""
    said_by = {}
    for standardise, asked in (("reference", 8 + 6), ("pool", 6), ("none", 6)):
        sampling = dataclasses.replace(SMALL, standardise=standardise)
        scorer = Words()
        policy = train(Rloo(objective="kind", beta=1.0, sampling=sampling, optim=OPTIM), tmp_path / standardise, scorer)
        assert scorer.asked == asked
        said_by[standardise] = said(policy)
    assert not torch.equal(said_by["pool"], said_by["none"])
    assert not torch.equal(said_by["reference"], said_by["none"])


def test_where_the_scorer_says_nothing_there_is_nothing_to_learn(tmp_path: Path) -> None:
    sampling = dataclasses.replace(SMALL, standardise="none")
    with pytest.raises(RunError, match="3 steps had nothing to learn from"):
        train(Rloo(objective="kind", sampling=sampling, optim=OPTIM), tmp_path / "run", Words(mute="kind"))
    with pytest.raises(DataError, match="no reply has a score of 'kind'"):
        train(Rloo(objective="kind", sampling=SMALL, optim=OPTIM), tmp_path / "scaled", Words(mute="kind"))


@pytest.mark.parametrize(
    ("method", "error", "says"),
    [
        (Rloo(), ConfigError, "one of kind, brief"),
        (Rloo(objective="polite"), ConfigError, "one of kind, brief"),
        (Rloo(objective="polite=1"), ConditionError, "polite"),
        (Rloo(objective="kind:3"), ConfigError, "one objective or fixed weights"),
        (Rloo(objective="kind", beta=-1.0), ConfigError, "beta"),
    ],
)
def test_settings_act_or_raise(tmp_path: Path, method: Rloo, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        train(method, tmp_path / "run", Words())


def test_without_a_judge_or_prompts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rloo lets the policy answer .* give --scorer"):
        train(Rloo(objective="kind"), tmp_path / "one")
    with pytest.raises(DataError, match="no prompts to answer"):
        train(Rloo(objective="kind", sampling=SMALL), tmp_path / "two", Words(), prompts=[])
