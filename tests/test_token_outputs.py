"""What a loss over tokens is given, against the same numbers computed one response at a time from the model's logits."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import tiny
from pluralign.data.condition import Condition, Feedback, Weights
from pluralign.data.group import Group
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError, DataError
from pluralign.losses.outputs import TokenOutputs
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.token_outputs import token_outputs
from pluralign.training.batching import Batch, Collator

A, B = Weights({"kind": 0.7, "brief": 0.3}), Weights({"funny": 1.0})
TELL, JOKE = user("please tell me"), user("a joke")
REPLIES = ("good and nice", "short", "very funny and long")
GROUPS = [
    Group(TELL, REPLIES, (A, B)),
    Group(JOKE, REPLIES[:2], (A, B), unfinished=(1,)),
    Group(TELL, REPLIES[:1], (A, B, None)),
]
KINDS = {
    "head": lambda: PluralSteering(where="head"),
    "attention": lambda: PluralSteering(where="attention", shared_where="attention"),
    "prompt": lambda: PromptWeights(shared_where=None),
    "adapter": lambda: PromptWeights(shared_where="attention"),
}


def made(kind: str, groups: list[Group] = GROUPS) -> tuple[Policy, Batch]:
    """A policy that has moved away from its reference, and a batch with unconditioned rows beside it."""
    policy = tiny.policy(KINDS[kind]())
    policy.keep_reference()
    tiny.shake(policy, 0.3)
    return policy, Collator(policy, beside=True)(groups)


@dataclass
class Naive:
    """Of one response under one condition, [T] each."""

    logprobs: Tensor
    entropy: Tensor
    forward: Tensor
    reverse: Tensor


def naive(policy: Policy, row: Tensor, targets: Tensor, shares: Tensor, plain: Tensor, plain_targets: Tensor) -> Naive:
    """Row by row: ids [T] without padding, the mask of its response, coefficients [C]; and the unconditioned row."""
    own = tiny.steered_logits.__wrapped__(policy, row[None], shares[None])[0, :-1][targets[1:]].double()  # type: ignore[attr-defined]
    base = policy.reference
    zero = base.reference_coefficients(1)
    old = tiny.steered_logits(base, plain[None], zero)[0, :-1][plain_targets[1:]].double()
    logprobs = own.log_softmax(-1).gather(-1, row[targets][:, None])[:, 0]
    kept = [number for number in range(own.shape[1]) if number not in (policy.encoder.brackets or ())]
    p, q = own[:, kept].softmax(-1), old[:, kept].softmax(-1)
    return Naive(
        logprobs,
        -(p * p.log()).sum(-1),
        (q * (q.log() - p.log())).sum(-1),
        (p * (p.log() - q.log())).sum(-1),
    )


def each(policy: Policy, batch: Batch) -> list[Naive]:
    """Row after row, condition after condition."""
    assert batch.plain is not None
    lengths, others = batch.attention_mask.sum(1), batch.plain.attention_mask.sum(1)
    found = []
    for row, length in enumerate(lengths):
        for shares in batch.coefficients[row]:
            plain = (batch.plain.input_ids[row, : others[row]], batch.plain.targets_mask[row, : others[row]])
            ids, targets = batch.input_ids[row, :length], batch.targets_mask[row, :length]
            found.append(naive(policy, ids, targets, shares, *plain))
    return found


def check(found: TokenOutputs, expected: list[Naive]) -> None:
    for name in ("token_logprobs", "entropy", "kl_forward", "kl_reverse"):
        key = {"token_logprobs": "logprobs", "kl_forward": "forward", "kl_reverse": "reverse"}.get(name, name)
        wanted = torch.cat([getattr(one, key) for one in expected]).float()
        torch.testing.assert_close(getattr(found, name), wanted, atol=2e-5, rtol=1e-4)
    sums = torch.stack([one.logprobs.sum() for one in expected]).float()
    torch.testing.assert_close(found.logprobs.flatten(), sums, atol=1e-4, rtol=1e-4)
    sizes = torch.tensor([len(one.logprobs) for one in expected])
    assert found.rows.tolist() == torch.arange(len(sizes)).repeat_interleave(sizes).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_gradients_are_those_of_single_rows(kind: str) -> None:
    policy, batch = made(kind)
    found = token_outputs(policy, batch, with_reference=True)
    expected = each(policy, batch)
    check(found, expected)
    assert found.kl_forward is not None and found.kl_reverse is not None
    for kl in (found.kl_forward, found.kl_reverse):  # zero where a plural policy is asked for nothing
        assert kl.max() > 0.3 and kl.min() > -1e-6

    weights = torch.linspace(0.5, 1.5, len(found.rows))
    numbers = (found.token_logprobs, found.entropy, found.kl_forward, found.kl_reverse)
    total = sum((weights * (place + 1) * tokens).sum() for place, tokens in enumerate(numbers))
    single = [
        torch.cat([getattr(one, key) for one in expected]) for key in ("logprobs", "entropy", "forward", "reverse")
    ]
    other = sum((weights * (place + 1) * tokens).sum() for place, tokens in enumerate(single))
    parameters = [parameter for group in policy.trainable().values() for parameter in group]
    ours = torch.autograd.grad(total, parameters, allow_unused=True)
    theirs = torch.autograd.grad(other, parameters, allow_unused=True)
    assert any(grad is not None and grad.abs().max() > 1e-3 for grad in ours)
    for one, two in zip(ours, theirs, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(zero if one is None else one, zero if two is None else two, atol=5e-4, rtol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_policy_is_its_reference(kind: str) -> None:
    """Under None everywhere; a plural policy under any condition."""
    policy = tiny.policy(KINDS[kind]())
    policy.keep_reference()
    conditions: tuple[Condition | None, ...] = (A, B) if kind in ("head", "attention") else (None,)
    batch = Collator(policy, beside=True)([Group(TELL, REPLIES, conditions)])
    found = token_outputs(policy, batch, with_reference=True)
    for kl in (found.kl_forward, found.kl_reverse):
        assert kl is not None
        torch.testing.assert_close(kl, torch.zeros_like(kl), atol=1e-5, rtol=0)


def test_chunks_change_nothing() -> None:
    policy, batch = made("head")
    whole = token_outputs(policy, batch, with_reference=True)
    parameters = [parameter for group in policy.trainable().values() for parameter in group]

    def gradients(found: TokenOutputs) -> tuple[Tensor, ...]:
        assert found.kl_forward is not None
        return torch.autograd.grad((found.token_logprobs + found.entropy * found.kl_forward).sum(), parameters)

    before = gradients(whole)
    chunked = token_outputs(policy, batch, with_reference=True, numbers=5 * policy.head.vocabulary_size)
    for name in ("token_logprobs", "entropy", "kl_forward", "kl_reverse", "logprobs"):
        torch.testing.assert_close(getattr(chunked, name), getattr(whole, name), atol=1e-6, rtol=1e-6)
    for one, two in zip(before, gradients(chunked), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_series_stand_at_the_tokens_that_they_are_for() -> None:
    """A response's numbers in its own order, for each of its conditions; NaN where a group gives none."""
    numbers = ((1.0, 2.0, 3.0, 4.0), (5.0, 6.0))
    groups = [
        Group(TELL, REPLIES[:2], (A, B), series={"counted": numbers}),
        Group(JOKE, ("very long",), (A, B)),
    ]
    policy, batch = made("head", groups)
    series = token_outputs(policy, batch, with_reference=False).series["counted"]
    assert series[:12].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 5, 6]
    assert series[12:].isnan().tolist() == [True] * 6
    with pytest.raises(DataError, match="'counted' has 3 numbers for 4 tokens"):
        made("head", [Group(TELL, REPLIES[:1], (A,), series={"counted": ((1.0, 2.0, 3.0),)})])


