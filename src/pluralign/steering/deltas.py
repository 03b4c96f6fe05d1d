"""The plural layer, the heart of pluralign: one base matrix, a change per objective, mixed by coefficients.

    y = (base share) W_0 x + (shared share) ΔW_s x + Σ_j λ_j ΔW_j x          λ per row (or per token, by an index)

The base share acts only in layers with a change per objective; where the shared adapter stands alone, it is 1.

ΔW is full [out, in] or low-rank B A with A [rank, in], B [out, rank]. Products B_j A_j are mixed, never A and B
apart. The coefficients of a row are [λ_1 .. λ_K, shared share, base share] (C = K + 2 numbers): the reference is
(0 .. 0, 0, 1). At initialisation every ΔW is zero, so every condition with base share 1 is the base model.

Where these layers stand names the paper: on the LM head, CMPO and logit-CLP (arXiv 2407.15762); on attention,
attn-CLP; on all linear layers, full-CLP; trained apart, rewarded soups (arXiv 2306.04488).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from pluralign.errors import ModelError


@dataclass
class SteerState:
    """The coefficients in force while a `steered` context is open; shared by all plural layers of a model.

    `width` is the number C of coefficients of a row (None: not checked).
    """

    width: int | None = None
    coefficients: Tensor | None = None
    index: Tensor | None = None
    owner: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextlib.contextmanager
    def set(self, coefficients: Float[Tensor, " *shape"], index: Int[Tensor, "R T"] | None = None) -> Iterator[None]:
        """Put coefficients [R, C] (and index [R, T] into them) in force.

        Raises ModelError from a second thread, and for coefficients of another width.
        """
        if coefficients.dim() != 2 or self.width not in (None, coefficients.shape[1]):
            raise ModelError(f"coefficients are [rows, {self.width or 'C'}], got shape {list(coefficients.shape)}")
        me = threading.get_ident()
        with self.lock:
            if self.owner not in (None, me):
                raise ModelError("this model is being steered by another thread; give each thread its own policy")
            before = (self.coefficients, self.index, self.owner)
            self.coefficients, self.index, self.owner = coefficients, index, me
        try:
            yield
        finally:
            self.coefficients, self.index, self.owner = before

    def __deepcopy__(self, memo: dict[int, Any]) -> SteerState:
        """Itself: a copied model is steered together with its original (a lock cannot be copied)."""
        return self

    def rows(self, tokens: Float[Tensor, " *shape"]) -> Tensor | None:
        """Coefficients shaped to broadcast over `tokens` [R, T, d]: [R, 1, C] or, with an index, [R, T, C]."""
        if self.coefficients is None:
            return None
        if tokens.dim() != 3:
            raise ModelError("a plural layer needs inputs [rows, tokens, width]; this architecture flattens them")
        if self.index is not None:
            if self.index.shape != tokens.shape[:2]:
                raise ModelError(
                    f"index {list(self.index.shape)} does not fit a batch of {list(tokens.shape[:2])} tokens"
                )
            return self.coefficients[self.index]
        if self.coefficients.shape[0] not in (1, tokens.shape[0]):
            raise ModelError(
                f"steered for {self.coefficients.shape[0]} rows, but the batch has {tokens.shape[0]}; give one row each"
            )
        return self.coefficients[:, None, :]


class Deltas(nn.Module):
    """`num` changes of one matrix: full (rank None) [out, in] each, or low-rank A [num, rank, in], B [num, out, rank].

    A ~ N(0, 1/in), B = 0 (full: 0), so that training starts at the base. `scale` multiplies the product (LoRA's
    alpha/rank; 1 for objectives). Full changes are parameters of their own, since each is as large as the base: one
    that a step does not ask for has no gradient in it, and no optimiser moves it. Thin ones are cheaper in one stack.
    """

    additive: ClassVar[bool] = True
    """whether each change is a term of its own (not so in `averaged.py`)"""

    def __init__(self, num: int, out_size: int, in_size: int, rank: int | None, scale: float = 1.0) -> None:
        super().__init__()
        self.num, self.rank, self.scale = num, rank, scale
        self.out_size, self.in_size = out_size, in_size
        if rank is None:
            self.full = nn.ParameterList(nn.Parameter(torch.zeros(out_size, in_size)) for _ in range(num))
        else:
            self.down = nn.Parameter(torch.randn(num, rank, in_size) * in_size**-0.5)
            self.up = nn.Parameter(torch.zeros(num, out_size, rank))

    def forward(
        self, inputs: Float[Tensor, "*N {self.in_size}"], shares: Float[Tensor, "*#N {self.num}"]
    ) -> Float[Tensor, "*N {self.out_size}"]:
        """Σ_j shares_j ΔW_j x: inputs [..., in], shares [..., num] (broadcastable) -> [..., out].

        Thin changes that no row asks for are left out of the products (an expert trained alone pays for itself only).
        """
        kind = inputs.dtype
        shares = shares.to(kind) * self.scale
        if self.rank is None:
            scaled = (shares[..., None] * inputs[..., None, :]).flatten(-2)
            return functional.linear(scaled, torch.cat([each.to(kind) for each in self.full], dim=1))
        down, up, shares = self._asked(shares)
        inner = functional.linear(inputs, down.to(kind).flatten(0, 1)).unflatten(-1, (len(down), -1))
        return functional.linear((inner * shares[..., None]).flatten(-2), up.to(kind).transpose(0, 1).flatten(1))

    def _asked(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(down, up, shares) of the changes that some row has a share of; on accelerators all, since looking would wait."""
        if self.num == 1 or shares.device.type != "cpu":
            return self.down, self.up, shares
        places = (shares.detach() != 0).reshape(-1, self.num).any(0).nonzero()[:, 0]
        if len(places) in (0, self.num):
            return self.down, self.up, shares
        return self.down[places], self.up[places], shares[..., places]

    def mixed(self, shares: Float[Tensor, " {self.num}"]) -> Float[Tensor, "{self.out_size} {self.in_size}"]:
        """The matrix Σ_j shares_j ΔW_j, shares [num] -> [out, in] (float32 or wider)."""
        shares = shares * self.scale
        if self.rank is None:
            return sum(
                (share * _wide(each) for share, each in zip(shares, self.full, strict=True)),
                start=torch.zeros(self.out_size, self.in_size, device=shares.device),
            )
        return torch.einsum("j,jor,jri->oi", shares, _wide(self.up), _wide(self.down))

    def factors(self, shares: Float[Tensor, " {self.num}"]) -> tuple[Tensor, Tensor]:
        """(A [r, in], B [out, r]) whose product is Σ_j shares_j ΔW_j of low-rank changes: those that have a share, side
        by side (r the sum of their ranks)."""
        used = shares.nonzero()[:, 0]
        up = (self.up * (shares * self.scale)[:, None, None])[used]
        return self.down[used].flatten(0, 1), up.transpose(0, 1).flatten(1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the tensors that files hold: `full` [num, out, in], or `down` and `up`."""
        if self.rank is None:
            return {"full": (self.num, self.out_size, self.in_size)}
        return {"down": tuple(self.down.shape), "up": tuple(self.up.shape)}

    def stacked(self) -> dict[str, Tensor]:
        """These tensors, detached."""
        if self.rank is None:
            return {"full": torch.stack([each.detach() for each in self.full])}
        return {"down": self.down.detach(), "up": self.up.detach()}

    @torch.no_grad()
    def put(self, name: str, tensor: Tensor) -> None:
        """The inverse of `stacked` for one tensor, whose shape must be right."""
        if name != "full":
            getattr(self, name).copy_(tensor)
            return
        for own, part in zip(self.full, tensor, strict=True):
            own.copy_(part)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class PluralLinear(nn.Module):
    """A linear layer with a change per objective and a shared one; see the module's equation.

    `base` is an nn.Linear (or transformers' Conv1D, whose weight is transposed). Either kind of change may be absent
    (None). Outside a `steered` context the layer is its base. A bias belongs to the base share, which is 1 in layers
    without a change per objective: the literal form (Σλ) W_0 + Σ λ_j ΔW_j is about the layers that are plural.
    """

    base: Any

    def __init__(self, base: nn.Module, state: SteerState, objectives: Deltas | None, shared: Deltas | None) -> None:
        super().__init__()
        self.base, self.objectives, self.shared = base, objectives, shared
        self._state = [state]  # in a list, since nn.Module looks at plain attributes

    @property
    def state(self) -> SteerState:
        """The steering in force."""
        return self._state[0]

    def forward(self, inputs: Float[Tensor, "*N in_size"]) -> Float[Tensor, "*N out_size"]:
        """[R, T, in] -> [R, T, out] under the coefficients in force."""
        rows = self.state.rows(inputs)
        return self.base(inputs) if rows is None else self.mix(inputs, rows)

    def mix(self, inputs: Float[Tensor, "*N in_size"], rows: Float[Tensor, "*#N C"]) -> Float[Tensor, "*N out_size"]:
        """The module's equation: inputs [..., in], rows [..., C] (broadcastable) -> [..., out]."""
        outputs = self.common(inputs, rows)
        return outputs if self.objectives is None else outputs + self.objectives(inputs, rows[..., :-2])

    def common(self, inputs: Float[Tensor, "*N in_size"], rows: Float[Tensor, "*#N C"]) -> Float[Tensor, "*N out_size"]:
        """What does not depend on the weights: the base's and the shared terms; shapes as in `mix`."""
        outputs = self.base(inputs)
        if self.objectives is not None:
            outputs = outputs * rows[..., -1:].to(outputs.dtype)
        return outputs if self.shared is None else outputs + self.shared(inputs, rows[..., -2:-1])

    @torch.no_grad()
    def merged(
        self, coefficients: Float[Tensor, " C"]
    ) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, " out_size"] | None]:
        """(weight in the base's own layout, bias) for coefficients [C], mixed in float32."""
        coefficients = coefficients.float().to(self.base.weight.device)
        base_share = 1.0 if self.objectives is None else float(coefficients[-1])
        weight = self.base.weight.float() * base_share
        transposed = not isinstance(self.base, nn.Linear)
        for deltas, shares in ((self.shared, coefficients[-2:-1]), (self.objectives, coefficients[:-2])):
            if deltas is not None:
                change = deltas.mixed(shares)
                weight = weight + (change.T if transposed else change)
        bias = getattr(self.base, "bias", None)
        return weight.to(self.base.weight.dtype), None if bias is None else bias * base_share


def sizes(layer: nn.Module) -> tuple[int, int]:
    """(out, in) of a linear layer; ModelError for any other module."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    if type(layer).__name__ == "Conv1D":  # transformers' GPT-2 layer: weight [in, out]
        return layer.weight.shape[1], layer.weight.shape[0]  # type: ignore[index,return-value]
    raise ModelError(f"a plural layer can replace nn.Linear or Conv1D, not {type(layer).__name__}")


def is_linear(layer: nn.Module) -> bool:
    """Whether `sizes` accepts this layer."""
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"
