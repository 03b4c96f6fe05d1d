"""The numbers of an optimisation and what they build."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.errors import ConfigError
from pluralign.training.optim import Optim


def parameters(num: int = 1) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(2)) for _ in range(num)]


def test_schedules_at_hand_derived_steps():
    cosine = Optim(steps=120, warmup=20)
    assert [cosine.factor(step) for step in (0, 9, 19, 20, 70, 120)] == pytest.approx([0.05, 0.5, 1.0, 1.0, 0.55, 0.1])
    linear = Optim(steps=100, warmup=0, schedule="linear", min_lr_ratio=0.0)
    assert [linear.factor(step) for step in (0, 25, 100)] == pytest.approx([1.0, 0.75, 0.0])
    assert {Optim(schedule="constant", warmup=0).factor(step) for step in range(250)} == {1.0}


@given(
    st.builds(
        Optim,
        steps=st.integers(1, 300),
        warmup=st.integers(0, 400),
        schedule=st.sampled_from(["constant", "linear", "cosine"]),
        min_lr_ratio=st.floats(0, 1),
    )
)
def test_a_schedule_rises_then_never_rises_again(optim):
    factors = [optim.factor(step) for step in range(optim.steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    warm, rest = factors[: optim.warmup], factors[optim.warmup :]
    assert warm == sorted(warm)
    assert rest == sorted(rest, reverse=True)


@given(st.integers(0, 30))
def test_a_rebuilt_schedule_goes_on_where_it_stood(step):
    optim = Optim(steps=30, warmup=5, lr=0.1, head_lr=0.7)
    optimizer, schedule = optim.build({"heads": parameters(), "trunk": parameters()})
    for _ in range(step):
        optimizer.step()
        schedule.step()
    rebuilt, _ = optim.build({"heads": parameters(), "trunk": parameters()}, step)
    assert [group["lr"] for group in rebuilt.param_groups] == [group["lr"] for group in optimizer.param_groups]


def test_heads_have_a_learning_rate_of_their_own():
    trainable = {"heads": parameters(2), "trunk": parameters(), "empty": []}
    optimizer, _ = Optim(lr=0.1, head_lr=0.7, warmup=0).build(trainable)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == {"heads": 0.7, "trunk": 0.1}
    optimizer, _ = Optim(lr=0.1, warmup=0, betas=(0.5, 0.6), weight_decay=0.3).build(trainable)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    assert {(group["betas"], group["weight_decay"]) for group in optimizer.param_groups} == {((0.5, 0.6), 0.3)}


def test_nothing_to_train():
    with pytest.raises(ConfigError, match="no trainable parameters"):
        Optim().build({"heads": []})


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"lr": -1.0},
        {"lr": math.nan},
        {"head_lr": math.inf},
        {"betas": (0.9, 1.0)},
        {"weight_decay": -0.1},
        {"clip_norm": 0.0},
        {"warmup": -1},
        {"schedule": "step"},
        {"min_lr_ratio": 1.5},
        {"accumulation": 0},
        {"precision": "fp16"},
    ],
)
def test_numbers_out_of_range_name_the_field(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Optim(**wrong)
