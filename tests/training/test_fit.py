"""The loop: accumulation, clipping, precision, validation, what it logs, and how it fails."""

import contextlib
import json
import logging
import math
import resource
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import tabular_policy
import torch
from tabular_policy import random_groups, random_policy, random_source

from pluralign.data.group import Group
from pluralign.data.record import user
from pluralign.errors import ConfigError, DataError, RunError, StorageError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.regression import Regression
from pluralign.training.fit import FitResult, fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource

SHORT = Optim(steps=10, lr=0.05, warmup=2)


def train(folder, policy=None, source=None, loss=None, optim=SHORT, validation=None, **options):
    policy = policy or random_policy(frozen_trunk=False)
    with Run(folder) as run:
        result = fit(
            policy, source or random_source(), loss or Regression(), run.stage("train"), optim, validation, **options
        )
        return policy, result, run.tracker.file.read()


def test_every_step_logs_what_it_did(tmp_path):
    _, result, lines = train(tmp_path / "run", optim=replace(SHORT, head_lr=0.2))
    assert [line["step"] for line in lines] == list(range(1, 11))
    expected = {"stage", "step", "loss", "grad_norm", "lr_heads", "lr_trunk", "examples", "rejected", "seconds"}
    expected |= {"rho_chosen", "rho_rejected", "delta", "h", "accuracy", "residual"}
    assert set(lines[0]) == expected
    assert (lines[0]["lr_heads"], lines[0]["lr_trunk"]) == (0.1, 0.025)  # half way through the warm-up
    assert lines[0]["delta"] == pytest.approx(0, abs=1e-6)  # the policy starts at its reference
    assert lines[-1]["loss"] == result.loss
    assert result.examples == sum(line["examples"] for line in lines)


def test_a_step_is_one_step_of_adamw_on_the_mean_over_examples(tmp_path):
    """The weights after a step, computed by hand with torch alone."""
    groups = random_groups(5)
    policy, _, lines = train(
        tmp_path / "run",
        source=GroupSource(groups, 5),
        loss=CDPO(),
        optim=Optim(steps=1, lr=0.1, warmup=0, clip_norm=0.01),
    )
    own = random_policy(frozen_trunk=False)
    adam = torch.optim.AdamW(own.model.parameters(), lr=0.1, betas=(0.9, 0.98), weight_decay=0.01)
    total = 0.0
    for group in groups:
        (preference,) = group.preferences
        prompt = torch.tensor([int(group.messages[0].content[1:])])
        logprobs = own.model(prompt, own.coefficients(group.conditions)[None])[0, 0]
        reference = torch.log_softmax(own.model.reference[prompt[0]], -1)
        rho = logprobs - reference
        h = 0.5 * (rho[preference.chosen] - rho[preference.rejected])
        total = total - (0.9 * torch.nn.functional.logsigmoid(h) + 0.1 * torch.nn.functional.logsigmoid(-h)) / 5
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(own.model.parameters(), 0.01)
    adam.step()
    assert lines[0]["loss"] == pytest.approx(total.item(), rel=1e-6)
    assert lines[0]["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
    for name, tensor in own.trainable_state().items():
        assert torch.allclose(policy.trainable_state()[name], tensor, atol=1e-6)


def one_pair_per_prompt() -> GroupSource:
    """Where pairs share a response, gradients that cancel do so up to rounding, and Adam makes steps of that."""
    return GroupSource(random_groups(6), 6)


@pytest.mark.parametrize("accumulation", [2, 3, 100])
def test_accumulation_changes_nothing_but_rounding(tmp_path, accumulation):
    whole, _, lines = train(tmp_path / "whole", source=one_pair_per_prompt())
    cut, _, cut_lines = train(
        tmp_path / "cut", source=one_pair_per_prompt(), optim=replace(SHORT, accumulation=accumulation)
    )
    for name, tensor in whole.trainable_state().items():
        assert torch.allclose(cut.trainable_state()[name], tensor, atol=1e-4)
    assert [line["loss"] for line in cut_lines] == pytest.approx([line["loss"] for line in lines], rel=1e-3)
    assert [line["examples"] for line in cut_lines] == [line["examples"] for line in lines]


def test_runs_with_one_seed_are_equal_and_leave_the_callers_generators_alone(tmp_path):
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    first, second = (train(tmp_path / n, random_policy(dropout=0.4), dropout=True)[0] for n in "ab")
    assert torch.equal(first.model.heads, second.model.heads)
    assert (torch.rand(1), np.random.rand()) == expected
    plain, _, _ = train(tmp_path / "c", random_policy(dropout=0.4))
    undropped, _, _ = train(tmp_path / "d", random_policy())
    assert not torch.equal(plain.model.heads, first.model.heads)
    assert torch.equal(plain.model.heads, undropped.model.heads)  # dropout is off unless asked for


def test_bf16_trains_close_to_fp32_and_keeps_parameters_in_float32(tmp_path):
    full, _, _ = train(tmp_path / "fp32", source=one_pair_per_prompt())
    half, _, _ = train(tmp_path / "bf16", source=one_pair_per_prompt(), optim=replace(SHORT, precision="bf16"))
    assert half.model.heads.dtype == torch.float32
    assert torch.allclose(half.model.heads, full.model.heads, atol=0.1)


def test_the_best_weights_by_validation_come_back(tmp_path):
    """Steps far too large: the loss on held-out groups is lowest early, and that is what the policy ends with."""
    wild = Optim(steps=40, lr=3.0, warmup=0, schedule="constant", clip_norm=None)
    validation = random_groups(6, seed=11)
    options = {"source": GroupSource(random_groups(), 4), "loss": DPO(1.0), "optim": wild, "validation": validation}
    policy, result, lines = train(tmp_path / "best", **options, validate_every=1)
    validated = {line["step"]: line["validation_loss"] for line in lines}
    assert result.best_step == min(validated, key=validated.get) < 40
    assert result.validation_loss == min(validated.values())
    assert result.validation == tuple(validated.items())
    last, last_result, _ = train(tmp_path / "last", **options, validate_every=1, restore_best=False)
    assert last_result.validation_loss == validated[40] > result.validation_loss
    assert not torch.equal(policy.model.heads, last.model.heads)
    again, rerun, _ = resumed(tmp_path / "best", **options)
    assert torch.equal(again.model.heads, policy.model.heads)
    assert rerun == result


def resumed(folder, source, loss, optim, validation):
    policy = random_policy(frozen_trunk=False)
    with Run(folder, resume=True) as run:
        return policy, fit(policy, source, loss, run.stage("train"), optim, validation), None


def test_a_result_survives_json():
    result = FitResult(3, 0.5, 0.25, 2, ((1, 0.5), (2, 0.25)), 96, 1, 2.5)
    value = {name: getattr(result, name) for name in result.__dataclass_fields__}
    assert FitResult.from_json(json.loads(json.dumps(value))) == result


@dataclass(frozen=True)
class Exploding:
    """Fine for some examples, then not a number."""

    value: float
    couples: ClassVar[str] = "pair"
    needs_reference: ClassVar[bool] = False

    def __call__(self, outputs, judgements):
        losses = -outputs.logprobs[judgements.chosen, judgements.condition]
        return losses * (self.value if losses.mean() < 1.5 else 1.0), {}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_advice_and_changes_nothing(tmp_path, value):
    policy = random_policy()
    optim = Optim(steps=200, lr=0.05, warmup=0)
    with pytest.raises(RunError, match=r"train, step \d+ of 200: .*lower lr \(now 0.05.*the last checkpoint") as error:
        train(tmp_path / "run", policy, loss=Exploding(value), optim=optim, checkpoint_every=1)
    assert f"the loss is {value}" in str(error.value)
    assert torch.isfinite(policy.model.heads).all()
    step = int(str(error.value).split("step ")[1].split(" ")[0])
    assert f"checkpoint-{step - 1:08d}" in str(error.value)
    assert (tmp_path / "run" / "stages" / "train" / f"checkpoint-{step - 1:08d}" / "state.json").exists()


@dataclass(frozen=True)
class Coupled(Exploding):
    value: float = 1.0
    couples: ClassVar[str] = "batch"


def test_options_that_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match="accumulation"):
        train(tmp_path / "a", loss=Coupled(), optim=replace(SHORT, accumulation=2))
    for name in ("checkpoint_every", "validate_every"):
        with pytest.raises(ConfigError, match=name):
            train(tmp_path / name, **{name: 0})
    for device in ("cuda:99", "tpu", "banana"):
        with pytest.raises(ConfigError, match="cpu"), Run(tmp_path / device.replace(":", "")[:3], device=device) as run:
            fit(random_policy(), random_source(), Regression(), run.stage("train"), SHORT)


