"""Hidden states of a frozen trunk: computed once per response, read in every step.

With plural heads on a frozen trunk (the default CMPO) the states never change, so a step is the heads alone. The
states are always computed in the same batches, whether a run is fresh or resumed, so that resuming stays exact.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pluralign.training.batching import Collator
from pluralign.training.device import Compute
from pluralign.training.progress import Progress
from pluralign.training.rows import Rows, by_length

if TYPE_CHECKING:
    from pluralign.training.trainable import Trainable

MEMORY = 1 << 29
"""Bytes of states held at most; larger data runs its trunk in every step."""

log = logging.getLogger("pluralign")


class TrunkStates:
    """States [N, d] of all responses' predicting positions, by row number."""

    def __init__(self, numbers: Sequence[int], lengths: Sequence[int], values: Tensor) -> None:
        self.values = values
        self._start = {
            number: int(end - size) for number, size, end in zip(numbers, lengths, np.cumsum(lengths), strict=True)
        }
        self._length = dict(zip(numbers, lengths, strict=True))

    def gather(self, rows: Tensor) -> Tensor:
        """The states of rows (numbers [R]) one after the other: [N, d]."""
        spans = [(self._start[number], self._length[number]) for number in rows.tolist()]
        places = np.concatenate([np.arange(start, start + size) for start, size in spans])
        return self.values[torch.from_numpy(places).to(self.values.device)]


@torch.no_grad()
def trunk_states(policy: Trainable, rows: Rows, numbers: Sequence[int], compute: Compute) -> TrunkStates | None:
    """The states of rows, or None where the trunk is trained or steered, or they would take more than MEMORY."""
    lengths = [rows.length(number) - rows.prompts[number] for number in numbers]
    if not numbers or not policy.frozen_trunk:
        return None
    collator, values = Collator(policy, rows), None
    starts = np.cumsum([0, *lengths])
    with Progress("hidden states of the frozen trunk", len(numbers)) as bar:
        for places in by_length([rows.length(number) for number in numbers]):
            batch = collator.plain([numbers[place] for place in places]).to(compute.device)
            with compute.autocast():
                found = policy.trunk_states(batch)
            if values is None:
                if sum(lengths) * found.shape[1] * found.element_size() > MEMORY:
                    log.info("the trunk's hidden states would take more than %d MiB; not kept", MEMORY >> 20)
                    return None
                values = found.new_empty(sum(lengths), found.shape[1])
            into = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in places])
            values[torch.from_numpy(into).to(values.device)] = found
            bar.advance(len(places))
    assert values is not None
    return TrunkStates(numbers, lengths, values)
