"""The equality gate: before anything is timed, our step must compute what naive autograd and TRL compute.

Compared are the loss and every gradient tensor: |a - b| / |b| in float64 norms, at most 1e-5 (float32 on the CPU).
With TRL, weights λ are compared by giving its trainer the mixed head W_λ, one step per weight vector; the chain rule
from W_λ to the changes is autograd's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pluralign.bench.naive import Logistic, loss, mixed_head
from pluralign.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

    from pluralign.data.group import Group
    from pluralign.policy import Policy
    from pluralign.training.stepper import Stepper

TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}


class EqualityError(RunError):
    """A fast step does not compute what it should; its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Equality:
    """How far our step was from another: relative errors of the loss and of the worst of `num_tensors` gradients."""

    ours: str
    against: str
    num_tensors: int
    loss: float
    worst: float
    worst_name: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Computed:
    """A loss and its gradients by parameter name."""

    loss: float
    gradients: Mapping[str, Tensor]


def compare(ours: Computed, other: Computed, name: str, against: str, tolerance: float) -> Equality:
    """Raises EqualityError where the loss or a gradient differs by more than `tolerance`; none is the same as 0."""
    errors = {}
    for key in sorted(set(ours.gradients) | set(other.gradients)):
        mine, theirs = ours.gradients.get(key), other.gradients.get(key)
        some = next(tensor for tensor in (mine, theirs) if tensor is not None)
        errors[key] = relative(*(some * 0 if each is None else each for each in (mine, theirs)))
    if not errors:
        raise EqualityError(f"{name} against {against}: neither has a gradient")
    worst = max(errors, key=lambda key: errors[key] if errors[key] == errors[key] else float("inf"))
    off = abs(ours.loss - other.loss) / abs(other.loss)
    if not (off <= tolerance and errors[worst] <= tolerance):
        raise EqualityError(
            f"{name} differs from {against}: loss {ours.loss:.9g} and {other.loss:.9g} (relative {off:.2g}), gradient "
            f"of {worst} {errors[worst]:.2g}; allowed is {tolerance:g}. No speed is printed for a step that computes "
            "something else"
        )
    return Equality(name, against, len(errors), off, errors[worst], worst)


def relative(one: Tensor, other: Tensor) -> float:
    """|one - other| / |other| in float64 (0 where both are 0, infinite where only the other is)."""
    difference, size = (float(tensor.double().norm()) for tensor in (one.double() - other.double(), other))
    return 0.0 if difference == 0 else difference / size if size else float("inf")


def of_step(stepper: Stepper, groups: Sequence[Group]) -> Computed:
    """What a step computes. Its optimiser must leave the weights alone: learning rate 0, no clipping."""
    assert stepper.optim.lr == 0 and stepper.optim.clip_norm is None, "this step would change what is compared"
    value = stepper.step(groups)["loss"]
    return Computed(value, _taken(stepper.policy.model))


def of_naive(policy: Policy, groups: Sequence[Group], what: Logistic) -> Computed:
    """What naive autograd computes."""
    policy.model.zero_grad(set_to_none=True)
    value = loss(policy, groups, what, whole=False)
    value.backward()
    return Computed(float(value.detach()), _taken(policy.model))


def of_trl(step: Any, policy: Policy, groups: Sequence[Group]) -> Computed:
    """What a DPOTrainer computes with the policy's adapter, one step per condition with its mixed head."""
    import torch

    model = step.trainer.model
    give_adapter(policy, model)
    head = model.get_base_model().get_output_embeddings()
    before, conditions = head.weight, groups[0].conditions
    policy.model.zero_grad(set_to_none=True)
    model.zero_grad(set_to_none=True)
    losses = []
    for coefficients in policy.coefficients(conditions):
        mixed = mixed_head(policy, coefficients)
        head.weight = torch.nn.Parameter(mixed.detach().to(before.dtype), requires_grad=mixed.requires_grad)
        losses.append(step.gradients())
        if mixed.requires_grad:
            mixed.backward(head.weight.grad.to(mixed.dtype) / len(conditions))
    head.weight = before
    theirs = {name: p.grad / len(conditions) for name, p in model.named_parameters() if p.grad is not None}
    own = _taken(policy.model)
    shared = {name: theirs[peft_name(name)].view_as(p) for name, p in _adapter(policy).items()}
    model.zero_grad(set_to_none=True)
    return Computed(sum(losses) / len(losses), {**own, **shared})


def give_adapter(policy: Policy, model: Any) -> None:
    """Copy the policy's LoRA on attention into a peft model."""
    import torch

    theirs = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in _adapter(policy).items():
            theirs[peft_name(name)].copy_(tensor.view_as(theirs[peft_name(name)]))


def peft_name(name: str) -> str:
    """...q_proj.shared.down -> base_model.model....q_proj.lora_A.default.weight"""
    kinds = {"shared.down": "lora_A", "shared.up": "lora_B"}
    end = next(end for end in kinds if name.endswith(end))
    return f"base_model.model.{name.removesuffix(end)}{kinds[end]}.default.weight"


def _adapter(policy: Policy) -> dict[str, Tensor]:
    return {name: p for name, p in policy.trainable_state().items() if ".shared." in name}


def _taken(model: Any) -> dict[str, Tensor]:
    """The gradients, taken out of the model."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found
