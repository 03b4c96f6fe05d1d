"""Laws of methods.md B and G as property tests; gradients by autograd against the closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.outputs import Judgements, Outputs
from pluralign.losses.regression import Regression
from pluralign.losses.sft import SFT

nats = st.floats(-50, 50, width=32)
betas = st.floats(0.01, 2)
epsilons = st.floats(0, 0.499)


def pair(chosen: float, rejected: float, ref_chosen: float = 0.0, ref_rejected: float = 0.0) -> Outputs:
    logprobs = torch.tensor([[chosen], [rejected]], requires_grad=True)
    return Outputs(logprobs, torch.tensor([ref_chosen, ref_rejected]), torch.tensor([3, 4]))


def judge(margin: float = math.nan, swapped: bool = False) -> Judgements:
    first, second = torch.tensor([int(swapped)]), torch.tensor([int(not swapped)])
    return Judgements(first, second, torch.tensor([0]), torch.tensor([margin]))


def value(loss, outputs: Outputs, judgements: Judgements) -> float:
    return loss(outputs, judgements)[0].item()


def gradient(loss, outputs: Outputs, judgements: Judgements) -> list[float]:
    loss(outputs, judgements)[0].sum().backward()
    return outputs.logprobs.grad[:, 0].tolist()


@given(nats, betas, epsilons)
def test_log_2_where_the_policy_is_the_reference(logprob, beta, epsilon):
    at_reference = pair(logprob, -1.0, logprob, -1.0)
    for loss in (DPO(beta), CDPO(beta, epsilon)):
        assert value(loss, at_reference, judge()) == pytest.approx(math.log(2), abs=1e-6)


@given(nats, nats, betas)
def test_cdpo_without_smoothing_is_dpo(chosen, rejected, beta):
    outputs = pair(chosen, rejected)
    assert value(CDPO(beta, 0.0), outputs, judge()) == value(DPO(beta), outputs, judge())


@given(nats, nats, betas)
def test_swapping_a_dpo_pair_adds_h(chosen, rejected, beta):
    outputs = pair(chosen, rejected)
    h = beta * (outputs.logprobs[0] - outputs.logprobs[1]).item()
    difference = value(DPO(beta), outputs, judge()) - value(DPO(beta), outputs, judge(swapped=True))
    assert difference == pytest.approx(-h, abs=1e-4, rel=1e-5)


@given(nats, nats, betas, epsilons)
def test_gradient_of_the_logistic_family(chosen, rejected, beta, epsilon):
    outputs = pair(chosen, rejected)
    h = beta * (outputs.logprobs[0] - outputs.logprobs[1]).item()
    slope = beta * (1 / (1 + math.exp(-h)) - (1 - epsilon))
    assert gradient(CDPO(beta, epsilon), outputs, judge()) == pytest.approx([slope, -slope], abs=1e-5)


@given(betas, st.floats(0.01, 0.49))
def test_cdpo_rests_exactly_at_the_smoothed_odds(beta, epsilon):
    rest = math.log((1 - epsilon) / epsilon) / beta
    below, at, beyond = (gradient(CDPO(beta, epsilon), pair(rest + step, 0.0), judge())[0] for step in (-1, 0, 1))
    assert below < 0 < beyond
    assert at == pytest.approx(0, abs=1e-6)


@given(nats, nats, nats, st.floats(0, 4, width=32), st.floats(0.1, 1), st.floats(0.5, 8))
def test_gradient_of_the_regression(chosen, rejected, reference, margin, tau, huber):
    outputs = pair(chosen, rejected, reference, 0.0)
    residual = (chosen - reference) - rejected - margin / tau
    slope = 0.05 * max(-huber, min(huber, residual))
    assert gradient(Regression(tau, huber), outputs, judge(margin)) == pytest.approx([slope, -slope], abs=1e-4)


@given(nats, nats, st.floats(0, 4, width=32))
def test_regression_does_not_care_which_response_is_called_chosen(chosen, rejected, margin):
    outputs = pair(chosen, rejected)
    forward = value(Regression(), outputs, judge(margin))
    assert value(Regression(), outputs, judge(-margin, swapped=True)) == pytest.approx(forward, rel=1e-5, abs=1e-6)


@given(nats, nats, st.floats(-20, 20, width=32))
def test_a_constant_per_prompt_changes_no_pairwise_loss(chosen, rejected, constant):
    for loss in (DPO(), CDPO(), Regression()):
        plain = value(loss, pair(chosen, rejected), judge(1.0))
        assert value(loss, pair(chosen + constant, rejected + constant), judge(1.0)) == pytest.approx(
            plain, abs=1e-4, rel=1e-4
        )


@given(st.lists(st.tuples(nats, nats), min_size=1, max_size=8), st.randoms())
def test_examples_do_not_see_each_other(pairs, random):
    logprobs = torch.tensor([value for both in pairs for value in both])[:, None]
    rows = Outputs(logprobs, torch.zeros(len(logprobs)), torch.ones(len(logprobs)))
    order = random.sample(range(len(pairs)), len(pairs))
    index = torch.tensor(order)
    judgements = Judgements(2 * index, 2 * index + 1, torch.zeros_like(index), torch.ones(len(order)))
    together = CDPO()(rows, judgements)[0].tolist()
    assert together == [value(CDPO(), pair(*pairs[i]), judge()) for i in order]


def test_the_condition_picks_its_column_and_no_gradient_reaches_the_others():
    logprobs = torch.tensor([[-1.0, -5.0], [-2.0, -1.0]], requires_grad=True)
    outputs = Outputs(logprobs, torch.zeros(2), torch.ones(2))
    second = Judgements(torch.tensor([0]), torch.tensor([1]), torch.tensor([1]), torch.tensor([1.0]))
    loss, metrics = DPO()(outputs, second)
    loss.sum().backward()
    assert metrics["delta"].tolist() == [-4.0]
    assert metrics["accuracy"].tolist() == [0.0]
    assert logprobs.grad[:, 0].tolist() == [0.0, 0.0]


@given(nats)
def test_a_tie_of_the_policy_counts_half(logprob):
    assert DPO()(pair(logprob, logprob), judge())[1]["accuracy"].tolist() == [0.5]


def test_extreme_margins_stay_finite():
    for loss in (DPO(), CDPO(), Regression()):
        for chosen in (1e6, -1e6):
            outputs = pair(chosen, 0.0)
            loss_value, _ = loss(outputs, judge(1.0))
            loss_value.sum().backward()
            assert torch.isfinite(loss_value).all()
            assert torch.isfinite(outputs.logprobs.grad).all()


def test_half_precision_log_probabilities_are_widened_first():
    half = Outputs(torch.tensor([[-1000.0], [-1001.0]]).bfloat16(), torch.tensor([-1000.0, -1000.5]), torch.ones(2))
    for loss in (DPO(), CDPO(), Regression(), SFT()):
        assert loss(half, judge(1.0))[0].dtype == torch.float32


@given(st.floats(-200, -0.01), st.integers(1, 60))
def test_gradient_of_sft_is_one_over_the_length(logprob, length):
    logprobs = torch.tensor([[logprob]], requires_grad=True)
    outputs = Outputs(logprobs, torch.tensor([math.nan]), torch.tensor([length]))
    one = Judgements(*(torch.tensor([0]) for _ in range(3)), torch.tensor([math.nan]))
    SFT()(outputs, one)[0].sum().backward()
    assert logprobs.grad.item() == pytest.approx(-1 / length)
