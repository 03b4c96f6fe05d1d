"""Best-of-n and Darwin: nothing is trained, the scorer stays with the policy, and more candidates score higher."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_up
from pluralign import api, lab
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError, ModelError
from pluralign.evaluation.lab_run import LabEvaluation
from pluralign.methods.bon import Bon
from pluralign.methods.contract import TrainingData
from pluralign.methods.darwin import Darwin
from pluralign.methods.reward import Reward
from pluralign.methods.steps.searching import Searching
from pluralign.policy import Policy
from pluralign.recipes.file_job import TrainOptions, train
from pluralign.recipes.registry import recipe
from pluralign.recipes.scorer import open_scorer, scorer_name
from pluralign.sampling.local import Decoding, complete
from pluralign.steering.none import NoSteering
from pluralign.steering.search import SearchSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

SHORT = Decoding(max_new_tokens=48)
ASKED = Weights({"funny": 0.5, "warm": 0.5})


def trained(method: Searching, folder: Path, prompts: int = 6, resume: bool = False) -> Policy:
    policy = Policy.from_base(lab.base_path("nano"), method.new_steering(lab.objectives), lab.objectives)
    data = TrainingData(
        list(lab.prompts("train"))[:prompts], lab.objectives, scorer=lab.ExactScorer(), scorer_name="lab"
    )
    with Run(folder, resume=resume) as run:
        return method.train(policy, data, run)


def mean_scores(policy: Policy, condition: Weights | None) -> np.ndarray:
    records = list(lab.prompts("validation"))[:8]
    drawn = complete(policy, records, [condition] * len(records), 3, 0, SHORT)
    replied = [
        Record(record.messages, tuple(Response(c.text, finished=c.finished) for c in each))
        for record, each in zip(records, drawn, strict=True)
    ]
    return lab.score_vectors(lab.ExactScorer().score(replied)).mean(0)


def test_the_asked_score_rises_with_the_candidates(tmp_path: Path) -> None:
    found = []
    for num in (2, 8):
        policy = trained(Bon(scale="range", steering=SearchSteering(num=num)), tmp_path / str(num))
        found.append(mean_scores(policy, ASKED)[[2, 3]].mean())
    assert found[1] > found[0] > mean_scores(policy, None)[[2, 3]].mean()


def test_spreads_are_measured_once_and_kept(tmp_path: Path) -> None:
    method = Bon(num_prompts=4, replies_per_prompt=3, decoding=SHORT)
    policy = trained(method, tmp_path / "run")
    assert isinstance(policy.steering, SearchSteering)
    pool = tmp_path / "run" / "stages" / "spread" / "scored.jsonl"
    rows = [json.loads(line) for line in pool.read_text().splitlines()][1:]
    scores = np.array([[reply["scores"][o.name] for o in lab.objectives] for row in rows for reply in row["responses"]])
    assert scores.shape == (12, 6)
    expected = [column.std() if column.std() > 0 else 4.0 for column in scores.T]
    assert policy.steering.spreads == pytest.approx(expected)
    before = pool.stat().st_mtime_ns
    again = trained(method, tmp_path / "run", resume=True)
    assert again.steering == policy.steering and pool.stat().st_mtime_ns == before


@pytest.mark.parametrize("method", ["bon", "darwin"])
def test_a_run_from_files_opens_its_scorer_again(tmp_path: Path, method: str) -> None:
    """Trained, saved, loaded from another place and asked: by name, without the scorer's help from the caller."""
    from pluralign.data import jsonl

    jsonl.write(tmp_path / "prompts.jsonl", list(lab.prompts("train"))[:3], lab.objectives)
    options = TrainOptions(data=tmp_path / "prompts.jsonl", model="nano", out=tmp_path / "run", scorer="lab")
    train(recipe(method, "lab"), options)
    policy = api.load_policy(tmp_path / "run")
    assert isinstance(policy.steering, SearchSteering) and policy.steering.scorer == "lab"
    text = next(iter(lab.prompts("test"))).messages[0].content
    replies = api.sample(policy, [text], one_hot("funny"), num=2, max_new_tokens=48)
    assert [len(each) for each in replies] == [2] and all(replies[0])
    with pytest.raises(ModelError, match="choose_by"):
        api.sample(Policy.load(tmp_path / "run" / "policy"), [text], one_hot("funny"))


