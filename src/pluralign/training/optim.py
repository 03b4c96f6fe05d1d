"""Optim: the numbers of an optimisation, and the AdamW and schedule they stand for.

AdamW skips what has no gradient. An objective's full change in the head that nobody asks for in a step is such: it
keeps its value, its moments and its count, so that they are those of the steps it was asked for in. Thin changes (a
rank), layers below the head, and training in several processes have a gradient of 0 instead: moments decay, and what
is left of them goes on moving the change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from pluralign.errors import ConfigError

HEADS = "heads"


@dataclass(frozen=True, kw_only=True)
class Optim:
    """AdamW with warm-up and a schedule. Raises ConfigError for a number outside its range."""

    steps: int = 250
    """optimiser steps"""
    batch_size: int = 32
    """groups (or pairs) per optimiser step"""
    lr: float = 1e-4
    """peak learning rate"""
    head_lr: float | None = None
    """peak learning rate of the objectives' changes (parameter group "heads"); none means lr"""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's"""
    weight_decay: float = 0.01
    """AdamW's; towards the reference where the parameters are changes"""
    clip_norm: float | None = 1.0
    """largest norm of the whole gradient; none does not clip"""
    warmup: int = 20
    """steps of linear warm-up"""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """after the warm-up: constant, or down to min_lr_ratio of the peak by a line or a cosine"""
    min_lr_ratio: float = 0.1
    """where the schedule ends, as a share of the peak"""
    accumulation: int = 1
    """micro-batches that a step is cut into; changes memory, not the gradient"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products in bfloat16 under autocast; parameters, optimiser and losses stay float32"""
    gradient_checkpointing: bool = False
    """compute activations again in the backward pass instead of keeping them: the same gradients, less memory, more time"""

    def __post_init__(self) -> None:
        self._check("steps", self.steps >= 1, "at least 1")
        self._check("batch_size", self.batch_size >= 1, "at least 1")
        self._check("lr", 0 <= self.lr < math.inf, "finite and not negative")
        self._check("head_lr", self.head_lr is None or 0 <= self.head_lr < math.inf, "finite and not negative")
        self._check("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)")
        self._check("weight_decay", 0 <= self.weight_decay < math.inf, "finite and not negative")
        self._check("clip_norm", self.clip_norm is None or self.clip_norm > 0, "above 0, or None")
        self._check("warmup", self.warmup >= 0, "0 or more steps")
        self._check("schedule", self.schedule in ("constant", "linear", "cosine"), "constant, linear or cosine")
        self._check("min_lr_ratio", 0 <= self.min_lr_ratio <= 1, "in [0, 1]")
        self._check("accumulation", self.accumulation >= 1, "at least 1")
        self._check("precision", self.precision in ("fp32", "bf16"), "fp32 or bf16")

    def _check(self, name: str, fine: bool, allowed: str) -> None:
        if not fine:
            raise ConfigError(f"optim: {name} must be {allowed}, got {getattr(self, name)!r}")

    def factor(self, step: int) -> float:
        """Learning rate of a step (0-based) as a share of its peak; a pure function of the step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        share = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        fall = 1 - share if self.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * fall

    def build(self, trainable: Mapping[str, Sequence[torch.nn.Parameter]], step: int = 0) -> tuple[AdamW, LambdaLR]:
        """The optimiser, one parameter group per name, and its schedule standing at `step`."""
        groups = [self._group(name, parameters) for name, parameters in trainable.items() if parameters]
        if not groups:
            raise ConfigError(
                "nothing to train: the policy has no trainable parameters; unfreeze the trunk or add heads"
            )
        optimizer = AdamW(groups, betas=self.betas, weight_decay=self.weight_decay, fused=True)
        return optimizer, LambdaLR(optimizer, self.factor, last_epoch=step - 1)

    def _group(self, name: str, parameters: Sequence[torch.nn.Parameter]) -> dict[str, object]:
        lr = self.lr if name != HEADS or self.head_lr is None else self.head_lr
        return {"name": name, "params": list(parameters), "lr": lr, "initial_lr": lr}
