"""Putting plural layers into a Hugging Face model, and taking plain weights out again."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pluralign.errors import ConfigError, ModelError
from pluralign.steering.deltas import Deltas, PluralLinear, SteerState, is_linear, sizes

PARTS = ("objectives", "shared")  # of a plural layer
Where = Literal["head", "attention", "all"]
Rank = int | Literal["full"]


@dataclass(frozen=True, slots=True)
class DeltaSpec:
    """Which layers get which changes. A rank of "full" is a full matrix; `shared_*` is the trunk's one adapter; `changes`
    says how the objectives' changes are mixed."""

    num_objectives: int = 0
    where: Where = "head"
    rank: Rank = 16
    shared_where: Where | None = None
    shared_rank: Rank = 16
    shared_alpha: float = 32.0
    seed: int = 0
    changes: type[Deltas] = Deltas

    def __post_init__(self) -> None:
        for name in ("where", "shared_where"):
            value = getattr(self, name)
            if value not in ("head", "attention", "all") and not (name == "shared_where" and value is None):
                raise ConfigError(f"{name} is head, attention or all, got {value!r}")
        for name in ("rank", "shared_rank"):
            value = getattr(self, name)
            if value != "full" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} is a positive number or 'full', got {value!r}")


def layer_names(model: nn.Module, where: Where) -> list[str]:
    """Names of the linear layers that `where` means: the LM head, the attention projections, or all of them."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    linear = {name: layer for name, layer in model.named_modules() if is_linear(layer)}
    chosen = {
        "head": [name for name, layer in linear.items() if layer is head],
        "attention": [name for name in linear if "attn" in name or "attention" in name],
        "all": list(linear),
    }[where]
    if not chosen:
        raise ModelError(f"found no {where} layers (nn.Linear or Conv1D) in {type(model).__name__}")
    return chosen


def install(
    model: nn.Module, spec: DeltaSpec, expand: Callable[[Tensor], Tensor], width: int | None = None
) -> SteerState:
    """Replace the layers that `spec` names by plural ones and give the model its `steer=` keyword.

    `expand` turns weights [R, K] into coefficients [R, C], C = `width` (None: not checked). All base parameters are frozen. Raises ModelError if the
    model has been through here before.
    """
    if any(isinstance(module, PluralLinear) for module in model.modules()):
        raise ModelError("this model is steered already; load a fresh one")
    state = SteerState(width)
    model.requires_grad_(False)
    own = set(layer_names(model, spec.where)) if spec.num_objectives else set()
    shared = set(layer_names(model, spec.shared_where)) if spec.shared_where else set()
    order = [name for name, _ in model.named_modules() if name in own | shared]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        for name in order:
            _replace(model, name, state, spec, name in own, name in shared)
    _give_steer_keyword(model, state, expand)
    return state


def _replace(model: nn.Module, name: str, state: SteerState, spec: DeltaSpec, own: bool, shared: bool) -> None:
    base = model.get_submodule(name)
    size = sizes(base)
    objectives = spec.changes(spec.num_objectives, *size, _number(spec.rank)) if own else None
    rank = _number(spec.shared_rank)
    adapter = Deltas(1, *size, rank, spec.shared_alpha / rank if rank else 1.0) if shared else None
    layer = PluralLinear(base, state, objectives, adapter)
    for deltas in (objectives, adapter):
        if deltas is not None:
            deltas.to(base.weight.device)  # type: ignore[arg-type]
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)


def _number(rank: Rank) -> int | None:
    return None if rank == "full" else int(rank)


def _give_steer_keyword(model: nn.Module, state: SteerState, expand: Callable[[Tensor], Tensor]) -> None:
    """Make `model(..., steer=λ)` and `model.generate(..., steer=λ)` work: λ [R, K], or coefficients [R, C].

    The class is derived on the spot, so that `generate` finds `steer` in the signature of `forward` and expands it
    with beams and returned sequences.
    """
    parent = type(model)

    def forward(self: Any, *args: Any, steer: Tensor | None = None, **kwargs: Any) -> Any:
        if steer is None:
            return parent.forward(self, *args, **kwargs)
        with state.set(expand(steer)):
            return parent.forward(self, *args, **kwargs)

    signature = inspect.signature(parent.forward)
    steer = inspect.Parameter("steer", inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    rest = [p for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    forward.__signature__ = signature.replace(parameters=[*parameters, steer, *rest])  # type: ignore[attr-defined]
    model.__class__ = type(parent.__name__, (parent,), {"forward": forward, "__module__": parent.__module__})


def plural_layers(model: nn.Module) -> dict[str, PluralLinear]:
    """The plural layers by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, PluralLinear)}


def _plain_name(name: str, layers: dict[str, PluralLinear]) -> str | None:
    """A parameter's name in the model before surgery; None for a change."""
    for layer in layers:
        if name.startswith(layer + "."):
            rest = name[len(layer) + 1 :]
            return f"{layer}.{rest[5:]}" if rest.startswith("base.") else None
    return name


def _deltas(model: nn.Module) -> dict[str, Deltas]:
    """All changes by module name."""
    parts = {f"{n}.{part}": getattr(layer, part) for n, layer in plural_layers(model).items() for part in PARTS}
    return {name: part for name, part in parts.items() if part is not None}


def delta_state(model: nn.Module) -> dict[str, Tensor]:
    """All changes as a policy's file holds them: by module and tensor, full ones stacked [num, out, in]."""
    return {f"{at}.{name}": t for at, deltas in _deltas(model).items() for name, t in deltas.stacked().items()}


def base_state(model: nn.Module) -> dict[str, Tensor]:
    """The base weights under their original names (tied ones once under each name)."""
    layers = plural_layers(model)
    state = {_plain_name(name, layers): tensor for name, tensor in model.state_dict().items()}
    return {name: tensor for name, tensor in state.items() if name is not None}


def merged_state(model: nn.Module, coefficients: Tensor) -> dict[str, Tensor]:
    """Plain weights that compute what this model computes under coefficients [C]."""
    state = base_state(model)
    for name, layer in plural_layers(model).items():
        weight, bias = layer.merged(coefficients)
        state[f"{name}.weight"] = weight
        if bias is not None:
            state[f"{name}.bias"] = bias
    return state


def load_deltas(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put changes in place; ModelError unless names and shapes are exactly the model's."""
    deltas = _deltas(model)
    own = {f"{at}.{name}": shape for at, each in deltas.items() for name, shape in each.shapes().items()}
    if set(own) != set(tensors):
        missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
        raise ModelError(f"the steering weights do not fit this model: missing {missing[:3]}, unexpected {extra[:3]}")
    for name, tensor in tensors.items():
        if own[name] != tensor.shape:
            raise ModelError(f"{name}: shape {tuple(tensor.shape)} does not fit {own[name]}")
        at, _, part = name.rpartition(".")
        deltas[at].put(part, tensor)


def checkpoint_gradients(model: Any, state: SteerState | None) -> None:
    """Turn on gradient checkpointing so that the recomputed forward is steered as the first one was (None: not at all)."""

    def contexts() -> tuple[Any, Any]:
        again = contextlib.nullcontext() if state is None else _restored(state, state.coefficients, state.index)
        return contextlib.nullcontext(), again

    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable  # old name
    enable({"use_reentrant": False, "context_fn": contexts})


@contextlib.contextmanager
def _restored(state: SteerState, coefficients: Tensor | None, index: Tensor | None) -> Iterator[None]:
    before = (state.coefficients, state.index)
    state.coefficients, state.index = coefficients, index
    try:
        yield
    finally:
        state.coefficients, state.index = before
