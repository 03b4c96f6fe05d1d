"""Forgetful source: at every step each response hides some of its tokens from those that come after them.

    rate ~ U[0, forget] for each response;  token t is hidden with that probability: whoever comes later does not see it

Forgetful causal masking (Liu et al. 2022, arXiv 2210.13432), which keeps a model from copying what stands before; every
token is still predicted, and still sees itself. Differs: the prompt is never hidden, so that the condition in it is
always read; a hidden token is hidden from all that follow, while public code draws for each pair of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from pluralign.data.group import Group
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError
from pluralign.losses.outputs import SEEN
from pluralign.training.source import GroupSource

_DRAWS = 0x46434D  # a stream of its own beside the permutations


class ForgetfulSource(GroupSource):
    """Fixed groups whose batches have the series "seen" (none where `forget` is 0), for responses as `encoder` reads them.

    Draws are a function of (seed, step). Raises ConfigError for a share outside [0, 1).
    """

    def __init__(self, groups: Sequence[Group], batch_size: int, seed: int, forget: float, encoder: Encoder) -> None:
        super().__init__(groups, batch_size, seed)
        if not 0 <= forget < 1:
            raise ConfigError(f"forget is the largest share of tokens to hide, from 0 to below 1, got {forget}")
        self.forget = forget
        self._length = lru_cache(maxsize=None)(lambda text, finished: len(encoder.response(text, finished)))

    def batch(self, step: int) -> list[Group]:
        """The groups of a step, each response with what may be seen of it."""
        if self.forget == 0:
            return super().batch(step)
        rng = np.random.default_rng([self.seed, step, _DRAWS])
        return [replace(group, series={**group.series, SEEN: self._seen(group, rng)}) for group in super().batch(step)]

    def _seen(self, group: Group, rng: np.random.Generator) -> tuple[tuple[float, ...], ...]:
        lengths = [self._length(text, finished) for _, text, finished in group.texts()]
        rates = [rng.uniform(0, self.forget) for _ in lengths]
        return tuple(
            tuple((rng.random(length) >= rate).astype(float).tolist())
            for length, rate in zip(lengths, rates, strict=True)
        )

    def state(self) -> dict[str, Any]:
        """Identity, with how much is forgotten."""
        return {**super().state(), "forget": self.forget}
