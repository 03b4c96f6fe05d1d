"""The step as a textbook writes it: padded rows, whole logits, a head per weight vector, autograd for everything.

It is the yardstick of equality, so it shares nothing with the fast path but the trunk's layers: the mixed head
W_λ = W_0 + Σ_j λ_j ΔW_j, the log-probabilities and the loss are written out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from pluralign.data.group import Group
    from pluralign.policy import Policy


@dataclass(frozen=True, slots=True)
class Logistic:
    """The loss (1-ε) softplus(-h) + ε softplus(h), h = β δ; `beta`, `epsilon`."""

    beta: float = 0.1
    epsilon: float = 0.0


def loss(policy: Policy, groups: Sequence[Group], what: Logistic, whole: bool = True) -> Tensor:
    """The mean loss over all judgements of the groups, the reference computed on the way.

    `whole`: logits at every position, as a textbook has them; otherwise at the responses only, which gives the same.
    """
    import torch
    from torch.nn.functional import softplus

    losses = []
    known: dict[tuple[int, ...], Tensor] = {}  # the reference does not depend on the weights
    for column, condition in enumerate(groups[0].conditions):
        pairs = [(group, p) for group in groups for p in group.preferences if p.condition == column]
        texts = [(group, place) for group, p in pairs for place in (p.chosen, p.rejected)]
        policy_side = _log_probability(policy, texts, policy.coefficients([condition]), whole)
        key = tuple(id(group) + place for group, place in texts)
        with torch.no_grad():
            if key not in known:
                known[key] = _log_probability(policy, texts, policy.reference_coefficients(1), whole)
        rho = policy_side - known[key]
        h = what.beta * (rho[0::2] - rho[1::2])
        losses.append((1 - what.epsilon) * softplus(-h) + what.epsilon * softplus(h))
    return torch.cat(losses).mean()


def _log_probability(policy: Policy, texts: Sequence[tuple[Group, int]], coefficients: Tensor, whole: bool) -> Tensor:
    """log π(response | prompt) [R] of every (group, place) under coefficients [1, C]."""
    import torch

    ids, mask = _padded(policy, texts)
    rows = coefficients.expand(len(ids), -1)
    with policy.steering.steered(policy.model, rows):
        attention = torch.ones_like(ids)  # padding stands on the right, where causal attention never looks
        hidden = policy.model.get_decoder()(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
    rows, columns = (torch.ones_like(mask) if whole else mask)[:, 1:].nonzero(as_tuple=True)
    head = mixed_head(policy, coefficients[0]).to(hidden.dtype)
    logits = torch.nn.functional.linear(hidden[:, :-1] if whole else hidden[rows, columns], head)
    tokens = logits.float().log_softmax(-1).flatten(0, -2).gather(-1, ids[rows, columns + 1, None])[:, 0]
    counted = tokens.double().masked_fill(~mask[rows, columns + 1], 0)
    return counted.new_zeros(len(ids)).index_add(0, rows, counted)


def mixed_head(policy: Policy, coefficients: Tensor) -> Tensor:
    """W_λ [V, d] = W_0 + Σ_j λ_j ΔW_j, differentiable, for coefficients [C]."""
    parameters = dict(policy.model.named_parameters())
    base = next(p for name, p in parameters.items() if name in ("lm_head.weight", "lm_head.base.weight"))
    own = {name: p for name, p in parameters.items() if name.startswith("lm_head.objectives.")}
    mixed = base.float()
    for share, change in zip(coefficients[:-2], changes(own), strict=False):
        mixed = mixed + share * change
    return mixed


def changes(own: dict[str, Any]) -> list[Tensor]:
    """ΔW_j [V, d] of each objective from a head's parameters (none for a plain head)."""
    if "lm_head.objectives.up" not in own:
        return list(own.values())
    up, down = own["lm_head.objectives.up"], own["lm_head.objectives.down"]
    return [b @ a for b, a in zip(up, down, strict=True)]


def _padded(policy: Policy, texts: Sequence[tuple[Group, int]]) -> tuple[Tensor, Tensor]:
    """(ids [R, T], mask of the response tokens [R, T])."""
    import torch

    encoded = [policy.encoder.pair(group.messages, group.responses[place]) for group, place in texts]
    pairs = [pair for pair in encoded if pair is not None]
    assert len(pairs) == len(texts), "benchmarks cut nothing off"
    width = max(len(prompt) + len(answer) for prompt, answer in pairs)
    ids = torch.zeros(len(pairs), width, dtype=torch.long)
    mask = torch.zeros(len(pairs), width, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(pairs):
        ids[row, : len(prompt) + len(answer)] = torch.tensor([*prompt, *answer])
        mask[row, len(prompt) : len(prompt) + len(answer)] = True
    return ids.to(policy.device), mask.to(policy.device)


class NaiveStep:
    """An optimiser step of it: loss, autograd, clipping, AdamW."""

    def __init__(self, policy: Policy, groups: Sequence[Group], what: Logistic) -> None:
        import torch

        self.policy, self.groups, self.what = policy, groups, what
        self.parameters = [p for group in policy.trainable().values() for p in group]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6)

    def gradients(self) -> float:
        """The loss, gradients left in the parameters."""
        value = loss(self.policy, self.groups, self.what)
        value.backward()
        return float(value.detach())

    def __call__(self) -> None:
        """A whole step."""
        import torch

        self.gradients()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
