"""Our own rows: the step that `pluralign train` runs (Policy, Collator, Stepper), nothing added and nothing left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.bench.models import sharing
from pluralign.bench.tasks import objectives
from pluralign.bench.trl_row import Adapter

if TYPE_CHECKING:
    from pluralign.data.group import Group
    from pluralign.losses.outputs import Loss
    from pluralign.policy import Policy
    from pluralign.training.optim import Optim
    from pluralign.training.stepper import Stepper


@dataclass(frozen=True, slots=True)
class Heads:
    """`num` objectives, each with a head change of this `rank` ("full" or a number)."""

    num: int
    rank: Any


def policy(base: Any, tokenizer: Any, adapter: Adapter, heads: Heads | None = None) -> Policy:
    """A policy on the base's weights: LoRA on attention, and plural heads where asked for; shaken off its start."""
    from pluralign.encoding import Encoder
    from pluralign.policy import Policy
    from pluralign.steering.none import NoSteering
    from pluralign.steering.plural import PluralSteering

    shared = {"shared_where": "attention", "shared_rank": adapter.rank, "shared_alpha": adapter.alpha}
    steering: Any = NoSteering(**shared) if heads is None else PluralSteering(rank=heads.rank, **shared)  # type: ignore[arg-type]
    asked = objectives(1 if heads is None else heads.num)
    lineage = {"base_fingerprint": "random"}
    made = Policy(sharing(base), Encoder(tokenizer, "plain"), steering, asked, lineage=lineage)
    shake(made.trainable_state())
    return made


def shake(tensors: Any, seed: int = 1) -> None:
    """Fill what starts at zero with noise, so that no loss is ln 2: products of LoRA, and full changes of a head."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(tensors.items()):
        if not name.endswith("down"):
            size = 0.05 if name.endswith("up") else 0.3 / tensor.shape[-1] ** 0.5
            with torch.no_grad():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * size)


def stepper(made: Policy, groups: Sequence[Group], loss: Loss, optim: Optim, folder: Path) -> Stepper:
    """What `fit` makes before its loop: rows tokenised, the reference computed, the optimiser ready."""
    from pluralign.training.batching import Collator
    from pluralign.training.device import Compute
    from pluralign.training.reference import reference_logprobs
    from pluralign.training.rows import Rows
    from pluralign.training.source import GroupSource
    from pluralign.training.stepper import Stepper

    compute = Compute(str(made.device), optim.precision)
    rows = Rows(made.encoder)
    numbers = rows.numbers(list(GroupSource(list(groups), len(groups), 0).texts()))
    reference = reference_logprobs(made, rows, numbers, compute, folder)
    return Stepper(made, loss, optim, compute, Collator(made, rows, reference), dropout=False)
