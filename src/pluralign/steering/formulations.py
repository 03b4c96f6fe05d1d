"""Three ways to the same logits of L conditions, and the rule that chooses.

A head's terms W_p have coefficients c[t, l, p] (token, condition, term); wanted are z[t, l] = Σ_p c[t, l, p] W_p x_t.

    mix logits   Z_p = W_p x once per term, then z_l = Σ_p c_lp Z_p          3·P products of full size
    mix weights  W_l = Σ_p c_lp W_p once per condition, then z_l = W_l x     3·L products, where all tokens share c
    mix ranks    z_l = Z_0 + [c_l1 A_1 x, c_l2 A_2 x, ..] [B_1, B_2, ..]ᵀ    2 or 3 products and L·(Σ r)/d of one

A formulation fills *planes* [T, W, V]: the terms' logits (to be mixed by `mix` [T, L, W]) or the conditions' own
(`mix` None). Backward takes dL/dplanes. Terms whose coefficient is 0 for every token of a unit are never touched.

A full change and its base can be one plane, W_0 + ΔW_j, where the base's coefficient is the sum of the changes'
(Σλ = 1): P is then the number of active objectives, without the base.

Letters: T tokens, V vocabulary, d hidden width, L conditions, P terms, W planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from pluralign.steering.terms import Full, Low, Term, Weights, product

Name = Literal["logits", "weights", "ranks"]
FOLD_NUMBERS = 1 << 26
"""Numbers of W_0 + ΔW_j kept at most; beyond it the base is a plane of its own."""
MOVED, HANDLED = 35.0, 14.0
"""What it costs to move a number to or from memory, and to mix and exponentiate one in cache, in multiplications."""
THIN = 20.0
"""What a product with a few columns costs besides: as if there were so many more."""
STARTED = 240_000.0
"""What the small products of one token's mix cost besides, in multiplications: much where the vocabulary is small."""


class Formulation(Protocol):
    """How the planes of a unit are made and taken back; `width` planes, `mix` [T, L, W] or None."""

    @property
    def width(self) -> int:
        """W."""

    @property
    def mix(self) -> Tensor | None:
        """[T, L, W]."""

    def logits(self, weights: Weights, hidden: Tensor, planes: Tensor, tokens: slice) -> None:
        """Fill planes [T, W, V] for hidden [T, d]; `tokens`: their place in the unit."""

    def backward(
        self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None, tokens: slice
    ) -> None:
        """Add the gradients of the matrices and of hidden, from grad = dL/dplanes [T, W, V] (which may be spoilt)."""


@dataclass
class MixLogits:
    """A plane for each of the `groups` of terms that have one coefficient; the conditions are their `mix` [T, L, W]."""

    groups: list[list[Term]]
    mix: Tensor | None

    @property
    def width(self) -> int:
        """W."""
        return len(self.groups)

    def logits(self, weights: Weights, hidden: Tensor, planes: Tensor, tokens: slice) -> None:
        """Each group's logits."""
        for plane, group in zip(planes.unbind(1), self.groups, strict=True):
            for number, term in enumerate(group):
                term.logits(weights, hidden, plane, add=number > 0)

    def backward(
        self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None, tokens: slice
    ) -> None:
        """Each group's terms get its plane's gradient."""
        for plane, group in zip(grad.unbind(1), self.groups, strict=True):
            for term in group:
                term.backward(weights, hidden, plane, grad_hidden)


@dataclass
class MixWeights:
    """A matrix per condition, `mix`ed beforehand: `table` [L, P] of the `terms` holds for every token of the unit."""

    terms: list[Term]
    table: list[list[float]]
    mix: None = None

    @property
    def width(self) -> int:
        """W = L."""
        return len(self.table)

    def _matrix(self, weights: Weights, row: Sequence[float]) -> Tensor:
        first, *rest = self.terms
        start = first.matrix(weights)
        mixed = weights.workspace.take("mixed", start.shape, start, weights.kind)
        torch.mul(start, row[0], out=mixed)
        for share, term in zip(row[1:], rest, strict=True):
            if share:
                mixed.add_(term.matrix(weights), alpha=share)
        return mixed

    def _bias(self, row: Sequence[float]) -> float:
        return sum(
            share for share, term in zip(row, self.terms, strict=True) if isinstance(term, Full) and term.has_bias
        )

    def logits(self, weights: Weights, hidden: Tensor, planes: Tensor, tokens: slice) -> None:
        """z_l = W_l x."""
        for plane, row in zip(planes.unbind(1), self.table, strict=True):
            product(plane, hidden, self._matrix(weights, row).T, add=False)
            if "bias" in weights.tensors:
                plane.add_(weights["bias"], alpha=self._bias(row))

    def backward(
        self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None, tokens: slice
    ) -> None:
        """dW_l = dz_lᵀ x, spread over the terms: ∂L/∂W_p = Σ_l c_lp dW_l."""
        wide = torch.promote_types(weights.kind, torch.float32)
        for plane, row in zip(grad.unbind(1), self.table, strict=True):
            if grad_hidden is not None:
                product(grad_hidden, plane, self._matrix(weights, row), add=True)
            change = weights.workspace.take("change", (plane.shape[1], hidden.shape[1]), hidden, wide)
            product(change, plane.T, hidden, add=False)
            for share, term in zip(row, self.terms, strict=True):
                if share:
                    term.spread(weights, change if isinstance(term, Full) else change.to(weights.kind), share)
            if "bias" in weights.wanted:
                into, begun = weights.gradient("bias")
                into.copy_(plane.sum(0, dtype=wide) * self._bias(row) + (into if begun else 0.0))


