"""What methods share before their own steps: scores in common units (preparation.py), heads that differ (plural_start.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

import made_up
import tiny
from pluralign.data.condition import one_hot
from pluralign.data.record import user
from pluralign.errors import ConfigError
from pluralign.losses.regression import Regression
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.plural_start import plural_start
from pluralign.methods.steps.preparation import Preparation
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run


def data(num: int = 8) -> TrainingData:
    return TrainingData(made_up.scored(num), made_up.OBJECTIVES, made_up.scored(3, seed=1))


def test_scores_are_brought_to_one_width_and_order_is_kept() -> None:
    """kind spans 0..4 and brief 0..8: with span 4, brief is halved."""
    policy = tiny.policy(PluralSteering(rank=4), objectives=made_up.OBJECTIVES)
    given = data()
    loss, records, objectives = Preparation(ipsative="never").regression(Regression(tau=0.3), policy, given, 0)
    assert loss.tau == 0.3
    assert [(each.low, each.high) for each in objectives] == [(0, 4), (0, 4)]
    both = [*given.train, *given.validation]
    assert [record.messages for record in records] == [record.messages for record in both]
    for record, before in zip(records, both, strict=True):
        for reply, old in zip(record.responses, before.responses, strict=True):
            assert reply.scores == {"kind": old.scores["kind"], "brief": old.scores["brief"] / 2}  # type: ignore[operator]


def test_signs_leave_scores_alone_where_nothing_correlates() -> None:
    records, objectives = Preparation(ipsative="never").signs(data())
    assert list(records) == [*data().train, *data().validation]
    assert objectives == made_up.OBJECTIVES


@pytest.mark.parametrize("name", ["kappa", "span"])
def test_units_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        Preparation(**{name: 0.0})


def test_a_plural_start_moves_the_heads_and_nothing_else(tmp_path: Path) -> None:
    policy = tiny.policy(PluralSteering(rank=4), objectives=made_up.OBJECTIVES)
    prompts, replies = [user("tell me a joke")] * 2, ["good joke"] * 2
    asked = [one_hot("kind"), None]
    before = policy.logprobs(prompts, replies, asked)
    optim = Optim(steps=1, batch_size=8, lr=1e-2, head_lr=2e-2, warmup=1)
    with Run(tmp_path / "run") as run:
        plural_start(policy, data(), run, optim, 0)
        assert not (tmp_path / "run" / "stages").exists()
        plural_start(policy, data(), run, optim, 5)
    after = policy.logprobs(prompts, replies, asked)
    assert abs(float(after[0] - before[0])) > 1e-3
    assert float(after[1]) == pytest.approx(float(before[1]), abs=1e-5)
