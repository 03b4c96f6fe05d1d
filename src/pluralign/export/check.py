"""What was written is loaded with transformers and peft, and must answer as the policy does.

The measure: the largest difference of two log-probabilities (nats) of a next token, over the whole vocabulary, at all
positions of a few rows of random tokens.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.base_model import load_base, plain_model, quiet
from pluralign.data.condition import Condition
from pluralign.errors import ModelError
from pluralign.steering.surgery import base_state

if TYPE_CHECKING:
    from pluralign.policy import Policy

log = logging.getLogger("pluralign")
ALLOWED = 1e-4
"""nats, in float32"""
ROWS, TOKENS, SEED = 4, 24, 0


@dataclass(frozen=True)
class Exported(os.PathLike[str]):
    """The folder that was written, and by how much each part of it differs from the policy (nats; empty: unchecked)."""

    folder: Path
    differences: Mapping[str, float] = field(default_factory=dict)

    def __fspath__(self) -> str:
        return str(self.folder)


def probes(policy: Policy) -> Int[Tensor, "R T"]:
    """Random tokens of the policy's vocabulary, always the same ones."""
    longest = getattr(policy.model.config, "max_position_embeddings", None) or TOKENS
    size = policy.model.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(SEED)
    return torch.randint(size, (ROWS, min(TOKENS, longest)), generator=generator).to(policy.device)


@torch.no_grad()
def policy_logprobs(policy: Policy, condition: Condition | None) -> Float[Tensor, "R T V"]:
    """What the policy gives to every token after every probe, under the condition."""
    ids = probes(policy)
    row = policy.coefficients([policy.check(condition)]).expand(len(ids), -1)
    with policy.steering.steered(policy.model, row):
        return _logprobs(policy.model, ids)


@torch.no_grad()
def _logprobs(model: Any, ids: Tensor) -> Tensor:
    logits = model(input_ids=ids, use_cache=False).logits
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def difference(policy: Policy, condition: Condition | None, model: Any) -> float:
    """The measure above (nats), between a model and the policy under the condition.

    What is more than allowed in float32 is measured again in float64: large logits are rounded by more than that.
    """
    found = _difference(policy, condition, model)
    if math.isfinite(found) and found > ALLOWED and policy.model.dtype == torch.float32:
        with _wide(policy.model), _wide(model):
            found = _difference(policy, condition, model)
    return found


def _difference(policy: Policy, condition: Condition | None, model: Any) -> float:
    return float((_logprobs(model, probes(policy)) - policy_logprobs(policy, condition)).abs().max())


@contextlib.contextmanager
def _wide(model: Any) -> Iterator[None]:
    """The model in float64, and back: no float32 number changes on the way."""
    model.double()
    try:
        yield
    finally:
        model.float()


def check_model(policy: Policy, condition: Condition | None, folder: Path) -> float:
    """The difference of a written model; ModelError beyond ALLOWED."""
    model, _ = load_base(folder, dtype=_dtype(policy), device=str(policy.device))
    return agreed(f"the model for {condition or 'no condition'}", difference(policy, condition, model))


class Adapted:
    """The base with adapters on it, loaded one after another by peft; `base` is a folder, or None for the policy's own."""

    def __init__(self, policy: Policy, base: Path | None = None) -> None:
        self.policy = policy
        self.model: Any = None
        self.names: dict[str, str] = {}
        self.num_loaded = 0
        if base is None:
            self.base = plain_model(policy.model, base_state(policy.model))
        else:
            self.base, _ = load_base(base, dtype=_dtype(policy), device=str(policy.device))

    def check_base(self) -> float:
        """The difference of the base alone from the unsteered policy; ModelError beyond ALLOWED. Before any adapter."""
        assert self.model is None
        return agreed("the base", difference(self.policy, None, self.base))

    def load(self, name: str, folder: Path) -> None:
        """Put the adapter of a folder beside those that are loaded, and let it alone act."""
        from peft import PeftModel

        self.num_loaded += 1
        inner = self.names.setdefault(name, f"adapter_{self.num_loaded}")  # "half" would be a method of torch's
        with _still():
            if self.model is None:
                self.model = PeftModel.from_pretrained(self.base, str(folder), adapter_name=inner).eval()
            else:
                self.model.load_adapter(str(folder), adapter_name=inner)
            self.model.set_adapter(inner)

    def check(self, name: str, folder: Path, condition: Condition | None) -> float:
        """The difference of a written adapter; ModelError beyond ALLOWED."""
        self.load(name, folder)
        return agreed(f"the adapter {name!r}", difference(self.policy, condition, self.model))

    def drop(self, name: str) -> None:
        """Forget an adapter that others stand beside."""
        inner = self.names.pop(name)
        if self.names:
            with _still():
                self.model.set_adapter(next(iter(self.names.values())))
                self.model.delete_adapter(inner)

    def sum(self, weights: Mapping[str, float], condition: Condition) -> float:
        """The difference of the loaded adapters' weighted sum (peft's combination "cat") from the policy (nats)."""
        inner = [self.names[name] for name in weights]
        with _still():
            self.model.add_weighted_adapter(inner, list(weights.values()), "sum_of_all", combination_type="cat")
            self.model.set_adapter("sum_of_all")
            found = difference(self.policy, condition, self.model)
            self.model.set_adapter(inner[0])
            self.model.delete_adapter("sum_of_all")
        return found


def agreed(what: str, found: float) -> float:
    """The difference, said in the log; ModelError beyond ALLOWED (or where it is no number)."""
    if not found <= ALLOWED:
        raise ModelError(
            f"{what} differs from the policy by {found:.2g} nats in a log-probability, allowed are {ALLOWED:g}; nothing "
            "was written. Load the policy in float32, or leave the check out (--no-check) if you know why"
        )
    log.info("%s agrees with the policy: largest difference of a log-probability %.1e nats", what, found)
    return found


def _dtype(policy: Policy) -> str:
    return str(policy.model.dtype).removeprefix("torch.")


@contextlib.contextmanager
def _still() -> Iterator[None]:
    """No notices of peft's that say nothing about what is checked."""
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft's use of transformers
        warnings.filterwarnings(
            "ignore", "Model has `tie_word_embeddings=True`", UserWarning
        )  # it is never merged here
        yield
