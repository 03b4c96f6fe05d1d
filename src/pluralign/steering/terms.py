"""The matrices a head is made of, each as a term  coefficient · (x Wᵀ): full (W) or low-rank (W = B A).

The products here are the whole cost of a head: per token and full term, d·V multiplications for the logits, as many
for the hidden states' gradient, and as many for W's own. A frozen matrix pays no third, a frozen trunk no second.

Letters: T tokens, V vocabulary, d hidden width, r rank, K objectives.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pluralign.steering.deltas import Deltas, PluralLinear

ONE = None  # the column of a term whose coefficient is always 1


class Workspace:
    """Buffers by name, kept between calls: fresh pages cost more than the arithmetic done in them."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}
        self._lent: list[tuple[Tensor, weakref.ref[Any]]] = []

    def take(self, name: str, shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
        """A buffer [*shape] on the device of `like` with whatever it held; taking a name again takes it away."""
        size = torch.Size(shape).numel()
        flat = self._flat.get(name)
        if flat is None or flat.numel() < size or flat.dtype != dtype or flat.device != like.device:
            self._flat.pop(name, None)  # free it before its successor is made
            flat = self._flat[name] = torch.empty(size, dtype=dtype, device=like.device)
        return flat[:size].view(torch.Size(shape))

    def lend(self, shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
        """A tensor [*shape] that its receiver may keep; its memory is used again when nobody holds it any more."""
        if like.device.type != "cpu":
            return torch.empty(shape, dtype=dtype, device=like.device)  # CUDA's allocator does the same
        size = torch.Size(shape).numel()
        free = [place for place, (_, held) in enumerate(self._lent) if held() is None]
        fit = [place for place in free if self._lent[place][0].numel() == size and self._lent[place][0].dtype == dtype]
        memory = self._lent[fit[-1]][0] if fit else torch.empty(size, dtype=dtype)
        gone = fit[-1:] or free  # what fits nothing is given back when something new is made
        self._lent = [entry for place, entry in enumerate(self._lent) if place not in gone]
        holder = memory.numpy().view()  # lives as long as the storage made from it, whatever shares that
        self._lent.append((memory, weakref.ref(holder)))
        return torch.from_numpy(holder).view(torch.Size(shape))

    def clear(self) -> None:
        """Give the memory back."""
        self._flat.clear()
        self._lent.clear()

    def __deepcopy__(self, memo: object) -> Workspace:
        return Workspace()


def product(out: Tensor, left: Tensor, right: Tensor, add: bool, alpha: float = 1.0) -> None:
    """out = alpha · left @ right (+ out), in place; `out` may be strided, and of a wider dtype than the factors."""
    if out.dtype == left.dtype:
        torch.addmm(out, left, right, beta=1.0 if add else 0.0, alpha=alpha, out=out)
    elif add:
        out.add_(left @ right, alpha=alpha)
    else:
        out.copy_(left @ right).mul_(alpha)


def linear_of(layer: nn.Module) -> nn.Linear | None:
    """The plain nn.Linear under a head whose arithmetic is exactly ours; None for any other module."""
    parts = [layer, layer.base] if isinstance(layer, PluralLinear) else [layer]
    if not getattr(getattr(layer, "objectives", None), "additive", True):
        return None
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    return parts[-1] if type(parts[-1]) is nn.Linear and not hooked else None


def parameters_of(layer: nn.Module) -> dict[str, Tensor]:
    """The tensors of a head (`linear_of` knows it) by the names that the terms use."""
    linear = linear_of(layer)
    assert linear is not None
    found: dict[str, Tensor | None] = {"base": linear.weight, "bias": linear.bias}
    for prefix, deltas in (("", getattr(layer, "objectives", None)), ("shared_", getattr(layer, "shared", None))):
        if isinstance(deltas, Deltas):
            found.update({prefix + name: tensor for name, tensor in deltas.named_parameters()})
    return {name: tensor for name, tensor in found.items() if tensor is not None}


@dataclass
class Weights:
    """The head's `tensors` by name, read in the dtype of the products (`kind`), and the sums of their `gradients`
    (float32 or wider) for the names in `wanted`; `workspace` has the buffers."""

    tensors: dict[str, Tensor]
    kind: torch.dtype
    wanted: frozenset[str] = frozenset()
    workspace: Workspace = field(default_factory=Workspace)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    _cast: dict[str, Tensor] = field(default_factory=dict)
    _begun: set[tuple[str, int]] = field(default_factory=set)
    _folded: dict[int, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._cast:
            self._cast[name] = self.tensors[name].detach().to(self.kind)
        return self._cast[name]

    def gradient(self, name: str, place: int = 0) -> tuple[Tensor, bool]:
        """(the sum so far of one matrix's gradient, whether it holds anything yet); `place`: in a stack of thin ones."""
        tensor = self.tensors[name]
        if name not in self.gradients:
            wide = torch.promote_types(tensor.dtype, torch.float32)
            thin = name.endswith("up")  # products of tall, thin matrices are faster into rows of length V
            lent = self.workspace.lend(tensor.mT.shape if thin else tensor.shape, tensor, wide)
            self.gradients[name] = lent.mT if thin else lent
        begun = (name, place) in self._begun
        self._begun.add((name, place))
        whole = self.gradients[name]
        return (whole[place] if whole.dim() == 3 else whole), begun

    def add(self, name: str, place: int, left: Tensor, right: Tensor, alpha: float = 1.0) -> None:
        """Gradient of one matrix += alpha · left @ right, where it is wanted."""
        if name in self.wanted:
            into, begun = self.gradient(name, place)
            product(into, left, right, begun, alpha)

    def finished(self, name: str) -> Tensor | None:
        """The gradient of a tensor: None where nothing touched it, 0 for what nothing touched in a stack.

        Among several processes it is never None: what they exchange (FSDP) must be the same tensors everywhere.
        """
        tensor = self.tensors[name]
        if name not in self.gradients:
            return torch.zeros_like(tensor) if _among_others() else None
        for place in range(len(tensor) if tensor.dim() == 3 else 0):
            if (name, place) not in self._begun:
                self.gradients[name][place].zero_()
        return self.gradients.pop(name).to(tensor.dtype)

    def folded(self, place: int) -> Tensor:
        """W_0 + ΔW_j [V, d] of a full objective, made once per call."""
        if place not in self._folded:
            base = self["base"]
            buffer = self.workspace.take(f"folded {len(self._folded)}", base.shape, base, self.kind)
            self._folded[place] = torch.add(base, self[f"full.{place}"], out=buffer)
        return self._folded[place]


def _among_others() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


@dataclass(frozen=True)
class Term(ABC):
    """One matrix: `column` of a row's coefficients and a constant `scale` make its coefficient.

    Its tensors are named `prefix` + "full.PLACE", or "down" and "up", where it is the one at `place` of a stack.
    """

    column: int | None
    scale: float
    prefix: str = ""
    place: int = 0

    def coefficient(self, table: Tensor) -> Tensor:
        """Coefficients [..., C] -> this term's [...]."""
        if self.column is ONE:
            return torch.full_like(table[..., 0], self.scale)
        return table[..., self.column] * self.scale

    @abstractmethod
    def matrix(self, weights: Weights) -> Tensor:
        """W [V, d]."""

    @abstractmethod
    def logits(self, weights: Weights, hidden: Tensor, out: Tensor, add: bool) -> None:
        """out [T, V] = x Wᵀ (+ out)."""

    @abstractmethod
    def backward(self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None) -> None:
        """From dL/dlogits [T, V]: the matrix's gradient, and dL/dx added to `grad_hidden` [T, d]."""

    @abstractmethod
    def spread(self, weights: Weights, grad: Tensor, share: float) -> None:
        """The matrix's gradient += share · dL/dW_λ [V, d]."""


@dataclass(frozen=True)
class Full(Term):
    """A full matrix: W_0 (with the head's bias), ΔW_s or ΔW_j, the tensor `name`; `fold`: W_0 + ΔW_j instead of ΔW_j."""

    name: str = "base"
    fold: bool = False

    @property
    def is_change(self) -> bool:
        """Whether it is an objective's."""
        return self.name.startswith("full")

    def matrix(self, weights: Weights) -> Tensor:
        """W [V, d]."""
        return weights.folded(self.place) if self.fold else weights[self.name]

    @property
    def has_bias(self) -> bool:
        """Whether the head's bias, if there is one, comes with this term."""
        return self.name == "base" or self.fold

    def logits(self, weights: Weights, hidden: Tensor, out: Tensor, add: bool) -> None:
        """x Wᵀ + bias."""
        product(out, hidden, self.matrix(weights).T, add)
        if self.has_bias and "bias" in weights.tensors:
            out.add_(weights["bias"])

    def backward(self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None) -> None:
        """dW += gradᵀ x; dx += grad W."""
        weights.add(self.name, 0, grad.T, hidden)
        if self.has_bias and "bias" in weights.wanted:
            into, begun = weights.gradient("bias")
            into.copy_(grad.sum(0, dtype=into.dtype) + (into if begun else 0.0))
        if grad_hidden is not None:
            product(grad_hidden, grad, self.matrix(weights), add=True)

    def spread(self, weights: Weights, grad: Tensor, share: float) -> None:
        """dW += share · dW_λ."""
        if self.name in weights.wanted:
            into, begun = weights.gradient(self.name)
            into.add_(grad, alpha=share) if begun else torch.mul(grad, share, out=into)


@dataclass(frozen=True)
class Low(Term):
    """A low-rank matrix B A with A [r, d], B [V, r]."""

    def factors(self, weights: Weights) -> tuple[Tensor, Tensor]:
        """(A [r, d], B [V, r])."""
        return weights[f"{self.prefix}down"][self.place], weights[f"{self.prefix}up"][self.place]

    def matrix(self, weights: Weights) -> Tensor:
        """W = B A."""
        down, up = self.factors(weights)
        return up @ down

    def logits(self, weights: Weights, hidden: Tensor, out: Tensor, add: bool) -> None:
        """(x Aᵀ) Bᵀ."""
        down, up = self.factors(weights)
        product(out, hidden @ down.T, up.T, add)

    def backward(self, weights: Weights, hidden: Tensor, grad: Tensor, grad_hidden: Tensor | None) -> None:
        """With u = x Aᵀ and du = grad B:  dB += gradᵀ u,  dA += duᵀ x,  dx += du A."""
        down, up = self.factors(weights)
        inner = grad @ up
        weights.add(f"{self.prefix}up", self.place, grad.T, hidden @ down.T)
        weights.add(f"{self.prefix}down", self.place, inner.T, hidden)
        if grad_hidden is not None:
            product(grad_hidden, inner, down, add=True)

    def spread(self, weights: Weights, grad: Tensor, share: float) -> None:
        """dB += share · dW_λ Aᵀ;  dA += share · Bᵀ dW_λ."""
        down, up = self.factors(weights)
        weights.add(f"{self.prefix}up", self.place, grad, down.T, share)
        weights.add(f"{self.prefix}down", self.place, up.T, grad, share)


def terms_of(layer: nn.Module, scale: float) -> list[Term]:
    """The terms of a head: its base, its shared change, its objectives' changes. `scale`: of the epilogue."""
    if not isinstance(layer, PluralLinear):
        return [Full(ONE, scale, name="base")]
    terms: list[Term] = [Full(ONE if layer.objectives is None else -1, scale, name="base")]
    for prefix, deltas in (("shared_", layer.shared), ("", layer.objectives)):
        if deltas is None:
            continue
        for place in range(deltas.num):
            column, size = place if prefix == "" else -2, scale * deltas.scale
            low = deltas.rank is not None
            terms.append(
                Low(column, size, prefix, place) if low else Full(column, size, prefix, place, f"{prefix}full.{place}")
            )
    return terms
