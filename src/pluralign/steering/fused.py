"""A head under many conditions and the loss on it, in one go: gradients are formed while the logits are hot.

Let ℓ[r, l] = Σ_t log p(y_t | x_t, λ_l) over the tokens t of row r. A loss is a function of ℓ alone, so that

    dL/dz[t, l] = g[r(t), l] · (1[v = y_t] − p[t, l]),        g = ∂L/∂ℓ

and g, a handful of numbers, is known as soon as the ℓ of the rows that the loss couples are. Work therefore goes unit
by unit (a prompt's group of rows, or several small groups: units.py):

    1  planes of logits                                        formulations.py, terms.py
    2  ℓ of all conditions                                     softmax.py
    3  the loss and g, by autograd on the small tensor ℓ
    4  dL/dplanes in the place of the planes                   softmax.py
    5  gradients of hidden states and matrices                 formulations.py, terms.py

A loss that couples the batch has 1 and 2 for all units first, then 3, then 4 and 5. Backward only hands out what the
forward has summed. Nothing of size [T, V] outlives its scope; logits that would not fit between 2 and 4 are made a
second time. Products are made in the head's dtype (or autocast's), all sums in float32 or wider. Heads that no
condition of a unit asks for are not touched.

Letters: N tokens, R rows, L conditions of a row, C coefficients, V vocabulary, d hidden width, P examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pluralign.losses.outputs import NOTHING, Judgements, Loss, Metrics, Outputs
from pluralign.steering.formulations import Name
from pluralign.steering.head import Head
from pluralign.steering.passes import Pass
from pluralign.steering.terms import parameters_of
from pluralign.steering.units import Unit


@dataclass(frozen=True)
class Judged:
    """What a loss wants besides log-probabilities: `reference` [R] (nats), `lengths` [R] (tokens) and `judgements`;
    `groups` [R], ascending, says which rows belong together."""

    reference: Tensor
    lengths: Tensor
    groups: Tensor
    judgements: Judgements

    def part(self, rows: slice, examples: Tensor, logprobs: Tensor) -> tuple[Outputs, Judgements]:
        """What a loss gets to see of some rows, logprobs [r, L], and the examples [p] among them."""
        told = self.judgements
        rejected = told.rejected[examples]
        moved = Judgements(
            told.chosen[examples] - rows.start,
            torch.where(rejected == NOTHING, rejected, rejected - rows.start),
            told.condition[examples],
            told.margin[examples],
        )
        return Outputs(logprobs, self.reference[rows], self.lengths[rows], self.groups[rows]), moved


class _Asked(NamedTuple):
    """The arguments of `losses` that are no part of the graph, and a place for what it returns besides the total."""

    head: Head
    targets: Tensor
    rows: Tensor
    coefficients: Tensor
    judged: Judged
    loss: Loss
    scale: float
    force: Name | None
    training: bool
    found: list[tuple[Tensor, Metrics]]


def losses(
    head: Head,
    hidden: Tensor,
    targets: Tensor,
    rows: Tensor,
    coefficients: Tensor,
    judged: Judged,
    loss: Loss,
    scale: float = 1.0,
    force: Name | None = None,
) -> tuple[Tensor, Tensor, Metrics]:
    """(scale · Σ losses, differentiable; losses [P]; metrics): `losses.outputs.total` of this head.

    hidden [N, d]; targets [N]; rows [N] ascending; coefficients [R', L', C] with R'·L' = R·L in row-major order, the R
    rows being those of `judged`. `force` names a formulation where it is possible (for measuring).
    """
    asked = _Asked(head, targets, rows, coefficients, judged, loss, scale, force, torch.is_grad_enabled(), [])
    total = _Losses.apply(hidden, asked, *parameters_of(head.layer).values())
    return total, *asked.found[0]


class _Losses(torch.autograd.Function):
    """The head's parameters are inputs, so that whoever listens to their gradients (DDP, FSDP) hears of them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, asked: _Asked, *parameters: Tensor) -> Tensor:
        names = ("hidden", *parameters_of(asked.head.layer))
        needs = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        wanted = frozenset(name for name, need in zip(names, needs, strict=True) if need and asked.training)
        work = Pass(
            asked.head, hidden.detach(), *asked[1:4], groups=asked.judged.groups, wanted=wanted, force=asked.force
        )
        with torch.autocast(hidden.device.type, enabled=False):
            found, metrics = _run(work, asked)
            asked.found.append((found, metrics))
            first = None if work.grad_hidden is None else work.grad_hidden.to(hidden.dtype)
            ctx.gradients = [first, *(work.weights.finished(name) if name in wanted else None for name in names[1:])]
            return found.sum() * asked.scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss were handed out already; compute the loss again")
        (hidden, *parameters), ctx.gradients = ctx.gradients, None
        if grad.device.type != "cpu" or grad.item() != 1.0:
            for gradient in (hidden, *parameters):
                if gradient is not None:
                    gradient.mul_(grad)
        return hidden, None, *parameters


