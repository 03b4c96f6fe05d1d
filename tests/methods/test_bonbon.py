"""BoNBoN: the best and the worst under each weight, drawn once, trained to the end and asked."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_up
import tiny
from pluralign import lab
from pluralign.data.condition import Weights, one_hot, vector
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.losses.bonbon import BonBon
from pluralign.methods.bonbon import Bonbon
from pluralign.methods.contract import TrainingData
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=25, batch_size=8, lr=1e-2, head_lr=2e-2, warmup=1)
FROM_DATA = Bonbon(loss=BonBon(num=3), samples="data", optim=OPTIM)


def on_data(method: Bonbon, folder: Path, records: list[Record], resume: bool = False) -> Policy:
    policy = tiny.policy(method.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(records, made_up.OBJECTIVES), run)


def in_lab(method: Bonbon, folder: Path, scorer: Any = None, resume: bool = False) -> Policy:
    policy = Policy.from_base(lab.base_path("nano"), method.new_steering(lab.objectives), lab.objectives)
    data = TrainingData(list(lab.prompts("train"))[:4], lab.objectives, scorer=scorer or lab.ExactScorer())
    with Run(folder, resume=resume) as run:
        return method.train(policy, data, run)


def test_best_and_worst_of_each_weight() -> None:
    """Under the drawn weights, the first of a pair is the largest of λ·s/unit, the second the smallest; ties are left out."""
    records = made_up.scored(20, replies=4)
    method = Bonbon(loss=BonBon(num=4), samples="data", weights_per_prompt=5)
    groups = method._groups(records, made_up.OBJECTIVES, np.array([4.0, 8.0]), 0)
    assert 20 < len(groups) <= 100
    of_prompt = {record.id: record.responses for record in records}
    for group in groups:
        (condition,) = group.conditions
        assert isinstance(condition, Weights)
        weights = vector(condition, made_up.OBJECTIVES) / np.array([4.0, 8.0])
        value = {r.text: weights @ [r.scores["kind"], r.scores["brief"]] for r in of_prompt[group.id]}
        assert value[group.responses[0]] == pytest.approx(max(value.values()))
        assert value[group.responses[1]] == pytest.approx(min(value.values()))
        assert value[group.responses[0]] > value[group.responses[1]]


def test_only_n_replies_that_the_reference_could_have_drawn_count() -> None:
    record = made_up.scored(1, replies=4)[0]
    spoilt = dataclasses.replace(record.responses[0], extra={"corrupted": True})
    bad = dataclasses.replace(record, responses=(spoilt, *record.responses[1:]))
    unit = np.ones(2)
    assert Bonbon(loss=BonBon(num=4))._groups([record], made_up.OBJECTIVES, unit, 0)
    assert not Bonbon(loss=BonBon(num=4))._groups([bad], made_up.OBJECTIVES, unit, 0)
    groups = Bonbon(loss=BonBon(num=3))._groups([bad], made_up.OBJECTIVES, unit, 0)
    assert groups and all(spoilt.text not in group.responses for group in groups)


def test_a_trained_policy_prefers_what_it_is_asked_for(tmp_path: Path) -> None:
    policy = on_data(FROM_DATA, tmp_path / "run", made_up.scored(20))
    kind, long = "kind nice good", "long funny joke please short very"
    found = {
        name: policy.logprobs([user("tell me a joke")] * 2, [kind, long], [one_hot(name)] * 2)
        - policy.logprobs([user("tell me a joke")] * 2, [kind, long])
        for name in ("kind", "brief")
    }
    assert all(ratios[0] - ratios[1] > 1 for ratios in found.values())
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert again.steering == policy.steering
    assert again.logprobs([user("a joke")], [kind], [one_hot("kind")]) == policy.logprobs(
        [user("a joke")], [kind], [one_hot("kind")]
    )


class Failing(lab.ExactScorer):
    """Judges two prompts, then breaks down."""

    def score(self, records: Any) -> Any:
        for number, record in enumerate(super().score(records)):
            if number == 2:
                raise ConnectionError("gone")
            yield record


def test_what_was_drawn_and_judged_is_never_drawn_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    method = Bonbon(
        loss=BonBon(num=3), scale="range", num_prompts=8, decoding=Decoding(max_new_tokens=24), optim=Optim(steps=3)
    )
    with pytest.raises(ConnectionError):
        in_lab(method, tmp_path / "run", Failing())
    sampled = tmp_path / "run" / "stages" / "samples" / "sampled.jsonl"
    before, text = sampled.stat().st_mtime_ns, sampled.read_text()
    assert text.count('"messages"') == 8 and len((sampled.parent / "scored.part").read_text().splitlines()) == 2
    policy = in_lab(method, tmp_path / "run", resume=True)
    assert sampled.stat().st_mtime_ns == before
    with caplog.at_level(logging.INFO, "pluralign"):
        again = in_lab(method, tmp_path / "run", Failing(), resume=True)
    assert "finished already" in caplog.text
    asked = [record.messages for record in lab.prompts("test")][:1]
    for condition in (one_hot("funny"), None):
        assert again.logprobs(asked, ["please check it ."], [condition]) == policy.logprobs(
            asked, ["please check it ."], [condition]
        )


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    flat = [Record(user("a joke"), (Response("nice"), Response("good")), id="1")]
    with pytest.raises(DataError, match="3 judged replies"):
        on_data(FROM_DATA, tmp_path / "run", flat)
    for method, says in (
        (dataclasses.replace(FROM_DATA, weights_per_prompt=0), "at least 1"),
        (dataclasses.replace(FROM_DATA, num_prompts=3), "nothing is drawn"),
        (Bonbon(), "give --scorer"),
    ):
        with pytest.raises(ConfigError, match=says):
            on_data(method, tmp_path / says[:7], flat)
