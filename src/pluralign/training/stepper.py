"""One optimiser step, and one evaluation, of a policy on groups; `fit` decides when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pluralign.data.group import Group
from pluralign.errors import DataError, RunError
from pluralign.losses.outputs import Loss
from pluralign.training import checkpoint
from pluralign.training.batching import Batch, Collator
from pluralign.training.device import Compute
from pluralign.training.optim import Optim
from pluralign.training.recompute import set_mode

if TYPE_CHECKING:
    from pluralign.training.trainable import Trainable


class Stepper:
    """Forward, loss, gradients, AdamW and schedule. `dropout`: whether the model trains with its dropout on."""

    def __init__(
        self, policy: Trainable, loss: Loss, optim: Optim, compute: Compute, collator: Collator, dropout: bool
    ) -> None:
        self.policy, self.loss, self.optim, self.compute = policy, loss, optim, compute
        self.collator, self.dropout = collator, dropout
        self.forward = compute.prepare(policy)
        self.parameters = [parameter for group in policy.trainable().values() for parameter in group]
        self.optimizer, self.schedule = optim.build(policy.trainable())
        self.set_mode(training=True)

    def restart(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Stand where a checkpoint stood: the optimiser's moments and the schedule's step."""
        self.optimizer, self.schedule = self.optim.build(self.policy.trainable(), step)
        checkpoint.load_optimizer(self.optimizer, tensors)

    def step(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Train on the groups; means over their examples, gradient norm, learning rates and counts.

        A step without any example changes nothing (loss None). Raises RunError, before anything is changed, where
        the loss or the gradient is not finite.
        """
        parts = _parts(self.compute.share(groups), self.optim.accumulation)
        batches = [self.collator(part).to(self.compute.device) for part in parts]
        examples = self.compute.total(sum(batch.num_examples for batch in batches))
        rates = {f"lr_{group['name']}": group["lr"] for group in self.optimizer.param_groups}
        self.optimizer.zero_grad(set_to_none=True)
        values = self._gradients(batches, examples) if examples else {"loss": None, "grad_norm": None}
        self.optimizer.step()
        self.schedule.step()
        return {**values, **rates, "examples": examples, "rejected": sum(batch.rejected for batch in batches)}

    def _gradients(self, batches: Sequence[Batch], examples: int) -> dict[str, Any]:
        """Gradients of the mean loss over all examples of the step, clipped; the step's numbers."""
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(batches):
            # processes average their gradients, while the examples of all of them are counted
            total, losses, metrics = self.forward(batch, self.loss, self.compute.num_processes / examples)
            self.compute.backward(self.forward, total, last=number == len(batches) - 1)
            for name, value in {"loss": losses, **metrics}.items():
                sums[name] = sums.get(name, 0.0) + value.sum()
        norm = self.compute.clip(self.parameters, self.optim.clip_norm)
        means = self.compute.sum(torch.stack(list(sums.values()))) / examples
        *numbers, grad_norm = torch.cat([means, norm.float().view(1)]).tolist()
        values = dict(zip(sums, numbers, strict=True))
        self._check_finite(values["loss"], grad_norm)
        return {"loss": values["loss"], "grad_norm": grad_norm, **values}

    def _check_finite(self, loss: float, grad_norm: float) -> None:
        if torch.isfinite(torch.tensor([loss, grad_norm])).all():
            return
        head_lr = self.optim.lr if self.optim.head_lr is None else self.optim.head_lr
        raise RunError(
            f"the loss is {loss:g} and the norm of its gradient {grad_norm:g}; lower lr (now {self.optim.lr:g}, heads "
            f"{head_lr:g}), lengthen warmup, look for outliers among the scores, or use precision fp32"
        )

    @torch.no_grad()
    def evaluate(self, groups: Sequence[Group]) -> dict[str, float]:
        """Means of the loss and its metrics over the groups, without dropout. DataError where no response fits."""
        self.set_mode(training=False)
        sums: dict[str, float] = {}
        examples = 0
        for start in range(0, len(groups), self.optim.batch_size):
            batch = self.collator(groups[start : start + self.optim.batch_size]).to(self.compute.device)
            if batch.num_examples:
                _, losses, metrics = self.forward(batch, self.loss, 1.0)
                for name, value in {"loss": losses, **metrics}.items():
                    sums[name] = sums.get(name, 0.0) + float(value.sum())
                examples += batch.num_examples
        self.set_mode(training=True)
        if not examples:
            raise DataError("no validation response fits max_length; raise it, or train without validation")
        return {name: value / examples for name, value in sums.items()}

    def set_mode(self, training: bool) -> None:
        """Without dropout the model trains in evaluation mode."""
        set_mode(self.policy.model, training, self.dropout)


def _parts(groups: Sequence[Group], num: int) -> list[list[Group]]:
    """At most `num` consecutive parts of nearly equal size."""
    edges = [round(part * len(groups) / num) for part in range(num + 1)]
    return [list(groups[start:end]) for start, end in pairwise(edges) if end > start]