def _run(work: Pass, asked: _Asked) -> tuple[Tensor, Metrics]:
    """(losses [P], metrics) of every example once, in their order; the gradients add up in `work`."""
    parts: list[tuple[Tensor, Tensor, Metrics]] = []
    for scope, examples in _scopes(work.units, asked.loss, asked.judged):
        work.prepare(scope)
        logprobs = [work.logprobs(unit, keep=bool(work.weights.wanted)) for unit in scope]
        rows = slice(scope[0].rows.start, scope[-1].rows.stop)
        found, metrics, grad = _judge(asked, rows, examples, torch.cat(logprobs), bool(work.weights.wanted))
        parts.append((examples, found, metrics))
        if work.weights.wanted:
            for unit, part in zip(scope, grad.split([len(own) for own in logprobs]), strict=True):
                work.gradients(unit, part)
    if not parts:  # nothing to judge: the losses of no example
        none = torch.zeros(0, dtype=torch.long, device=asked.rows.device)
        return _judge(asked, slice(0, 0), none, torch.zeros(0, 1, device=none.device), False)[:2]
    order = torch.cat([examples for examples, *_ in parts]).argsort()
    names = parts[0][2]
    return torch.cat([found for _, found, _ in parts])[order], {
        name: torch.cat([metrics[name] for *_, metrics in parts])[order] for name in names
    }


def _scopes(units: Sequence[Unit], loss: Loss, judged: Judged) -> Iterator[tuple[Sequence[Unit], Tensor]]:
    """Units that the loss must see together, and the examples [p] judged there; units without any are left out."""
    told = judged.judgements
    every = torch.arange(len(told.chosen), device=told.chosen.device)
    unit_of_row = torch.zeros(len(judged.lengths), dtype=torch.long, device=every.device)
    for number, unit in enumerate(units):
        unit_of_row[unit.rows] = number
    mine = unit_of_row[told.chosen]
    apart = (told.rejected != NOTHING) & (mine != unit_of_row[told.rejected])
    if not len(every):
        return
    if loss.couples == "batch" or len(units) == 1 or bool(apart.any()):
        yield units, every
        return
    for number, unit in enumerate(units):
        examples = every[mine == number]
        if len(examples):
            yield [unit], examples


def _judge(
    asked: _Asked, rows: slice, examples: Tensor, logprobs: Tensor, training: bool
) -> tuple[Tensor, Metrics, Tensor]:
    """(losses [p], metrics, scale · dΣL/dlogprobs [r, L]; none without training)."""
    with torch.set_grad_enabled(training):
        leaf = logprobs.detach().requires_grad_(training)
        found, metrics = asked.loss(*asked.judged.part(rows, examples, leaf))
        total = found.sum() * asked.scale
        grad = torch.autograd.grad(total, leaf)[0] if training else logprobs[:0]
    return found.detach(), metrics, grad
