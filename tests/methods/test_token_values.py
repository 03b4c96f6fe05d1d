"""Advantages of tokens by hand, and a linear value function that never sees what it is compared with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tiny
from pluralign.data.condition import one_hot
from pluralign.data.group import Group
from pluralign.data.record import user
from pluralign.methods.steps.token_values import gae, predicted, read_tokens, to_go
from pluralign.steering.plural import PluralSteering


def test_returns_by_hand() -> None:
    assert to_go(np.array([1.0, 2.0, 4.0]), 0.5).tolist() == [3.0, 4.0, 4.0]


def test_gae_by_hand() -> None:
    """r = (0, 0, 1), V = (.5, .2, .6), γ = 1: δ = (−.3, .4, .4); λ = .5: A = (−.3 + .5·.6, .4 + .5·.4, .4)."""
    found = gae(np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.2, 0.6]), 1.0, 0.5)
    assert found.tolist() == pytest.approx([0.0, 0.6, 0.4])


def test_its_ends_are_the_return_less_the_value_and_one_step_ahead() -> None:
    gains, values = np.array([0.1, -0.3, 2.0]), np.array([1.0, 0.5, -0.2])
    assert gae(gains, values, 1.0, 1.0) == pytest.approx(to_go(gains, 1.0) - values)
    assert gae(gains, values, 1.0, 0.0) == pytest.approx(gains + np.array([0.5, -0.2, 0.0]) - values)


def test_a_linear_value_is_found_and_owes_nothing_to_its_own_returns() -> None:
    rng = np.random.default_rng(0)
    lengths, owners = rng.integers(3, 9, 120), np.repeat(np.arange(40), 3)
    hidden = [rng.normal(size=(n, 5)) for n in lengths]
    returns = [x @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) + 0.7 for x in hidden]
    found = predicted(hidden, returns, owners)
    error = np.concatenate(found) - np.concatenate(returns)
    assert np.abs(error).max() < 0.1 * np.std(np.concatenate(returns))
    other = [each + 5.0 * (owner == 6) for each, owner in zip(returns, owners, strict=True)]
    moved = [not np.allclose(a, b) for a, b in zip(found, predicted(hidden, other, owners), strict=True)]
    assert not any(moved[n] for n in np.flatnonzero(owners % 2 == 0))  # prompt 6 and all that were fitted elsewhere
    assert all(moved[n] for n in np.flatnonzero(owners % 2 == 1))


def test_noise_is_predicted_by_its_mean_and_one_prompt_by_nothing() -> None:
    rng = np.random.default_rng(1)
    hidden, returns = [rng.normal(size=(4, 30)) for _ in range(20)], [rng.normal(size=4) + 3.0 for _ in range(20)]
    found = np.concatenate(predicted(hidden, returns, np.repeat(np.arange(10), 2)))
    assert found.std() < 0.5 and abs(found.mean() - 3.0) < 0.5
    assert [each.tolist() for each in predicted(hidden[:2], returns[:2], np.zeros(2, dtype=int))] == [[0.0] * 4] * 2


def test_tokens_are_read_by_the_policy_and_its_reference() -> None:
    """Sums agree with the policy's own log-probabilities; states are the reference's, one before each token."""
    policy = tiny.policy(PluralSteering(where="attention", rank=2), shaken=0.3)
    asked, prompts = one_hot("kind"), [user("a joke"), user("tell me a joke")]
    groups = [Group(prompts[0], ("nice", "good and funny"), (asked,)), Group(prompts[1], ("short", "nice"), (asked,))]
    read = read_tokens(policy, groups)
    texts = [(group.messages, text) for group in groups for text in group.responses]
    own = policy.logprobs(*zip(*texts, strict=True), [asked] * 4)
    base = policy.logprobs(*zip(*texts, strict=True), [None] * 4)
    assert [each.logprob.sum() for each in read] == pytest.approx(own.tolist(), abs=1e-4)
    assert [each.log_ratio.sum() for each in read] == pytest.approx((own - base).tolist(), abs=1e-4)
    assert [each.hidden.shape for each in read] == [(2, 32), (4, 32), (2, 32), (2, 32)]
    ids = torch.tensor([policy.encoder.prompt(prompts[1]).ids])
    with torch.no_grad():
        state = policy.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0, -1]
    assert read[2].hidden[0].tolist() == pytest.approx(state.tolist(), abs=1e-4)
