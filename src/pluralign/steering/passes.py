"""Units of a batch through a head: their log-probabilities, and gradients from the loss's derivative by these.

Letters: N tokens, R' rows of the trunk, R rows of the batch, L conditions of a row, C coefficients, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pluralign.steering.formulations import Name, choose
from pluralign.steering.head import Head
from pluralign.steering.softmax import Softmax
from pluralign.steering.terms import Weights, linear_of, parameters_of, terms_of
from pluralign.steering.units import Piece, Unit, units


class Pass:
    """One call: the head's weights, the tokens, and the sums of the gradients they give.

    hidden [N, d] (detached), targets [N], rows [N] ascending, coefficients [R', L', C], groups [R] ascending;
    `wanted`: which gradients are formed, of hidden and of the head's parameters by name.
    """

    def __init__(
        self,
        head: Head,
        hidden: Tensor,
        targets: Tensor,
        rows: Tensor,
        coefficients: Tensor,
        groups: Tensor,
        wanted: frozenset[str] = frozenset(),
        force: Name | None = None,
    ) -> None:
        self.head, self.targets, self.rows, self.force = head, targets, rows, force
        self.weights = Weights(parameters_of(head.layer), product_dtype(head, hidden), wanted, head.workspace)
        self.hidden = hidden.to(self.weights.kind)
        self.wide = torch.promote_types(self.weights.kind, torch.float32)
        self.grad_hidden = torch.zeros_like(hidden, dtype=self.wide) if "hidden" in wanted else None
        self.terms = terms_of(head.layer, head.epilogue.scale)
        self.vocabulary = len(self.weights.tensors["base"])
        counts = torch.bincount(rows, minlength=len(coefficients)).cpu()
        self.units = units(self.terms, coefficients.cpu(), counts, groups.cpu(), self.vocabulary)

    def prepare(self, scope: Sequence[Unit]) -> None:
        """Choose the formulation of units that are worked on together, and give their logits a place."""
        used = 0
        for unit in scope:
            rows, trunk = self._table_rows(unit), self.grad_hidden is not None
            unit.formulation = choose(self.terms, unit.table, self.weights, rows, trunk, self.force)
            used = unit.cut(self.vocabulary, used)
        self._kept = self.weights.workspace.take("planes", (used,), self.hidden, self.weights.kind)

    def logprobs(self, unit: Unit, keep: bool) -> Tensor:
        """Σ_t log p(y_t) [r, L] of the unit's rows, float64; `keep`: for `gradients`."""
        found = []
        for piece in unit.pieces:
            softmax = self._softmax(unit, piece)
            found.append(softmax.logprobs())
            piece.softmax = softmax if keep and piece.offset is not None else None
        shape = unit.table.shape[:2]
        sums = self.hidden.new_zeros(shape, dtype=torch.float64)  # δ is the small difference of sums of 1000 nats
        if found:
            sums.index_add_(0, self._table_rows(unit), torch.cat(found).double())
        return sums[:, unit.place.to(sums.device)].reshape(unit.rows.stop - unit.rows.start, -1)

    def gradients(self, unit: Unit, grad: Tensor) -> None:
        """Add the gradients that follow from g = dL/dlogprobs [r, L] of the unit's rows."""
        assert unit.formulation is not None
        place = unit.place.to(grad.device)
        rows = grad.new_zeros(unit.table.shape[:2]).index_add_(1, place, grad.reshape(-1, len(place)))
        shares = rows.to(self.wide)[self._table_rows(unit)]
        for piece in unit.pieces:
            softmax, piece.softmax = piece.softmax, None
            if softmax is None:
                softmax = self._softmax(unit, piece)
                softmax.logprobs()
            planes = softmax.gradient(shares[piece.inside])
            into = None if self.grad_hidden is None else self.grad_hidden[piece.tokens]
            unit.formulation.backward(self.weights, self.hidden[piece.tokens], planes, into, piece.inside)

    def _table_rows(self, unit: Unit) -> Tensor:
        """The row of the unit's table that each of its tokens belongs to."""
        return self.rows[unit.tokens] - unit.trunk_rows.start

    def _softmax(self, unit: Unit, piece: Piece) -> Softmax:
        assert unit.formulation is not None
        shape = (piece.inside.stop - piece.inside.start, unit.formulation.width, self.vocabulary)
        if piece.offset is None:
            planes = self.weights.workspace.take("planes again", shape, self.hidden, self.weights.kind)
        else:
            planes = self._kept[piece.offset :][: torch.Size(shape).numel()].view(shape)
        unit.formulation.logits(self.weights, self.hidden[piece.tokens], planes, piece.inside)
        mix = None if unit.formulation.mix is None else unit.formulation.mix[piece.inside]
        cap = self.head.epilogue.soft_cap
        return Softmax(planes, self.targets[piece.tokens], mix, cap, self.weights.workspace)


def supports(head: Head) -> bool:
    """Whether the head's arithmetic is exactly what these files do: an nn.Linear, plain or plural, without hooks."""
    return linear_of(head.layer) is not None


def product_dtype(head: Head, hidden: Tensor) -> torch.dtype:
    """The dtype of the head's products: autocast's, or its own."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.dtype


@torch.no_grad()
def summed_logprobs(head: Head, hidden: Tensor, targets: Tensor, rows: Tensor, coefficients: Tensor) -> Tensor:
    """Σ_t log p(y_t) [R, L] in nats, float64, without gradient: hidden [N, d], targets [N], rows [N] ascending,
    coefficients [R, L, C]."""
    whole = Pass(head, hidden, targets, rows, coefficients, torch.arange(len(coefficients)))
    found = [torch.zeros(0, coefficients.shape[1], device=hidden.device)]
    with torch.autocast(hidden.device.type, enabled=False):
        for unit in whole.units:
            whole.prepare([unit])
            found.append(whole.logprobs(unit, keep=False))
    return torch.cat(found)
