"""Gradients: equal with and without checkpointing, exactly 0 where λ is 0, chunked as unchunked; bfloat16 runs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_steering_laws import PLURAL, coefficients, random_coefficients

from pluralign.encoding import Encoder
from pluralign.logprobs import response_logprobs
from pluralign.policy import Policy
from pluralign.steering.deltas import Deltas
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.steering.surgery import checkpoint_gradients
from tiny import K, config, ids, model, policy, shake, tokenizer


def gradients(steered: Policy) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in steered.model.named_parameters() if p.grad is not None}


def backward(steered: Policy, inside: bool, index: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Gradients of a fixed function of the logits; backward inside the context or after it."""
    steered.model.zero_grad()
    rows = random_coefficients(3)
    target = torch.randn(3, 6, steered.head.vocabulary_size, generator=torch.Generator().manual_seed(5))
    with steered.steering.steered(steered.model, rows, index):
        loss = (steered.model(input_ids=ids(3), use_cache=False).logits * target).sum()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return gradients(steered)


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], atol: float = 1e-4) -> None:
    assert found.keys() == expected.keys() and found
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=atol), name


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("name", [*PLURAL, "prompt"])
def test_checkpointing_leaves_gradients_as_they_are(name, indexed):
    make = PLURAL.get(name, PromptWeights)
    index = torch.tensor([[0, 0, 1, 1, 2, 2], [1, 1, 1, 0, 0, 0], [2, 1, 0, 2, 1, 0]]) if indexed else None
    plain, thrifty = policy(make(), shaken=0.1), policy(make(), shaken=0.1)
    checkpoint_gradients(thrifty.model, thrifty.steering._state)
    thrifty.model.train()
    expected = backward(plain, inside=True, index=index)
    assert_equal(backward(plain, inside=False, index=index), expected)
    assert_equal(backward(thrifty, inside=True, index=index), expected)
    assert_equal(backward(thrifty, inside=False, index=index), expected)


def test_checkpointing_holds_for_the_steer_keyword_and_two_pending_graphs():
    plain, thrifty = (policy(PluralSteering(where="all", rank=2), shaken=0.1) for _ in range(2))
    checkpoint_gradients(thrifty.model, thrifty.steering._state)
    thrifty.model.train()
    one, two = torch.eye(K)[[0, 1, 2]], torch.full((3, K), 1 / K)
    for steered in (plain, thrifty):
        losses = [steered.model(ids(3), use_cache=False, steer=steer).logits.square().sum() for steer in (one, two)]
        (losses[0] - 2 * losses[1]).backward()
    assert_equal(gradients(thrifty), gradients(plain), atol=1e-3)


@pytest.mark.parametrize("name", PLURAL)
def test_an_objective_of_weight_0_has_a_gradient_of_exactly_0(name):
    steered = policy(PLURAL[name](), shaken=0.1)
    rows = coefficients([[0.7, 0.0, 0.3], [1.0, 0.0, 0.0]])[:, None]
    mask = torch.ones(2, 6, dtype=torch.bool)
    response_logprobs(steered, ids(2), mask, rows).sum().backward()
    seen = 0
    for layer in steered.model.modules():
        if isinstance(layer, Deltas) and layer.num == K:
            grads = [[p.grad for p in layer.full]] if layer.rank is None else [layer.down.grad, layer.up.grad]
            for grad in grads:
                assert torch.count_nonzero(grad[1]) == 0
                assert grad[0].abs().max() > 0
                seen += 1
    assert seen


def test_the_gradient_of_a_head_is_its_weight_times_that_of_the_mix():
    """∂L/∂W_j = λ_j ∂L/∂W(λ) (methods.md A1, identity 4)."""
    steered = policy(PluralSteering(rank="full"), shaken=0.1)
    weights = torch.tensor([0.5, 0.3, 0.2])
    row = torch.cat([weights, torch.ones(2)])[None, None]
    response_logprobs(steered, ids(1), torch.ones(1, 6, dtype=torch.bool), row).sum().backward()
    changes = steered.model.lm_head.objectives.full
    grads = [change.grad / weight for change, weight in zip(changes, weights, strict=True)]
    assert torch.allclose(grads[0], grads[1], atol=1e-5) and torch.allclose(grads[0], grads[2], atol=1e-5)


@pytest.mark.parametrize("same_strength", [True, False])
@pytest.mark.parametrize("name", ["head", "full head, shared attention", "none"])
def test_chunks_change_neither_log_probabilities_nor_gradients(name, same_strength):
    from pluralign.steering.none import NoSteering

    found = []
    for chunk_numbers in (1 << 25, 40, 1):
        steered = policy(PLURAL.get(name, NoSteering)(), shaken=0.1)
        steered.head = dataclasses.replace(steered.head, chunk_numbers=chunk_numbers)
        rows = random_coefficients(6).view(3, 2, K + 2)
        rows[..., -2] = 1.0 if same_strength else rows[..., -2]
        mask = torch.arange(6) > torch.tensor([[1], [3], [2]])
        logprobs = response_logprobs(steered, ids(3), mask, rows)
        (logprobs * torch.tensor([1.0, -2.0])).sum().backward()
        found.append((logprobs.detach(), gradients(steered)))
    for logprobs, grads in found[1:]:
        assert torch.allclose(logprobs, found[0][0], atol=1e-4)
        assert_equal(grads, found[0][1])


@pytest.mark.parametrize("name", [*PLURAL, "prompt"])
def test_many_conditions_at_once_are_each_ones_own_run(name):
    steered = policy(PLURAL.get(name, PromptWeights)(), shaken=0.1)
    rows = random_coefficients(6).view(3, 2, K + 2)
    mask = torch.arange(6) > torch.tensor([[1], [3], [2]])
    together = response_logprobs(steered, ids(3), mask, rows)
    for place in range(2):
        alone = response_logprobs(steered, ids(3), mask, rows[:, place : place + 1])
        assert torch.allclose(together[:, place], alone[:, 0], atol=1e-4)


@pytest.mark.parametrize("name", [*PLURAL, "prompt"])
def test_bfloat16_runs_and_is_near_float32(name):
    make = PLURAL.get(name, PromptWeights)
    half = Policy(model(config()).to(torch.bfloat16), Encoder(tokenizer()), make(), policy(make()).objectives)
    whole = policy(make())
    for steered in (half, whole):
        assert steered.fused
        shake(steered, 0.05)
    rows = coefficients([[0.6, 0.3, 0.1]] * 3)[:, None]
    mask = torch.arange(6).expand(3, 6) > 2
    found = [response_logprobs(steered, ids(3), mask, rows) for steered in (half, whole)]
    assert found[0].dtype == torch.float32
    assert (found[0] - found[1]).abs().max() < 0.35
    found[0].sum().backward()
    assert all(torch.isfinite(gradient).all() for gradient in gradients(half).values())
    assert half.merge(None).dtype == torch.bfloat16
