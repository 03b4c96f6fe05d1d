"""CMPO: conversions and losses, what it chooses by itself, and the thesis' numbers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import made_up
import tiny
from pluralign import api
from pluralign.data.condition import one_hot
from pluralign.data.conversions.judgements import judgements
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.data.scaling import rescaled
from pluralign.errors import ConfigError, DataError
from pluralign.evaluation.preferences import judged
from pluralign.losses.dpo import CDPO
from pluralign.losses.regression import Regression
from pluralign.methods.cmpo import Cmpo
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.rounds import JoinedRounds
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

HEADS = PluralSteering(rank=4)
Train = Callable[..., Policy]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train cmpo on records, for `steps`; the run's folder is new each time."""

    def run(
        records: list[Record],
        steps: int = 3,
        objectives: Any = made_up.OBJECTIVES,
        validation: Any = (),
        **options: Any,
    ) -> Policy:
        optim = Optim(steps=steps, batch_size=8, lr=1e-2, head_lr=2e-2, warmup=1)
        method = Cmpo(**{"optim": optim, "steering": dataclasses.replace(HEADS), **options})
        policy = tiny.policy(method.new_steering(objectives), objectives=objectives)
        with Run(tmp_path / f"run{len(list(tmp_path.iterdir()))}") as opened:
            return method.train(policy, TrainingData(records, objectives, list(validation)), opened)

    return run


@pytest.mark.parametrize("conversion", ["trade_off", "power_set", "one_hot"])
@pytest.mark.parametrize("loss", [Regression(), CDPO()], ids=["regression", "cdpo"])
@pytest.mark.parametrize("feedback", ["scores", "comparisons"])
def test_every_conversion_loss_and_feedback_trains(train: Train, conversion: str, loss: Any, feedback: str) -> None:
    records = getattr(made_up, "scored" if feedback == "scores" else "compared")(12)
    policy = train(records, conversion=conversion, loss=loss, validation=records[:4])
    heads = policy.trainable()["heads"]
    assert any(float(parameter.detach().abs().max()) > 0 for parameter in heads)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (made_up.scored, "regression on scores, τ = 0.2"),
        (made_up.compared, "regression on rewards learnt from comparisons, κ = 4.4"),
    ],
)
def test_the_feedback_is_chosen_and_logged(
    train: Train, caplog: pytest.LogCaptureFixture, made: Any, said: str
) -> None:
    with caplog.at_level(logging.INFO, "pluralign"):
        train(made(12))
    assert said in caplog.text


