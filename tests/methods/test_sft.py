"""SFT: what is imitated, under which conditions; a prompt-steered policy from data to replies that obey."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_up
from pluralign import api
from pluralign.data.condition import Condition, Targets, Weights, parse
from pluralign.data.conversions import imitation
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.encoding import CONDITION_SEGMENT
from pluralign.errors import ConditionError, ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.methods.sft import Sft
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.optim import Optim

GOOD, COST = Objective("good", low=0, high=1), Objective("cost", low=0, high=100, direction="lower")
RECORD = Record(
    user("x"),
    (
        Response("a", scores={"good": 1.0, "cost": 90.0}),  # 1 and -.9
        Response("b", scores={"good": 0.9, "cost": 10.0}),  # .9 and -.1
        Response("c", scores={"good": 0.0, "cost": 0.0}),  # 0 and 0
        Response("d", scores={"good": 1.0, "cost": 0.0}, extra={"corrupted": True}),
        Response("", scores={"good": 1.0, "cost": 0.0}),
    ),
)
Found = list[tuple[str, str]]


def found(groups: Any) -> Found:
    """(what is asked, the reply to imitate)."""
    return [(str(group.conditions[0] or ""), group.responses[0]) for group in groups]


def test_the_best_replies_count_scores_in_units_of_their_ranges() -> None:
    objectives = (GOOD, COST)
    assert found(imitation.unasked(RECORD, objectives)) == [("", "b"), ("", "a"), ("", "c")]  # .8, .1, 0
    assert found(imitation.unasked(RECORD, objectives, 0.5)) == [("", "b"), ("", "a")]  # round(1.5) is 2
    assert found(imitation.unasked(RECORD, objectives, 0.1)) == [("", "b")]
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert found(imitation.best(RECORD, objectives, weights)) == [
        ("good=1", "a"), ("cost=1", "c"), ("good=0.5,cost=0.5", "b"),
    ]  # fmt: skip
    halves = found(imitation.best(RECORD, objectives, weights, 0.5))
    assert [reply for _, reply in halves] == ["a", "b", "c", "b", "b", "a"]


def test_recorded_conditions_are_kept() -> None:
    asked: tuple[Condition | None, ...] = (parse("good=1"), None, parse("good=1"))
    replies = [dataclasses.replace(reply, condition=c) for reply, c in zip(RECORD.responses, asked, strict=False)]
    record = Record(user("x"), tuple(replies))
    assert found(imitation.recorded(record, (GOOD, COST))) == [("good=1", "a"), ("good=1", "c"), ("", "b")]
    assert found(imitation.recorded(record, (GOOD, COST), 0.5)) == [("good=1", "a"), ("", "b")]


def test_weights_are_drawn_over_what_tells_replies_apart() -> None:
    replies = tuple(dataclasses.replace(r, scores={"good": r.scores["good"]}) for r in RECORD.responses[:3])
    assert imitation.comparable(Record(user("x"), replies), (GOOD, COST)).tolist() == [True, False]
    assert not imitation.comparable(Record(user("x"), replies[:1]), (GOOD, COST)).any()
    made = Sft(steering=PromptWeights(), weights_per_prompt=3)
    data = TrainingData([Record(user("x"), replies), Record(user("y"), replies[:1])], (GOOD, COST))
    assert found(made._groups(data.train, data, False, 0)) == [("good=1", "a")] * 3 + [("", "a")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"best_share": 0.0},
        {"best_share": 1.5},
        {"epochs": 0.0},
        {"epochs": float("nan")},
        {"weights_per_prompt": 0},
        {"conditions": "best"},
        {"conditions": "recorded"},
    ],
)
def test_settings_that_cannot_act_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Sft(**wrong)


KIND, BRIEF = "kind nice good kind nice", "joke"
OPTIM = Optim(steps=60, batch_size=8, lr=2e-2, warmup=2)


def asked_data(recorded: bool) -> list[Record]:
    """The same two replies after every prompt: one kind, one brief; scored, or drawn under weights."""
    pair = (("kind", KIND, {"kind": 4.0, "brief": 3.0}), ("brief", BRIEF, {"kind": 0.0, "brief": 8.0}))
    replies = tuple(
        Response(text, condition=Weights({name: 1.0})) if recorded else Response(text, scores=scores)
        for name, text, scores in pair
    )
    return [Record(user(prompt), replies) for prompt in ("tell me a joke", "a joke please", "joke now")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.words_model(tmp_path_factory.mktemp("base") / "model")


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "best"])
@pytest.mark.parametrize("steering", [PromptWeights, PluralSteering], ids=["prompt", "plural"])
def test_a_steerable_policy_learns_obeys_and_is_loaded(
    steering: Any, recorded: bool, base: Path, tmp_path: Path
) -> None:
    data = made_up.write(tmp_path / "data.jsonl", asked_data(recorded))
    made = Sft(steering=steering(), optim=OPTIM, epochs=None)
    policy = api.train(made, api.TrainOptions(data=data, model=str(base), out=tmp_path / "run"))
    again = api.load_policy(tmp_path / "run")
    for asked, expected in (("kind=1", KIND), ("brief=1", BRIEF)):
        replies = [api.sample(p, ["tell me a joke"], asked, temperature=0, max_new_tokens=8) for p in (policy, again)]
        assert replies[0] == replies[1] == [[expected]]
    assert api.settings_of_run(tmp_path / "run")[0] == made


def test_the_command_line_trains_it_and_the_condition_stands_outside_the_users_turn(base: Path, tmp_path: Path) -> None:
    from pluralign.cli import main

    data = made_up.write(tmp_path / "data.jsonl", asked_data(False))
    files = ["--data", data, "--model", base, "--out", tmp_path / "run", "--template", "dialogue"]
    numbers = ["--epochs", "None", "--optim.steps", "3", "--optim.batch-size", "4", "--weights-per-prompt", "2"]
    chosen = ["steering:prompt-weights", "--steering.shared-rank", "4"]
    assert main(["train", "sft", "--quiet", *map(str, files), *numbers, *chosen]) == 0
    policy = api.load_policy(tmp_path / "run")
    assert policy.steering == PromptWeights(shared_rank=4)
    prompt = policy.encoder.prompt(policy.steering.write(user("kind: 1.00"), parse("brief=1")))
    asked = [
        number for number, segment in zip(prompt.ids, prompt.segments, strict=True) if segment == CONDITION_SEGMENT
    ]
    opens, closes = policy.encoder.brackets or (0, 0)
    assert (asked[0], asked[-1]) == (opens, closes)
    assert prompt.ids.count(opens) == prompt.ids.count(closes) == 1
    assert prompt.ids[: len(asked)] == tuple(asked)  # it comes first; "Human: kind: 1.00" follows
    assert policy.encoder.decode(asked).replace(" ", "") == "kind:0.00,brief:1.00"


def test_data_that_cannot_teach_steering_is_refused(base: Path, tmp_path: Path) -> None:
    def fails(records: list[Record], error: type[Exception], said: str, **fields: Any) -> None:
        data = made_up.write(tmp_path / "data.jsonl", records)
        made = Sft(**{"steering": PromptWeights(), "optim": OPTIM, **fields})
        with pytest.raises(error, match=said):
            api.train(made, api.TrainOptions(data=data, model=str(base), out=tmp_path / "run"))
        assert not (tmp_path / "run").exists()

    single = [Record(user("joke"), (Response("good", scores={"kind": 1.0}),))]
    fails(single, DataError, "the data has neither")
    fails(asked_data(False), DataError, "the data has neither", conditions="recorded")
    fails(asked_data(False), ConfigError, "best_share 1", best_share=1.0)
    targets = [Record(user("joke"), (Response("good", condition=Targets({"kind": 1.0})),))]
    fails(targets, ConditionError, "reads weights in its prompt")
    unknown = [Record(user("joke"), (Response("good", condition=Weights({"wise": 1.0})),))]
    fails(unknown, ConditionError, "wise")