def test_a_reward_model_judges_the_candidates(tmp_path: Path) -> None:
    """Trained from a file, named by a relative path, found again when the policy is asked from elsewhere."""
    made_up.words_model(tmp_path / "model")
    data = made_up.write(tmp_path / "rated.jsonl", made_up.scored(10))
    options = {"data": data, "model": str(tmp_path / "model")}
    reward = Reward(trunk="frozen", optim=Optim(steps=20, batch_size=5, head_lr=1e-2, warmup=1))
    train(reward, TrainOptions(out=tmp_path / "reward", **options))
    method = Bon(
        num_prompts=1, replies_per_prompt=8, decoding=Decoding(max_new_tokens=8), steering=SearchSteering(num=8)
    )
    train(method, TrainOptions(out=tmp_path / "bon", scorer=str(tmp_path / "reward"), **options))
    policy, judge = api.load_policy(tmp_path / "bon"), open_scorer(str(tmp_path / "reward"))
    drawn = {
        condition: api.sample(policy, ["tell me a joke"], condition, num=6, max_new_tokens=8)[0]
        for condition in (None, "kind=1")
    }
    kind = {condition: np.mean([judged(judge, text) for text in texts if text]) for condition, texts in drawn.items()}
    assert kind["kind=1"] > kind[None]


def judged(judge: Any, text: str) -> float:
    (record,) = judge.score([Record(user("tell me a joke"), (Response(text),))])
    return record.responses[0].scores["kind"]


def test_a_scorer_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reward").mkdir()
    (tmp_path / "judge.json").touch()
    given = [None, "lab", "my:Scorer", "reward", "judge:judge.json", "judge:model=x"]
    kept = ["", "lab", "my:Scorer", f"{tmp_path}/reward", f"judge:{tmp_path}/judge.json", "judge:model=x"]
    assert [scorer_name(name) for name in given] == kept


def test_rewriting_runs_to_the_end(tmp_path: Path) -> None:
    """The lab's model follows no instructions: that its rewritten ones are answered is all that is claimed."""
    policy = trained(
        Darwin(scale="range", steering=SearchSteering(num=4, every=8, keep=2, mutations=1)), tmp_path / "run"
    )
    record = next(iter(lab.prompts("test")))
    done = complete(policy, [record], [ASKED], 1, 0, Decoding(max_new_tokens=24))
    assert done[0][0].text


def test_a_report_says_that_its_distance_is_not_known(tmp_path: Path) -> None:
    policy = trained(Bon(scale="range", steering=SearchSteering(num=3)), tmp_path / "run")
    weights = tuple(map(tuple, np.eye(6).tolist()))
    how = LabEvaluation(split="validation", one_hot_each=1, sweeps=False, resamples=20, weights=weights)
    card = how.report(policy, "best of 3")
    row = card.card.policy
    assert (row.values["kl_mean"], row.values["efficiency"], row.values["regret"]) == (None, None, None)
    assert "not known" in row.reasons["kl_mean"]
    assert (row.values["gain_mean"] or 0.0) > 0.2
    assert json.dumps(card.to_json(), allow_nan=False)


def _given(**options: Any) -> Policy:
    return Policy.from_base(lab.base_path("nano"), SearchSteering(**options), lab.objectives)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    policy = Policy.from_base(lab.base_path("nano"), Bon().new_steering(lab.objectives), lab.objectives)
    plain = Policy.from_base(lab.base_path("nano"), NoSteering(), lab.objectives)
    judged = TrainingData([], lab.objectives, scorer=lab.ExactScorer())
    with Run(tmp_path / "run") as run:
        with pytest.raises(ConfigError, match="give --scorer"):
            Bon().train(policy, TrainingData(list(lab.prompts("train"))[:2], lab.objectives), run)
        with pytest.raises(ConfigError, match="new_steering"):
            Bon().train(plain, judged, run)
        with pytest.raises(DataError, match="no prompts to measure"):
            Bon().train(policy, judged, run)
        with pytest.raises(ConfigError, match="takes no spreads"):
            Bon(scale="range").train(_given(spreads=(1.0,) * 6), judged, run)
        with pytest.raises(ConfigError, match="leave one out"):
            Bon().train(_given(scorer="judge:me"), dataclasses.replace(judged, scorer_name="lab"), run)
        assert Bon().train(_given(spreads=(2.0,) * 6), judged, run).steering.config()["spreads"] == (2.0,) * 6
        with pytest.raises(ConfigError, match="at least 1 prompt"):
            Darwin(num_prompts=0).train(policy, judged, run)
