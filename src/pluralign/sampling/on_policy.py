"""OnPolicySource: each step the policy answers prompts, a scorer judges the replies, and a method makes groups of them.

What a step draws is a function of (seed, step) and of the policy at that step; it is kept on the disk, so that a run
which goes on from a checkpoint reads it back instead of drawing and asking again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pluralign.data.condition import Condition
from pluralign.data.group import Group, Text
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.logprobs import sequence_logprobs
from pluralign.members import logprobs_of, rows_of
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout
from pluralign.storage import fingerprint
from pluralign.training.source import check_same

if TYPE_CHECKING:
    from pluralign.scorers.contract import Scorer

Ask = Callable[[np.random.Generator], Condition | None]
View = Callable[[Sequence[Record], int], list[Group]]


class OnPolicySource:
    """`ask` draws the condition of a prompt; `view` makes groups of a step's scored records (records, step).

    Every prompt of a step gets `replies_per_prompt` replies under one condition. `folder` keeps the rollouts. Raises
    DataError for no prompts, ConfigError for sizes below 1.
    """

    live = True

    def __init__(
        self,
        policy: Policy,
        prompts: Sequence[Record],
        scorer: Scorer,
        folder: Path,
        ask: Ask,
        view: View,
        *,
        prompts_per_step: int = 8,
        replies_per_prompt: int = 4,
        decoding: Decoding | None = None,
        seed: int = 0,
    ) -> None:
        if not prompts:
            raise DataError("there are no prompts to answer; give --prompts, or data with prompts")
        if min(prompts_per_step, replies_per_prompt) < 1:
            raise ConfigError(
                f"a step needs at least 1 prompt and 1 reply of each, got {prompts_per_step}, {replies_per_prompt}"
            )
        self.policy, self.prompts, self.scorer, self.folder = policy, list(prompts), scorer, folder
        self.ask, self.view, self.seed = ask, view, seed
        self.prompts_per_step, self.replies_per_prompt = prompts_per_step, replies_per_prompt
        self.decoding = decoding or Decoding()

    def batch(self, step: int) -> list[Group]:
        """The groups of a step: drawn, scored and judged, or read back."""
        rng = np.random.default_rng([self.seed, step])
        chosen = [self.prompts[place] for place in self._places(step)]
        conditions = [self.ask(rng) for _ in chosen]
        training = self.policy.model.training
        self.policy.model.eval()
        try:
            folder = self.folder / f"{step:06d}"
            seed = int(rng.integers(2**62))
            how = (self.replies_per_prompt, seed, self.decoding)
            return self.view(rollout(folder, self.policy, chosen, conditions, self.scorer, *how), step)
        finally:
            self.policy.model.train(training)

    def _places(self, step: int) -> list[int]:
        """Prompts in shuffled epochs: each once before any comes again."""
        size = len(self.prompts)
        places = range(step * self.prompts_per_step, (step + 1) * self.prompts_per_step)
        orders = {
            epoch: np.random.default_rng([self.seed, 2**31 + epoch]).permutation(size)
            for epoch in {place // size for place in places}
        }
        return [int(orders[place // size][place % size]) for place in places]

    def texts(self) -> Iterable[Text]:
        """Nothing is known beforehand."""
        return ()

    def state(self) -> dict[str, Any]:
        """Identity only: the place follows from the step."""
        asked = [[[m.role, m.content] for m in record.messages] for record in self.prompts]
        sizes = [self.prompts_per_step, self.replies_per_prompt]
        return {"kind": "on_policy", "seed": self.seed, "sizes": sizes, "decoding": repr(self.decoding), "prompts": fingerprint(asked)}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """RunError unless seed, sizes and prompts are the same."""
        check_same(state, self.state(), "data")


@torch.no_grad()
def log_ratios(policy: Policy, records: Sequence[Record]) -> list[list[float]]:
    """log π(y|x, c) − log π_ref(y|x) in nats of every response under the condition that it carries; NaN where one does
    not fit, or has no token."""
    asked, plain, found = [], [], [[float("nan")] * len(record.responses) for record in records]
    places: list[tuple[int, int]] = []
    for place, record in enumerate(records):
        for number, reply in enumerate(record.responses):
            base = policy.encoder.pair(record.messages, reply.text, reply.finished)
            rows = rows_of(policy, record.messages, reply.text, reply.condition, len(places), reply.finished)
            if base is not None and base[1] and rows is not None:
                asked += rows
                plain.append(base)
                places.append((place, number))
    if not places:
        return found
    reference = policy.reference
    base_rows = reference.reference_coefficients(len(plain))[:, None]
    difference = logprobs_of(policy, asked).double() - sequence_logprobs(reference, plain, base_rows)[:, 0].double()
    for (place, number), value in zip(places, difference.tolist(), strict=True):
        found[place][number] = value
    return found
