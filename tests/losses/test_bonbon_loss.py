"""BoNBoN: golden numbers, its target as an expectation, and its two forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from pluralign.errors import ConfigError
from pluralign.losses.bonbon import BonBon
from pluralign.losses.outputs import Judgements, Outputs

# methods.md H: ρ_w = 1, ρ_l = −.5, δ = 1.5
PAIR = Outputs(torch.tensor([[-10.0], [-12.0]]), torch.tensor([-11.0, -11.5]).double(), torch.tensor([5, 8]))
FIRST = Judgements(torch.tensor([0]), torch.tensor([1]), torch.tensor([0]), torch.tensor([math.nan]))


def value(**options: object) -> float:
    return float(BonBon(**options)(PAIR, FIRST)[0])  # type: ignore[arg-type]


def test_golden_targets() -> None:
    assert BonBon(num=8).target == pytest.approx(18.15) and BonBon(num=8).beta == pytest.approx(0.027548, abs=1e-6)
    assert BonBon(num=2).target == 1.0 and BonBon(num=4).target == pytest.approx(5.5)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_target_is_what_best_of_n_has(n: int) -> None:
    """E[log n F(best)^(n−1) − log n F(worst)^(n−1)] over n replies whose scores do not tie (methods.md G17)."""
    u = np.random.default_rng(0).random((200_000, n))
    ratios = (n - 1) * (np.log(u.max(1)) - np.log(u.min(1)))
    assert ratios.mean() == pytest.approx(BonBon(num=n).target, abs=4 * ratios.std() / math.sqrt(len(u)))


def test_by_hand() -> None:
    """a · 10 + (1 − a)(1.5 − 18.15)² and a · 10 − (1 − a) log σ(.027548 · 1.5)."""
    assert value(share=1.0) == 10.0
    assert value(share=0.0) == pytest.approx(16.65**2, rel=1e-6)
    assert value() == pytest.approx(0.005 * 10 + 0.995 * 16.65**2, rel=1e-6)
    assert value(num=2, share=0.5) == pytest.approx(0.5 * 10 + 0.5 * 0.25)
    assert value(form="logistic") == pytest.approx(0.05 + 0.995 * math.log1p(math.exp(-1.5 / 36.3)), abs=1e-6)


def test_lengths_do_not_matter() -> None:
    longer = dataclasses.replace(PAIR, lengths=torch.tensor([50, 2]))
    assert torch.equal(BonBon()(longer, FIRST)[0], BonBon()(PAIR, FIRST)[0])


def test_its_minimum_in_delta_is_the_target() -> None:
    delta = torch.tensor(0.0, requires_grad=True)
    outputs = Outputs(torch.stack([delta, torch.zeros(())])[:, None], torch.zeros(2).double(), torch.ones(2))
    optimiser = torch.optim.SGD([delta], lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        BonBon(num=4, share=0.0)(outputs, FIRST)[0].sum().backward()
        optimiser.step()
        outputs = Outputs(torch.stack([delta, torch.zeros(())])[:, None], torch.zeros(2).double(), torch.ones(2))
    assert delta.item() == pytest.approx(5.5, abs=1e-3)


@pytest.mark.parametrize("options", [{"num": 1}, {"share": -0.1}, {"share": 1.1}, {"form": "cubed"}])
def test_settings_act_or_raise(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="bonbon"):
        BonBon(**options)  # type: ignore[arg-type]
