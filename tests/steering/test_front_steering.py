"""Front: one model per weight in one policy; a weight without a model is refused, or answered by the nearest."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from pluralign.data.condition import Targets, Weights, one_hot
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError
from pluralign.export.adapter import export_lora
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request
from pluralign.steering.front import FrontSteering
from pluralign.steering.plural import PluralSteering

THIRD = 1 / 3
POINTS = ((1.0, 0.0, 0.0), (THIRD, THIRD, THIRD), (0.0, 0.5, 0.5), (0.0, 0.0, 1.0))
ASKED = [
    one_hot("kind"),
    Weights({"kind": 0.33, "brief": 0.33, "funny": 0.34}),
    Weights({"brief": 0.5, "funny": 0.5}),
    one_hot("funny"),
]
PROMPTS, REPLIES = [user("tell me a joke")] * 4, ["good and funny", "nice", "very short", "long joke now"]


def front(**options: Any) -> Policy:
    return tiny.policy(FrontSteering(**{"points": POINTS, "where": "attention", "rank": 2, **options}), shaken=0.3)


def said(policy: Policy, asked: list[Any]) -> Tensor:
    return policy.logprobs(PROMPTS, REPLIES, asked)


def test_every_weight_is_a_model_of_its_own() -> None:
    """The model of a point is the base with that point's change: a plural policy of four objectives, one-hot."""
    policy = front()
    four = [*tiny.OBJECTIVES, type(tiny.OBJECTIVES[0])("warm")]
    plural = tiny.policy(PluralSteering(where="attention", rank=2), shaken=0.3, objectives=four)
    plural.load_steering_state(policy.steering_state())
    ones = [one_hot(objective.name) for objective in four]
    assert torch.equal(said(policy, ASKED), said(plural, ones))
    assert policy.coefficients([*ASKED, None]).tolist() == [*([*row, 1.0, 1.0] for row in torch.eye(4).tolist()), [0.0] * 5 + [1.0]]  # fmt: skip


def test_strength_scales_the_models_change() -> None:
    rows = front().coefficients([Weights({"funny": 1.0}, 1.5), Weights({"funny": 1.0}, 0.0)])
    assert rows.tolist() == [[0, 0, 0, 1.5, 1.5, 1.0], [0, 0, 0, 0, 0, 1.0]]


def test_a_weight_without_a_model_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ConditionError, match=r"no model was trained for kind=0\.6,brief=0\.4; trained are: kind=1; "):
        front().check(Weights({"kind": 0.6, "brief": 0.4}))
    with pytest.raises(ConditionError, match="no model was trained for brief=1"):
        said(front(), [one_hot("brief")] * 4)
    with pytest.raises(ConditionError, match="steered by weights"):
        front().check(Targets({"kind": 1.0}))


def test_the_nearest_may_answer_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    policy = front(nearest=True)
    asked = Weights({"kind": 0.1, "brief": 0.5, "funny": 0.4}, 2.0)
    with caplog.at_level(logging.WARNING):
        assert policy.check(asked) == Weights({"brief": 0.5, "funny": 0.5}, 2.0)
        assert policy.coefficients([asked])[0].tolist() == [0.0, 0.0, 2.0, 0.0, 2.0, 1.0]
    assert [record.getMessage() for record in caplog.records] == [
        "no model was trained for kind=0.1,brief=0.5,funny=0.4; the nearest one answers, trained for brief=0.5,funny=0.5"
    ]


def test_it_is_saved_loaded_sampled_and_merged(tmp_path: Path) -> None:
    policy = front()
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert isinstance(again.steering, FrontSteering) and again.steering.points == POINTS
    assert torch.equal(said(policy, ASKED), said(again, ASKED))
    requests = [Request(PROMPTS[0], asked, seed=3, max_new_tokens=8) for asked in ASKED]
    texts = [[reply.text for reply in Engine(each).generate(requests)] for each in (policy, again)]
    assert texts[0] == texts[1]
    with torch.no_grad():
        merged = policy.merge(ASKED[2])(input_ids=tiny.ids(2), use_cache=False).logits
        steered = tiny.steered_logits(policy, tiny.ids(2), policy.coefficients([ASKED[2]] * 2))
        keyword = policy.model(input_ids=tiny.ids(2), steer=torch.tensor([POINTS[2]] * 2), use_cache=False).logits
    torch.testing.assert_close(merged, steered, atol=1e-4, rtol=0)
    assert torch.equal(keyword, steered)
    with pytest.raises(ConditionError, match="no model was trained"):
        policy.merge(one_hot("brief"))


def test_one_model_leaves_as_an_adapter(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    export_lora(front(), tmp_path / "adapter", ASKED[1])
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_steer_takes_weights_or_coefficients_of_the_front() -> None:
    policy = front()
    with torch.no_grad(), pytest.raises(ConditionError, match=r"weights \[rows, 3\] of the front"):
        policy.model(input_ids=tiny.ids(1), steer=torch.zeros(1, 4))
    rows = policy.coefficients([ASKED[3]])
    with torch.no_grad():
        found = policy.model(input_ids=tiny.ids(1), steer=rows, use_cache=False).logits
    assert torch.equal(found, tiny.steered_logits(policy, tiny.ids(1), rows))


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ((), "needs points of 3 weights"),
        (((1.0, 0.0),), "needs points of 3 weights"),
        (((float("nan"), 0.0, 0.0),), "needs points"),
        (((1.0, 0.0, 0.0), (0.999, 0.001, 0.0)), "alike"),
    ],
)
def test_points_that_make_no_front_are_refused(points: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        front(points=points)
