"""CMPO in rounds: the policy's own replies join the data, it learns more from them, and a broken run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import made_up
from pluralign.data import jsonl
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError
from pluralign.losses.regression import Regression
from pluralign.methods.cmpo import Cmpo
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.rounds import JoinedRounds
from pluralign.policy import Policy
from pluralign.recipes import cmpo as recipes
from pluralign.sampling.local import Decoding, sample
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OBJECTIVES = made_up.OBJECTIVES
OPTIM = Optim(steps=4, batch_size=8, head_lr=1e-2, warmup=1)
DRAWN = JoinedRounds(num=2, prompts=3, replies=4, optim=OPTIM, decoding=Decoding(max_new_tokens=8))
SMALL = Cmpo(optim=OPTIM, rounds=DRAWN, steering=PluralSteering(rank=4))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.words_model(tmp_path_factory.mktemp("base") / "model")


def train(method: Cmpo, base: Path, folder: Path, records: list[Record], scorer: object, **how: bool) -> Policy:
    policy = Policy.from_base(base, method.new_steering(OBJECTIVES), OBJECTIVES)
    data = TrainingData(records, OBJECTIVES, scorer=scorer)  # type: ignore[arg-type]
    with Run(folder, **how) as run:  # type: ignore[arg-type]
        return method.train(policy, data, run)


def test_a_broken_run_goes_on_and_draws_and_asks_nothing_twice(base: Path, tmp_path: Path) -> None:
    records = made_up.scored(8, 4)
    whole = train(SMALL, base, tmp_path / "whole", records, made_up.Breaking())
    broken = made_up.Breaking(fails=17)  # in the second round: each has 3 prompts of 4 replies
    with pytest.raises(RuntimeError, match="the judge is gone"):
        train(SMALL, base, tmp_path / "run", records, broken)
    stages = tmp_path / "run" / "stages"
    before = (stages / "pool-2" / "sampled.jsonl").read_bytes()
    second = made_up.Breaking()
    policy = train(SMALL, base, tmp_path / "run", records, second, resume=True)
    assert broken.asked + second.asked == 24
    assert (stages / "pool-2" / "sampled.jsonl").read_bytes() == before
    for name, tensor in whole.trainable_state().items():
        assert torch.equal(tensor, policy.trainable_state()[name])


def test_every_reply_is_asked_for_a_trade_off_of_its_own(base: Path, tmp_path: Path) -> None:
    train(SMALL, base, tmp_path / "run", made_up.scored(8, 4), made_up.Rule())
    drawn = [
        reply
        for number in (1, 2)
        for record in jsonl.read(tmp_path / "run" / "stages" / f"pool-{number}" / "scored.jsonl")
        for reply in record.responses
    ]
    asked = [reply.condition for reply in drawn]
    assert len(drawn) == 24 and all(isinstance(each, Weights) for each in asked)
    assert len(set(map(str, asked))) > 8
    assert all(set(reply.scores) == {"kind", "brief"} for reply in drawn)


def test_its_own_replies_teach_what_the_data_does_not_show(base: Path, tmp_path: Path) -> None:
    """The data hardly differ in length, so only the policy's own replies can teach how much shorter is briefer."""
    rng = np.random.default_rng(0)
    words = [Response(" ".join(rng.choice(made_up.SPOKEN, size=6 + i % 2).tolist())) for i in range(40)]
    bare = [Record(user("tell me a joke"), tuple(words[i : i + 4]), id=str(i)) for i in range(0, 40, 4)]
    records = list(made_up.Rule().score(bare))
    optim = Optim(steps=40, batch_size=16, head_lr=1e-2, warmup=2)
    own = replace(DRAWN, prompts=16, optim=replace(optim, steps=30))
    method = replace(SMALL, loss=Regression(tau=0.25), optim=optim, rounds=own)

    def brief(rounds: int) -> float:
        chosen = replace(method, rounds=replace(own, num=rounds) if rounds else JoinedRounds())
        policy = train(chosen, base, tmp_path / f"run{rounds}", records, made_up.Rule())
        asked = [Record(user("tell me a joke"))]
        replies = sample(policy, asked, one_hot("brief"), 80, 1, Decoding(max_new_tokens=12))
        judged = next(iter(made_up.Rule().score(replies)))
        return float(np.mean([reply.scores["brief"] for reply in judged.responses]))  # type: ignore[misc]

    assert brief(2) > brief(0) + 0.5


def test_the_online_recipe_differs_from_the_default_in_the_rounds_and_what_they_need() -> None:
    online, default = recipes.online(), recipes.default()
    assert online.rounds.num > 0 == default.rounds.num
    assert (online.conversion, online.feedback) == (default.conversion, default.feedback)


@pytest.mark.parametrize(
    "idle", [{"prompts": 5}, {"drop": 0.5}, {"decoding": Decoding(max_new_tokens=8)}, {"optim": OPTIM}]
)
def test_settings_of_rounds_that_there_are_none_of_are_refused(idle: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"without rounds {next(iter(idle))} cannot act"):
        JoinedRounds(**idle)
    assert JoinedRounds(num=1, **idle).num == 1


def test_a_trial_may_shorten_rounds_that_there_are_none_of() -> None:
    assert JoinedRounds(optim=replace(JoinedRounds().optim, steps=2)).num == 0
