"""SteerLM 2.0: the odds of a rating, the weights of samples, and iterations that go on where they were killed."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Targets, one_hot
from pluralign.data.objective import Objective
from pluralign.data.rating_odds import LEAST, beta_bins, log_odds
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.steerlm2 import Steerlm2
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.on_policy import log_ratios
from pluralign.training.batching import collate
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=20, batch_size=8, lr=4e-2, warmup=1)
FEW = Optim(steps=4, batch_size=2, lr=1e-2, warmup=0)
METHOD = Steerlm2(
    attribute_model="none", first_optim=OPTIM, optim=FEW, replies_per_prompt=4, decoding=Decoding(max_new_tokens=12)
)
PAIR = (
    Response("kind nice good kind nice", scores={"kind": 4.0, "brief": 3.0}),
    Response("joke", scores={"kind": 0.0, "brief": 7.0}),
)
RECORDS = [Record(user(prompt), PAIR) for prompt in ("tell me a joke", "a joke please", "joke now")]


def train(method: Steerlm2, folder: Path, scorer: Any, resume: bool = False) -> Policy:
    policy = tiny.policy(method.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(RECORDS, made_up.OBJECTIVES, scorer=scorer), run)


def said(policy: Policy) -> torch.Tensor:
    return policy.logprobs([user("a joke")] * 2, ["kind nice", "joke"], [one_hot("kind"), one_hot("brief")])


def test_beta_bins_golden() -> None:
    """methods.md H, r = .7."""
    assert beta_bins(0.7, 5).tolist() == pytest.approx([0.000000, 0.001365, 0.141727, 0.719103, 0.137805], abs=1e-6)
    assert beta_bins(0.0, 5)[0] > 0.999 and beta_bins(1.0, 5)[4] > 0.999
    assert beta_bins(0.3, 4).sum() == pytest.approx(1)


def test_odds_multiply_and_an_objective_without_a_score_says_nothing() -> None:
    """brief 0..8 over five levels: 5.6 is r = .7; asked for 6 (level 3) and 4 (level 2)."""
    kind, brief = made_up.OBJECTIVES
    both = Response("x", scores={"kind": 2.8, "brief": 5.6})
    asked = Targets({"kind": 3.0, "brief": 4.0})
    assert log_odds(both, asked, (kind, brief), 5, 24.0) == pytest.approx(math.log(0.719103) + math.log(0.141727), abs=1e-5)  # fmt: skip
    assert log_odds(both, Targets({"kind": 3.0}), (kind, brief), 5, 24.0) == pytest.approx(math.log(0.719103), abs=1e-5)
    assert log_odds(Response("x", scores={"brief": 5.6}), asked, (kind, brief), 5, 24.0) == pytest.approx(math.log(0.141727), abs=1e-5)  # fmt: skip
    assert log_odds(Response("x", scores={"kind": 0.0}), Targets({"kind": 4.0}), (kind,), 5, 24.0) == LEAST
    stars = Objective("stars", low=1, high=5)  # whole numbers of its own units: five bins, 3.8 is r = .7
    assert log_odds(Response("x", scores={"stars": 3.8}), Targets({"stars": 4.0}), (stars,), 0, 24.0) == pytest.approx(math.log(0.719103), abs=1e-5)  # fmt: skip


def test_weights_of_samples_are_those_of_the_posterior(tmp_path: Path) -> None:
    """log w = log P(a|x,y) + log P(y|x) − log Q'(y|a,x); what was cut off, or not scored in full, is left out."""
    policy = train(METHOD, tmp_path / "run", made_up.Rule())
    asked = Targets({"kind": 4.0, "brief": 4.0})
    texts = ["kind nice", "joke"]
    replies = [Response(text, scores={"kind": 2.0, "brief": 6.0}, condition=asked) for text in texts]
    cut, failed = dataclasses.replace(replies[0], finished=False), dataclasses.replace(replies[0], scores={"kind": 2.0})
    (group,) = METHOD.weighted(
        policy, [Record(user("a joke"), (*replies, cut, failed)), Record(user("x"), (replies[0], cut))]
    )
    assert group.responses == tuple(texts) and group.conditions == (asked, asked)
    own = policy.logprobs([user("a joke")] * 2, texts, [asked] * 2)
    base = policy.reference.logprobs([user("a joke")] * 2, texts)
    fit = log_odds(replies[0], asked, made_up.OBJECTIVES, 5, 24.0)
    for values, q, p in zip(group.values, own.tolist(), base.tolist(), strict=True):
        assert values == pytest.approx((fit + p - q, q), abs=1e-4)
    rho = log_ratios(policy, [Record(user("a joke"), tuple(replies))])[0]
    assert rho == pytest.approx((own - base).tolist(), abs=1e-4)
    # at θ = Q' all b' are equal, and L = KL(w' ‖ uniform), also where the head and the loss are one
    shares = torch.tensor([values[0] for values in group.values]).softmax(0)
    _, losses, _ = policy.losses(collate(policy, [group]), METHOD.loss)
    assert losses.tolist() == pytest.approx([float((shares * (2 * shares).log()).sum())] * 4, abs=1e-4)
    with pytest.raises(DataError, match="no prompt has two replies that ended and were scored"):
        METHOD.weighted(policy, [Record(user("a joke"), (cut, cut))])


def test_iterations_go_on_where_they_were_killed_and_the_policy_is_loaded(tmp_path: Path) -> None:
    judge, idle = made_up.Rule(), made_up.Rule()
    whole = train(METHOD, tmp_path / "run", judge)
    assert judge.told == 2 * 3 * 4  # iterations, prompts, replies
    for name in ("posterior-2", "posterior-1"):
        shutil.rmtree(tmp_path / "run" / "stages" / name)
    again = train(METHOD, tmp_path / "run", idle, resume=True)
    assert idle.told == 0
    assert torch.equal(said(whole), said(again))
    loaded = Policy.load(whole.save(tmp_path / "policy"))
    assert torch.equal(said(whole), said(loaded))


def test_the_attribute_model_rates_its_samples(tmp_path: Path) -> None:
    method = dataclasses.replace(METHOD, attribute_model="regression", attribute_optim=FEW, iterations=1)
    policy = train(method, tmp_path / "run", None)
    assert torch.isfinite(said(policy)).all()
    assert (tmp_path / "run" / "stages" / "posterior-1" / "finished.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"replies_per_prompt": 1},
        {"concentration": 0.0},
        {"unasked_share": -0.1},
        {"attribute_model": "none", "attribute_trunk": "all"},
    ],
)
def test_settings_that_cannot_act_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Steerlm2(**wrong)
    with pytest.raises(ConfigError, match="somebody must judge"):
        METHOD.train(tiny.policy(METHOD.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES), TrainingData(RECORDS, made_up.OBJECTIVES), None)  # type: ignore[arg-type]  # fmt: skip