def test_responses_that_do_not_fit_are_counted_and_said(tmp_path, caplog):
    groups = [*random_groups(3), Group(user("p0"), ("long", "y1"), (None,), random_groups(1)[0].preferences[:0])]
    source = GroupSource([replace(group, preferences=()) for group in groups], 4)
    with caplog.at_level(logging.WARNING):
        _, result, lines = train(tmp_path / "run", source=source, loss=Exploding(1.0))
    assert "1 of 16 responses do not fit" in caplog.text
    assert result.rejected == 1
    assert {line["rejected"] for line in lines} == {1}


def test_when_nothing_fits_it_is_a_data_error(tmp_path):
    nothing = [Group(user("p0"), ("long",))]
    with pytest.raises(DataError, match="max_length"):
        train(tmp_path / "a", source=GroupSource(nothing, 1), loss=Exploding(1.0))
    with pytest.raises(DataError, match="validation"):
        train(tmp_path / "b", validation=nothing, loss=Exploding(1.0))


def test_a_step_without_examples_changes_nothing(tmp_path):
    groups = [Group(user("p0"), ("long",)), Group(user("p0"), ("y0",))]
    policy, _, lines = train(tmp_path / "run", source=GroupSource(groups, 1), loss=Exploding(1.0))
    losses = [line["loss"] for line in lines]
    assert losses.count(None) == 5
    assert all(line["examples"] == (line["loss"] is not None) for line in lines)
    assert torch.isfinite(policy.model.trunk).all()


@contextlib.contextmanager
def file_size_limit(limit: int):
    """The system refuses to let a file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# the reference cache; the first checkpoint; in the middle of a line of metrics
@pytest.mark.parametrize("limit", [300, 9_000, 24_000])
def test_a_full_disk_leaves_a_run_that_resumes_to_the_same_bits(tmp_path, limit):
    whole = tabular_policy.train(str(tmp_path / "whole"), 40, resume=False)
    with file_size_limit(limit), pytest.raises(StorageError, match="cannot write"):
        tabular_policy.train(str(tmp_path / "run"), 40, resume=False)
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.name != ".lock"]  # nothing half-written
    cut = tabular_policy.train(str(tmp_path / "run"), 40, resume=True)
    for name, tensor in whole.trainable_state().items():
        assert torch.equal(cut.trainable_state()[name], tensor)