def test_without_a_reference_there_is_no_distance() -> None:
    policy, batch = made("prompt")
    found = token_outputs(policy, batch, with_reference=False)
    assert found.kl_forward is None and found.kl_reverse is None
    with pytest.raises(ConfigError, match="unconditioned rows"):
        token_outputs(policy, Collator(policy)(GROUPS), with_reference=True)


def test_tokens_of_conditions_are_no_part_of_the_distributions() -> None:
    """Raising the logits of the brackets lowers log-probabilities, and changes neither entropy nor KL."""
    policy, batch = made("prompt")
    before = token_outputs(policy, batch, with_reference=True)
    with torch.no_grad():
        policy.model.get_output_embeddings().weight[list(policy.encoder.brackets or ())] *= 5
    after = token_outputs(policy, batch, with_reference=True)
    assert not torch.allclose(before.token_logprobs, after.token_logprobs)
    for name in ("entropy", "kl_forward", "kl_reverse"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), atol=1e-6, rtol=1e-6)


def test_a_head_that_is_not_known_gives_the_same() -> None:
    policy, batch = made("head")
    fused = token_outputs(policy, batch, with_reference=True)
    policy.fused, policy.sharing = False, None
    plain = token_outputs(policy, batch, with_reference=True)
    for name in ("token_logprobs", "entropy", "kl_forward", "kl_reverse"):
        torch.testing.assert_close(getattr(plain, name), getattr(fused, name), atol=1e-5, rtol=1e-5)


def test_words_of_a_condition_are_read_and_not_counted() -> None:
    """A response has as many tokens under a condition in words as without."""
    policy = tiny.policy(PromptWeights(shared_where=None))
    batch = Collator(policy)([Group(TELL, REPLIES[:1], (A, None))])
    found = token_outputs(policy, batch, with_reference=False)
    assert found.rows.bincount().tolist() == [4, 4]
    assert not torch.allclose(found.token_logprobs[:4], found.token_logprobs[4:])
    with pytest.raises(ConditionError, match="reads weights"):
        Collator(policy)([Group(TELL, REPLIES[:1], (Feedback("kind"),))])


def test_a_policy_without_steering() -> None:
    policy = tiny.policy(NoSteering(shared_where="attention"))
    tiny.shake(policy, 0.3)
    batch = Collator(policy, beside=True)([Group(TELL, REPLIES)])
    check(token_outputs(policy, batch, with_reference=True), each(policy, batch))