def test_mixed_feedback_goes_through_a_reward_model(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    mixed = [*made_up.scored(10), *made_up.compared(10, seed=1)]
    with caplog.at_level(logging.INFO, "pluralign"):
        train(mixed)
    assert "rewards learnt from comparisons" in caplog.text
    with pytest.raises(DataError, match="use --feedback comparisons"):
        train(mixed, feedback="scores")
    with caplog.at_level(logging.INFO, "pluralign"):
        caplog.clear()
        train(made_up.scored(12), feedback="comparisons")
    assert "rewards learnt from comparisons" in caplog.text


def with_halo(records: list[Record]) -> list[Record]:
    """Both scores rise and fall together, but for a little."""

    def shared(response: Response, number: int) -> Response:
        kind = response.scores["kind"]
        return dataclasses.replace(response, scores={"kind": kind, "brief": 2 * kind - 0.5 * (number % 2) * (kind > 0)})

    return [
        dataclasses.replace(r, responses=tuple(shared(response, n + i) for i, response in enumerate(r.responses)))
        for n, r in enumerate(records)
    ]


def test_a_halo_triggers_ipsative_scores(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pluralign"):
        train(made_up.scored(12))
        assert "ipsative" not in caplog.text
        train(with_halo(made_up.scored(12)), ipsative="never")
        assert "ipsative" not in caplog.text
        train(with_halo(made_up.scored(12)))
    assert "on average, so they are made ipsative" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "pluralign"):
        train(made_up.scored(12), ipsative="always")
    assert "made ipsative" in caplog.text


def test_it_learns_to_obey(train: Train) -> None:
    policy = train(made_up.scored(40), steps=60)
    found = {each.objective: each for each in judged(policy, made_up.scored(40, seed=5), made_up.OBJECTIVES)}
    for name in ("kind", "brief"):
        pairs = found[name]
        right = (pairs.chosen - pairs.chosen_reference) > (pairs.rejected - pairs.rejected_reference)
        assert right.mean() > 0.75, name


def test_objectives_of_different_ranges_are_rescaled() -> None:
    wide = Objective("brief", low=-10, high=30, direction="lower")
    records = [
        Record(user("x"), (Response("a", scores={"kind": 1.0, "brief": 0.0}), Response("b", scores={"brief": None})))
    ]
    changed, objectives = rescaled(records, (Objective("kind", low=1, high=5), wide), 4.0)
    assert changed[0].responses[0].scores == {"kind": 0.0, "brief": 1.0}
    assert changed[0].responses[1].scores == {"brief": None}
    assert [(o.low, o.high, o.direction) for o in objectives] == [(0, 4, "higher"), (0, 4, "lower")]
    same, _ = rescaled(records, (Objective("kind", low=1, high=5),), 4.0)
    assert same is records


def test_weights_are_drawn_over_labelled_objectives_only(train: Train) -> None:
    kind_only = [
        dataclasses.replace(
            r, responses=tuple(dataclasses.replace(x, scores={"kind": x.scores["kind"]}) for x in r.responses)
        )
        for r in made_up.scored(12)
    ]
    source = Cmpo()._source(kind_only, made_up.OBJECTIVES, 0)
    asked = {name for step in range(5) for group in source.batch(step) for c in group.conditions for name in c.values}
    assert asked == {"kind"}
    mixed = Cmpo()._source([*kind_only, *made_up.scored(12)], made_up.OBJECTIVES, 0)
    assert len({str(c) for step in range(5) for group in mixed.batch(step) for c in group.conditions}) > 3
    policy = train(kind_only)
    untouched = policy.steering_state()
    brief = [tensor[1] for name, tensor in untouched.items() if "objectives" in name and name.endswith("up")]
    assert brief
    assert all(float(tensor.abs().max()) == 0 for tensor in brief)


def test_validation_of_trade_offs_asks_for_each_objective_and_for_all() -> None:
    groups = judgements(made_up.scored(2), made_up.OBJECTIVES, "trade_off")
    assert {str(condition) for group in groups for condition in group.conditions} == {
        "kind=1",
        "brief=1",
        "kind=0.5,brief=0.5",
    }


def test_the_power_set_keeps_one_pair_per_set() -> None:
    record = Record(
        user("x"),
        tuple(
            Response(t, scores={"kind": k, "brief": b})
            for t, k, b in (("a", 4.0, 8.0), ("b", 2.0, 4.0), ("c", 0.0, 0.0))
        ),
    )
    groups = judgements([record], made_up.OBJECTIVES, "power_set")
    assert [(g.responses, str(g.conditions[0])) for g in groups] == [
        (("a", "c"), "kind=1"),
        (("a", "c"), "brief=1"),
        (("a", "c"), "kind=0.5,brief=0.5"),
    ]
    alone = judgements([record], made_up.OBJECTIVES, "one_hot")
    assert {str(group.conditions[0]) for group in alone} == {str(one_hot("kind")), str(one_hot("brief"))}
    assert len(alone) == 6


@pytest.mark.parametrize("name", ["thesis", "thesis_scaled"])
def test_the_thesis_has_its_numbers(name: str) -> None:
    made = api.recipe("cmpo", name)
    assert isinstance(made, Cmpo)
    assert made.conversion == "power_set"
    assert made.loss == CDPO(beta=0.5, label_smoothing=0.1)
    assert made.optim.weight_decay == 1e-2
    steering = made.steering
    assert (steering.where, steering.rank, steering.base_share) == ("head", "full", "sum")
    assert (steering.shared_where, steering.shared_rank, steering.shared_alpha) == ("attention", 16, 32.0)
    if name == "thesis":
        assert (made.optim.lr, made.optim.head_lr or 5e-6, made.optim.schedule, made.optim.warmup) == (
            5e-6,
            5e-6,
            "constant",
            0,
        )
    else:
        assert made.optim.lr == 3e-4


def test_the_default_is_that_of_its_docstring() -> None:
    made = api.recipe("cmpo")
    assert isinstance(made, Cmpo)
    assert (made.conversion, made.weights_per_step, made.feedback, made.ipsative) == ("trade_off", 4, "auto", "auto")
    assert isinstance(made.loss, Regression)
    assert 0.2 <= made.loss.tau <= 0.25
    optim = made.optim
    assert (optim.batch_size, optim.head_lr, optim.betas, optim.schedule) == (32, 5e-3, (0.9, 0.98), "cosine")
    assert (made.steering.where, made.steering.rank, made.steering.shared_where) == ("head", 16, None)


@pytest.mark.parametrize(
    "options",
    [
        {"conversion": "power_set", "ipsative": "always"},
        {"loss": CDPO(), "feedback": "comparisons"},
        {"kappa": 0.0},
        {"kappa": float("nan")},
        {"rounds": JoinedRounds(num=1), "conversion": "one_hot"},
        {"rounds": JoinedRounds(num=1), "feedback": "comparisons"},
        {"rounds": JoinedRounds(num=1)},  # nobody judges
    ],
)
def test_settings_that_cannot_act_are_refused(train: Train, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        train(made_up.scored(4), **options)


def test_feedback_that_compares_nothing_is_refused(train: Train) -> None:
    single = [dataclasses.replace(record, responses=record.responses[:1]) for record in made_up.scored(4)]
    with pytest.raises(DataError, match="no two replies of a prompt"):
        train(single)


@pytest.mark.parametrize("form", ["ratio", "opposite", "complement"])
def test_the_thesis_variants_train(train: Train, form: str) -> None:
    policy = train(made_up.scored(8), conversion=form, loss=CDPO())
    assert any(bool(tensor.any()) for name, tensor in policy.steering_state().items() if "up" in name)


def test_plural_sft_lets_the_heads_differ(train: Train) -> None:
    with_start, without = (train(made_up.scored(8), plural_sft=steps) for steps in (5, 0))
    prompts, replies = [user("tell me a joke")], ["good joke"]
    found = [policy.logprobs(prompts, replies, [one_hot("kind")]) for policy in (with_start, without)]
    assert abs(float(found[0] - found[1])) > 1e-3


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"conversion": "opposite"}, "loss:cdpo"),
        ({"plural_sft": -1}, "from 0"),
    ],
)
def test_settings_of_the_variants_act_or_raise(train: Train, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        train(made_up.scored(4), **settings)