@dataclass
class MixRanks:
    """`full` terms with one coefficient for the whole unit, made once; `low` terms with their ranks side by side.

    `shares` [T, L, number of low terms] are their coefficients; there is nothing left to `mix`.
    """

    full: list[tuple[Full, float]]
    low: list[Low]
    shares: Tensor
    mix: None = None

    @property
    def width(self) -> int:
        """W = L."""
        return self.shares.shape[1]

    def _spread_shares(self, weights: Weights, tokens: slice, condition: int) -> Tensor:
        """[T, Σ r]: each low term's share, once per rank."""
        ranks = torch.tensor([term.factors(weights)[0].shape[0] for term in self.low], device=self.shares.device)
        return self.shares[tokens, condition].to(weights.kind).repeat_interleave(ranks, dim=1)

    def _common(self, weights: Weights, hidden: Tensor, out: Tensor) -> None:
        if not self.full:
            out.zero_()
        for number, (term, share) in enumerate(self.full):
            term.logits(weights, hidden if share == 1 else hidden * share, out, add=number > 0)
            if share != 1 and term.has_bias and "bias" in weights.tensors:
                out.add_(weights["bias"], alpha=share - 1)

    def logits(self, weights: Weights, hidden: Tensor, planes: Tensor, tokens: slice) -> None:
        """z_l = Z_0 + (c_l ⊙ x Aᵀ) Bᵀ over all ranks at once."""
        first, *rest = planes.unbind(1)
        self._common(weights, hidden, first)
        for plane in rest:
            plane.copy_(first)
        if self.low:
            down, up = self._factors(weights)
            inner = hidden @ down.T
            for condition, plane in enumerate(planes.unbind(1)):
                product(plane, inner * self._spread_shares(weights, tokens, condition), up, add=True)

    def _factors(self, weights: Weights) -> tuple[Tensor, Tensor]:
        """(A [Σ r, d], Bᵀ [Σ r, V]) of all low terms."""
        downs, ups = zip(*(term.factors(weights) for term in self.low), strict=True)
        return torch.cat(downs), torch.cat([up.T for up in ups])

    def backward(
        self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None, tokens: slice
    ) -> None:
        """The low terms from each plane; the full ones from the sum of all planes."""
        if self.low:
            self._low_backward(weights, hidden, grad, grad_hidden, tokens)
        trained = any({term.name, "bias"} & weights.wanted for term, _ in self.full)
        if not trained and grad_hidden is None:
            return
        total = grad[:, 0]
        for plane in grad.unbind(1)[1:]:
            total.add_(plane)
        for term, share in self.full:
            term.backward(weights, hidden, total if share == 1 else total * share, grad_hidden)

    def _low_backward(
        self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None, tokens: slice
    ) -> None:
        down, up = self._factors(weights)
        inner = hidden @ down.T
        grad_inner = torch.zeros_like(inner, dtype=torch.promote_types(weights.kind, torch.float32))
        sizes = [term.factors(weights)[0].shape[0] for term in self.low]
        for condition, plane in enumerate(grad.unbind(1)):
            shares = self._spread_shares(weights, tokens, condition)
            grad_inner += (plane @ up.T) * shares
            for term, part in zip(self.low, (inner * shares).split(sizes, dim=1), strict=True):
                weights.add(f"{term.prefix}up", term.place, plane.T, part)
        grad_inner = grad_inner.to(weights.kind)
        for term, part in zip(self.low, grad_inner.split(sizes, dim=1), strict=True):
            weights.add(f"{term.prefix}down", term.place, part.T, hidden)
        if grad_hidden is not None:
            product(grad_hidden, grad_inner, down, add=True)


