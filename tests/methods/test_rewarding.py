"""Reward models: what they learn from feedback of each kind, their units, their folder, and that a run resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign import api
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.errors import ConfigError, DataError, FormatVersionError, ModelError
from pluralign.losses.reward import BradleyTerry
from pluralign.methods.contract import TrainingData
from pluralign.methods.reward import Reward
from pluralign.methods.steps.rewarding import PromptSource, RewardTraining, reward_groups, train_reward
from pluralign.reward_model import RewardModel
from pluralign.steering.none import NoSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OBJECTIVES = made_up.OBJECTIVES
OPTIM = Optim(lr=1e-2, head_lr=4e-2, steps=20, batch_size=8, warmup=3)
KINDS = ("regression", "classes", "bt")


def trained(folder: Path, records: list[Record], resume: bool = False, objectives=OBJECTIVES, **options) -> RewardModel:
    base = tiny.policy(NoSteering(), objectives=objectives)
    how = RewardTraining(**{"optim": OPTIM, **options})
    with Run(folder, resume=resume) as run:
        return train_reward(base, TrainingData(records, objectives), run.stage("reward"), how)


def table(records: list[Record]) -> np.ndarray:
    return np.array([[y.scores[o.name] for o in OBJECTIVES] for r in records for y in r.responses])


def correlations(reward: RewardModel) -> list[float]:
    unseen = made_up.scored(20, seed=7)
    told, exact = table(list(reward.score(unseen))), table(unseen)
    return [float(np.corrcoef(told[:, k], exact[:, k])[0, 1]) for k in range(len(OBJECTIVES))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trunk", ["attention", "full"])
def test_it_learns_what_people_said(kind: str, trunk: str, tmp_path: Path):
    records = made_up.compared(20) if kind == "bt" else made_up.scored(20)
    reward = trained(tmp_path / "run", records, kind=kind, trunk=trunk)
    assert min(correlations(reward)) > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_its_folder_gives_the_same_scores(kind: str, tmp_path: Path):
    records = made_up.compared(12) if kind == "bt" else made_up.scored(12)
    reward = trained(tmp_path / "run", records, kind=kind, optim=replace(OPTIM, steps=6))
    reward.save(tmp_path / "reward")
    again = RewardModel.load(tmp_path / "reward")
    unseen = made_up.scored(8, seed=3)
    np.testing.assert_allclose(table(list(again.score(unseen))), table(list(reward.score(unseen))), atol=1e-4)
    assert again.objectives == reward.objectives
    assert (again.kind, again.reading, again.lineage) == (reward.kind, reward.reading, reward.lineage)


def test_scores_are_in_the_units_of_the_objective(tmp_path: Path):
    """Before any training, regression says the mean; a bt model is standardised over its training replies."""
    records = made_up.scored(12)
    fresh = trained(tmp_path / "a", records, optim=replace(OPTIM, steps=1, lr=0.0, head_lr=0.0))
    np.testing.assert_allclose(table(list(fresh.score(records[:1])))[0], table(records).mean(0), rtol=1e-5)
    compared = made_up.compared(12)
    bt = trained(tmp_path / "b", compared, kind="bt")
    scores = table(list(bt.score(compared)))
    np.testing.assert_allclose(scores.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(scores.std(0), 1, atol=0.02)
    assert [(o.low, o.high, o.direction) for o in bt.objectives] == [(-5, 5, "higher")] * 2


@pytest.mark.slow
def test_bradley_terry_finds_the_scores_behind_comparisons(tmp_path: Path):
    """Verdicts drawn from σ(s_i − s_j), known s: the fitted differences are those of s, without their constant."""
    words = ["kind", "nice", "good", "funny", "long"]
    exact = np.array([1.5, 0.75, 0.0, -0.5, -1.75])
    rng = np.random.default_rng(0)

    def verdict(i: int, j: int) -> Comparison:
        first_wins = rng.random() < 1 / (1 + np.exp(exact[j] - exact[i]))
        return Comparison(i, j, "first" if first_wins else "second", "kind")

    said = [tuple(verdict(i, j) for i in range(5) for j in range(i + 1, 5)) for _ in range(100)]
    records = [Record(user("tell me a joke"), tuple(map(Response, words)), each) for each in said]
    optim = Optim(lr=0.0, head_lr=0.5, steps=25, batch_size=100, weight_decay=0.0, warmup=0)
    one = (Objective("kind"),)
    reward = trained(tmp_path / "run", records, objectives=one, kind="bt", trunk="frozen", optim=optim)
    raw = reward.raw([(user("tell me a joke"), word, True) for word in words])[:, 0].double().numpy()
    np.testing.assert_allclose(raw - raw.mean(), exact - exact.mean(), atol=0.4)


def test_missing_labels_teach_nothing(tmp_path: Path):
    """An objective that a reply was not scored on is not asked for; what the others teach is as it was."""
    records = made_up.scored(8)
    blank = [
        replace(r, responses=tuple(replace(y, scores={"kind": y.scores["kind"]}) for y in r.responses))
        for r in records[:4]
    ]
    base = tiny.policy(NoSteering(), objectives=OBJECTIVES)
    with Run(tmp_path / "run") as run:
        how = RewardTraining(optim=replace(OPTIM, steps=1), trunk="frozen")
        reward = train_reward(base, TrainingData(records, OBJECTIVES), run.stage("reward"), how)
    groups = reward_groups([*blank, *records[4:]], OBJECTIVES, reward)
    asked = [sorted(name for c in group.conditions for name in c.values) for group in groups]
    assert asked == [["kind"]] * 4 + [["brief", "kind"]] * 4
    (mean, _), (deviation, _) = reward.shift, reward.scale
    wanted = [(y.scores["kind"] - mean) / deviation for y in records[0].responses]
    np.testing.assert_allclose([row[0] for row in groups[0].values], wanted, rtol=1e-6)


def test_a_score_between_two_classes_belongs_to_both(tmp_path: Path):
    record = Record(user("joke"), (Response("good", scores={"kind": 2.25, "brief": 8.0}),))
    reward = trained(tmp_path / "run", made_up.scored(4), kind="classes", optim=replace(OPTIM, steps=1))
    (group,) = reward_groups([record], OBJECTIVES, reward)
    found = {str(condition): value for condition, value in zip(group.conditions, group.values[0], strict=True)}
    assert found == pytest.approx({"kind:2": 0.75, "kind:3": 0.25, "brief:8": 1.0})


def test_a_step_reads_all_replies_of_its_prompts(tmp_path: Path):
    """Of every kind: two records of three replies each, whatever groups they make; every record once in an epoch."""
    for kind in KINDS:
        records = made_up.compared(6) if kind == "bt" else made_up.scored(6)
        reward = trained(tmp_path / kind, records, kind=kind, optim=replace(OPTIM, steps=1))
        source = PromptSource(reward_groups(records, OBJECTIVES, reward), 2, seed=1)
        assert source.steps(1.0) == 3
        found = [sorted({group.id for group in source.batch(step)}) for step in range(3)]
        assert sorted(name for step in found for name in step) == ["0", "1", "2", "3", "4", "5"]
        assert all(sum(len(group.responses) for group in source.batch(step)) == 6 for step in range(3))


def test_how_a_distribution_is_read(tmp_path: Path):
    """Untrained, all five classes are equally likely: the expectation is the middle, the likeliest the first."""
    record = made_up.scored(1)
    how = replace(OPTIM, steps=1, lr=0.0, head_lr=0.0)
    middle = trained(tmp_path / "a", made_up.scored(4), kind="classes", optim=how)
    assert table(list(middle.score(record)))[0].tolist() == pytest.approx([2.0, 4.0])
    first = trained(tmp_path / "b", made_up.scored(4), kind="classes", optim=how, reading="argmax")
    assert table(list(first.score(record)))[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("options", [{}, {"kind": "classes"}, {"kind": "classes", "reading": "argmax"}], ids=str)
def test_a_reply_that_does_not_fit_gets_no_score(options: dict[str, str], tmp_path: Path):
    reward = trained(tmp_path / "run", made_up.scored(4), optim=replace(OPTIM, steps=1), **options)
    reward.encoder.max_length = 8
    long = Response(" ".join(["good"] * 30), scores={"kind": 1.0, "other": 2.0})
    cut = Response("", finished=False)
    (scored,) = reward.score([Record(user("joke"), (Response("good joke"), long, cut))])
    assert [sorted(y.scores) for y in scored.responses] == [["brief", "kind"], ["other"], []]


def test_scoring_does_not_depend_on_who_is_beside(tmp_path: Path):
    reward = trained(tmp_path / "run", made_up.scored(8), optim=replace(OPTIM, steps=10))
    records = made_up.scored(30, seed=2)  # more than one chunk
    together = table(list(reward.score(records)))
    alone = np.concatenate([table(list(reward.score([record]))) for record in records])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    stream = reward.score(iter(records))
    assert next(stream).id == "0"


def test_the_policy_stays_as_it_is(tmp_path: Path):
    policy = tiny.policy(PromptWeights(), shaken=0.1)
    before = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    with Run(tmp_path / "run") as run:
        how = RewardTraining(optim=replace(OPTIM, steps=2), trunk="full")
        data = TrainingData(made_up.scored(4), OBJECTIVES)
        train_reward(policy, data, run.stage("reward"), how)
    after = policy.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("trunk", ["attention", "full"])
def test_recomputed_activations_give_the_same_model(trunk: str, tmp_path: Path):
    records, unseen = made_up.scored(8), made_up.scored(4, seed=1)
    scores = [
        table(list(trained(tmp_path / f"{again}", records, trunk=trunk, optim=how).score(unseen)))
        for again in (False, True)
        for how in [replace(OPTIM, steps=3, gradient_checkpointing=again)]
    ]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)


@pytest.mark.parametrize("kind", ["regression", "bt"])
def test_a_finished_stage_is_only_loaded(kind: str, tmp_path: Path):
    records = made_up.compared(8) if kind == "bt" else made_up.scored(8)
    how = replace(OPTIM, steps=5)
    first = trained(tmp_path / "run", records, kind=kind, optim=how)
    again = trained(tmp_path / "run", records, resume=True, kind=kind, optim=how)
    unseen = made_up.scored(4, seed=1)
    np.testing.assert_array_equal(table(list(first.score(unseen))), table(list(again.score(unseen))))


# -- the method and its files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_of_reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("reward")
    data = made_up.write(home / "data.jsonl", made_up.scored(12))
    model = made_up.words_model(home / "model")
    options = api.TrainOptions(data=data, model=str(model), out=home / "run", validation=data)
    trained = api.train(Reward(optim=replace(OPTIM, steps=10)), options)
    assert isinstance(trained, RewardModel)
    return home / "run"


def test_the_method_leaves_a_scorer(run_of_reward: Path, tmp_path: Path):
    found = RewardModel.load(run_of_reward / "reward")
    assert found.lineage["method"] == "reward"
    assert found.lineage["data"][0]["records"] == 12
    assert found.encoder.max_length == 64
    with pytest.raises(ModelError, match="no policy"):
        api.load_policy(run_of_reward)


@pytest.mark.parametrize("trunk", ["frozen", "all"])
def test_other_trunks(trunk: str, tmp_path: Path):
    data = made_up.write(tmp_path / "data.jsonl", made_up.scored(6))
    model = made_up.words_model(tmp_path / "model")
    options = api.TrainOptions(data=data, model=str(model), out=tmp_path / "run")
    made = api.train(Reward(optim=replace(OPTIM, steps=2), trunk=trunk), options)
    assert isinstance(made, RewardModel)
    assert made.frozen_trunk == (trunk == "frozen")


def test_a_damaged_folder_says_what_is_wrong(run_of_reward: Path, tmp_path: Path):
    found = RewardModel.load(run_of_reward / "reward")
    folder = found.save(tmp_path / "reward")
    about = json.loads((folder / "reward.json").read_text())
    for change, error, message in (
        ({"format_version": 99}, FormatVersionError, "newer"),
        ({"kind": "other"}, DataError, "kind is one of"),
        ({"shift": 3}, DataError, "damaged"),
        ({"objectives": about["objectives"][:1]}, DataError, "damaged"),
    ):
        (folder / "reward.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(error, match=message):
            RewardModel.load(folder)
    (folder / "reward.json").write_text(json.dumps(about))
    (folder / "head.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="damaged"):
        RewardModel.load(folder)
    with pytest.raises(ModelError, match="no reward model"):
        RewardModel.load(tmp_path)


def test_what_is_refused(tmp_path: Path):
    for options, message in (
        ({"epochs": 0.0}, "epochs"),
        ({"loss": BradleyTerry(centring=0.01)}, "kind=bt only"),
        ({"reading": "argmax"}, "kind=classes only"),
    ):
        with pytest.raises(ConfigError, match=message):
            RewardTraining(**options)
    with pytest.raises(DataError, match="no reply is scored on kind, brief"):
        trained(tmp_path / "a", made_up.compared(4))
    with pytest.raises(DataError, match="told apart on kind, brief"):
        trained(tmp_path / "b", made_up.scored(4, replies=1), kind="bt")
    with pytest.raises(ModelError, match="not steered"):
        RewardModel(tiny.policy(PromptWeights()), OBJECTIVES)
