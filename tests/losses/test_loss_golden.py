"""Hand-derived numbers: methods.md §H, and what follows from the definitions."""

import math

import pytest
import torch

from pluralign.errors import ConfigError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.outputs import Judgements, Outputs
from pluralign.losses.regression import Regression
from pluralign.losses.sft import SFT


def outputs() -> Outputs:
    return Outputs(
        logprobs=torch.tensor([[-10.0], [-12.0]]),
        reference=torch.tensor([-11.0, -11.5]),
        lengths=torch.tensor([5, 8]),
    )


def judgements(margin: float = math.nan) -> Judgements:
    zero = torch.tensor([0])
    return Judgements(chosen=zero, rejected=torch.tensor([1]), condition=zero, margin=torch.tensor([margin]))


def imitation() -> Judgements:
    nothing = torch.tensor([-1, -1])
    return Judgements(torch.tensor([0, 1]), nothing, torch.tensor([0, 0]), torch.full((2,), math.nan))


def test_dpo():
    loss, metrics = DPO(beta=0.5)(outputs(), judgements())
    assert loss.tolist() == pytest.approx([0.386871], abs=1e-6)
    values = {name: value.item() for name, value in metrics.items()}
    assert values == {"rho_chosen": 1.0, "rho_rejected": -0.5, "delta": 1.5, "h": 0.75, "accuracy": 1.0}


def test_cdpo():
    loss, metrics = CDPO()(outputs(), judgements())
    assert loss.tolist() == pytest.approx([0.461871], abs=1e-6)
    assert metrics["h"].tolist() == [0.75]


def test_cdpo_minimum_is_the_binary_entropy():
    h = math.log(0.9 / 0.1)
    at_optimum = Outputs(torch.tensor([[h / 0.5], [0.0]]), torch.zeros(2), torch.ones(2))
    loss, _ = CDPO()(at_optimum, judgements())
    assert h == pytest.approx(2.1972, abs=1e-4)
    assert loss.item() == pytest.approx(0.32508, abs=1e-5)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.375, 0.0),  # δ = 1.5 = margin / .25
        (0.0, 0.05 * 1.5**2 / 2),  # quadratic side
        (2.0, 0.05 * 4 * (6.5 - 2)),  # residual 1.5 − 8 = −6.5: linear side
    ],
)
def test_regression(margin: float, expected: float):
    loss, metrics = Regression()(outputs(), judgements(margin))
    assert loss.tolist() == pytest.approx([expected], abs=1e-6)
    assert metrics["residual"].item() == pytest.approx(1.5 - margin / 0.25)
    assert metrics["h"].item() == pytest.approx(0.375)


def test_regression_by_kappa():
    assert Regression.from_kappa(4.0) == Regression(tau=0.25)
    assert Regression.from_kappa(4.4, huber=2.0).tau == pytest.approx(1 / 4.4)


def test_sft_per_token_and_per_sequence():
    loss, metrics = SFT()(outputs(), imitation())
    assert loss.tolist() == pytest.approx([2.0, 1.5])
    assert metrics["nll_sequence"].tolist() == [10.0, 12.0]
    assert SFT("sequence")(outputs(), imitation())[0].tolist() == [10.0, 12.0]


def test_sft_imitates_the_chosen_response_of_a_preference():
    assert SFT()(outputs(), judgements())[0].tolist() == [2.0]


@pytest.mark.parametrize("loss", [DPO(), CDPO(), Regression()])
def test_pairwise_losses_refuse_responses_without_an_opponent(loss):
    with pytest.raises(ConfigError, match="sft"):
        loss(outputs(), imitation())


def test_regression_refuses_unknown_margins():
    with pytest.raises(ConfigError, match="needs scores"):
        Regression()(outputs(), judgements())


@pytest.mark.parametrize(
    "build",
    [
        lambda: DPO(beta=0.0),
        lambda: DPO(beta=math.inf),
        lambda: DPO(beta=math.nan),
        lambda: CDPO(label_smoothing=0.5),
        lambda: CDPO(label_smoothing=-0.1),
        lambda: CDPO(beta=-1),
        lambda: Regression(tau=0.0),
        lambda: Regression(huber=-4),
        lambda: Regression.from_kappa(0.0),
        lambda: SFT("mean"),
    ],
)
def test_hyper_parameters_out_of_range(build):
    with pytest.raises(ConfigError):
        build()