def choose(
    terms: Sequence[Term], coefficients: Tensor, weights: Weights, rows: Tensor, trunk: bool, force: Name | None = None
) -> Formulation:
    """The cheapest formulation of a unit by the rule above, or the one named by `force` where it is possible.

    coefficients [R, L, P] of the unit's rows on the CPU (no two conditions alike), rows [T] on the device, `trunk`:
    whether the hidden states' gradient is wanted.
    """
    options = _options(terms, coefficients, weights, rows)
    if force in options:
        return options[force]
    size = (len(rows), *weights.tensors["base"].shape)
    return min(options.values(), key=lambda option: _cost(option, size, weights, trunk))


def _options(terms: Sequence[Term], table: Tensor, weights: Weights, rows: Tensor) -> dict[Name, Formulation]:
    active = [number for number in range(len(terms)) if bool(table[..., number].any())] or [0]
    terms, table = [terms[number] for number in active], table[..., active]
    options: dict[Name, Formulation] = {"logits": _mix_logits(terms, table, weights, rows)}
    if bool((table == table[:1]).all()):
        options["weights"] = MixWeights(list(terms), table[0].tolist())
    constant = (table == table[:1, :1]).all(0).all(0).tolist()
    if all(same for term, same in zip(terms, constant, strict=True) if isinstance(term, Full)):
        full = [(t, float(table[0, 0, i])) for i, t in enumerate(terms) if isinstance(t, Full)]
        low = [(t, i) for i, t in enumerate(terms) if isinstance(t, Low)]
        shares = table[..., [i for _, i in low]].to(rows.device)[rows]
        options["ranks"] = MixRanks(full, [t for t, _ in low], shares)
    return options


def _mix_logits(terms: Sequence[Term], table: Tensor, weights: Weights, rows: Tensor) -> MixLogits:
    terms, table = _fold(terms, table, weights)
    groups: list[list[Term]] = []
    columns: list[Tensor] = []
    for number, term in enumerate(terms):
        same = [place for place, column in enumerate(columns) if torch.equal(column, table[..., number])]
        if same:
            groups[same[0]].append(term)
        else:
            groups.append([term])
            columns.append(table[..., number])
    return MixLogits(groups, torch.stack(columns, -1).to(rows.device)[rows])


def _fold(terms: Sequence[Term], table: Tensor, weights: Weights) -> tuple[list[Term], Tensor]:
    """Let the base join the full changes, where its coefficient is their sum."""
    changes = [n for n, term in enumerate(terms) if isinstance(term, Full) and term.is_change]
    base = [n for n, term in enumerate(terms) if isinstance(term, Full) and term.name == "base"]
    numbers = len(changes) * weights.tensors["base"].numel()
    if not changes or not base or numbers > FOLD_NUMBERS or weights.wanted & {"base", "bias"}:
        return list(terms), table
    if not torch.allclose(table[..., changes].sum(-1), table[..., base[0]], rtol=1e-6, atol=1e-6):
        return list(terms), table
    kept = [n for n in range(len(terms)) if n != base[0]]
    folded = [replace(terms[n], fold=True) if n in changes else terms[n] for n in kept]  # type: ignore[call-arg]
    return folded, table[..., kept]


def _cost(option: Formulation, size: tuple[int, int, int], weights: Weights, trunk: bool) -> float:
    """Multiplications, and numbers moved in the same unit, per T·V."""
    tokens, _, width = size
    conditions = option.width if option.mix is None else option.mix.shape[1]
    planes = 5.0 * MOVED * option.width
    if isinstance(option, MixWeights):
        made = 4.0 * MOVED * len(option.terms) * option.width * width / tokens
        return (2 + trunk) * option.width * width + made + planes + conditions * HANDLED
    if isinstance(option, MixRanks):
        full = sum(_products(term, weights, trunk) for term, _ in option.full)
        low = option.width * sum(_products(term, weights, True) for term in option.low)
        return full + low + 2 * planes - 5.0 * MOVED + conditions * HANDLED  # Z_0 is copied, gradients are summed
    assert isinstance(option, MixLogits)
    full = sum(_products(term, weights, trunk) for group in option.groups for term in group)
    return full + planes + STARTED / len(weights.tensors["base"]) + conditions * (2 * HANDLED + 3.0 * option.width)


def _products(term: Term, weights: Weights, trunk: bool) -> float:
    """Multiplications of a term's logits and gradients, per T·V."""
    if isinstance(term, Full):
        return (1 + trunk + (term.name in weights.wanted)) * weights.tensors["base"].shape[1]
    return 3.0 * (THIN + weights.tensors[f"{term.prefix}down"].shape[-2])
