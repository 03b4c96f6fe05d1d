"""From planes of logits to log-probabilities of the targets, and back: the part of a head that is not products.

With z[t, l] the logits of condition l, p = softmax(z) and y the target:

    log p(y) = z_y − log Σ_v exp z_v              d log p(y) / dz_v = 1[v = y] − p_v

so that a loss whose derivative by log p(y) is g[t, l] has dL/dz = g (1[v = y] − p), and, where z_l = Σ_w mix_lw Z_w,
dL/dZ_w = Σ_l mix_lw dL/dz_l: a second mix, whose coefficients −g mix_lw / Σ exp take the scaling of p with them.

Mixed logits are never all held. They are made in pieces that stay in the processor's cache, and made again for the
gradient, which costs less than writing them to memory. Nearly always Σ exp z itself is a good float32 number, and no
maximum has to be looked for; where it is too large or too small, the piece starts again with z − max z.

A soft-cap, z = cap · tanh(mixed / cap), has the factor 1 − tanh² in its derivative.

Letters: T tokens, V vocabulary, L conditions, W planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pluralign.steering.terms import Workspace

PIECE_NUMBERS = {"cpu": 1 << 19, "cuda": 1 << 26}
"""Mixed logits held at once: what stays in a processor's cache; on a GPU, what keeps it busy."""
TINY, HUGE = 1e-20, 1e30
"""Between these a float32 sum of exponentials is as exact as one shifted by the maximum."""
LARGE = 40.0
"""Logits up to this size have such sums, whatever the vocabulary."""


@dataclass
class Softmax:
    """The `planes` [T, W, V] of T tokens with `targets` [T] under L conditions: their `mix` [T, L, W], or None where
    planes are conditions. `soft_cap` comes after the mix; `workspace` has the buffers."""

    planes: Tensor
    targets: Tensor
    mix: Tensor | None
    soft_cap: float | None
    workspace: Workspace

    def __post_init__(self) -> None:
        self.wide = torch.promote_types(self.planes.dtype, torch.float32)
        if self.mix is not None:
            self.mix = self.mix.to(self.wide)
        self.in_place = self.mix is None and self.soft_cap is None and self.planes.dtype == self.wide

    @property
    def num_conditions(self) -> int:
        """L."""
        return self.planes.shape[1] if self.mix is None else self.mix.shape[1]

    def logprobs(self) -> Tensor:
        """log p(target) [T, L], float32 or wider."""
        if self.in_place:
            return self._logprobs_in_place()
        shape = (len(self.planes), self.num_conditions)
        self.top, self.total = (self.planes.new_zeros(shape, dtype=self.wide) for _ in range(2))
        self.target = self._target()
        self.shifted = False
        if not self._sum():
            self.shifted = True
            self._sum()
        return self.target - self.top - self.total.log()

    def gradient(self, grad: Tensor) -> Tensor:
        """dL/dplanes [T, W, V], in the place of the planes, from g = dL/dlogprobs [T, L]. Call `logprobs` before."""
        at_target = self.targets[:, None, None].expand(-1, self.planes.shape[1], 1)
        if self.in_place:
            self.planes.mul_((-grad / self.total)[..., None])
            return self.planes.scatter_add_(2, at_target, grad[..., None])
        mine = grad if self.soft_cap is None else grad * self._slope(self.target)
        if self.mix is not None:
            mine = torch.bmm(mine[:, None], self.mix)[:, 0]
        scaled = (-grad / self.total)[..., None]
        back = None if self.mix is None else (self.mix * scaled).transpose(1, 2)
        for part in self._parts():
            self._gradient_of(part, scaled, back)
        return self.planes.scatter_add_(2, at_target, mine[..., None].to(self.planes.dtype))

    def _gradient_of(self, part: slice, scaled: Tensor, back: Tensor | None) -> None:
        mixed = self._mixed(part)
        slope = None if self.soft_cap is None else self._slope(mixed)
        probabilities = self._shifted(mixed, part).exp_()
        if slope is not None:
            probabilities.mul_(slope)
        if back is None:
            self.planes[part] = probabilities.mul_(scaled[part])
        elif self.planes.dtype == self.wide:
            torch.bmm(back[part], probabilities, out=self.planes[part])
        else:
            self.planes[part] = torch.bmm(back[part], probabilities)

    def _logprobs_in_place(self) -> Tensor:
        """The planes become exp z, or exp(z − max z)."""
        shape = self.planes.shape[:2]
        found, self.total = self.planes.new_empty(shape), self.planes.new_empty(shape)
        for part in self._parts():
            mixed = self.planes[part]
            top = mixed.amax(-1, keepdim=True)
            if top.device.type != "cpu" or not bool((top.abs() < LARGE).all()):
                mixed.sub_(top)
            found[part] = mixed.gather(2, self.targets[part][:, None, None].expand(-1, shape[1], 1))[..., 0]
            torch.sum(mixed.exp_(), -1, out=self.total[part])
        return found - self.total.log()

    def _sum(self) -> bool:
        """Fills `top` (the shift) and `total` (Σ exp), both [T, L]; whether that went well."""
        for part in self._parts():
            mixed = self._mixed(part)
            if self.shifted:
                torch.amax(mixed, -1, out=self.top[part])
            torch.sum(self._shifted(mixed, part).exp_(), -1, out=self.total[part])
            if part.start == 0 and not self._sound(part):
                return False
        return self._sound(slice(None))

    def _sound(self, part: slice) -> bool:
        total = self.total[part]
        return bool(((total > TINY) & (total < HUGE)).all())

    def _shifted(self, mixed: Tensor, part: slice) -> Tensor:
        return mixed.sub_(self.top[part][..., None]) if self.shifted else mixed

    def _mixed(self, part: slice) -> Tensor:
        """Logits [t, L, V] of a part, after the soft-cap, in a buffer of their own."""
        planes = self.planes[part]
        shape = (len(planes), self.num_conditions, planes.shape[2])
        mixed = self.workspace.take("mixed logits", shape, planes, self.wide)
        if self.mix is None:
            mixed.copy_(planes)
        else:
            torch.bmm(self.mix[part], planes.to(self.wide), out=mixed)
        if self.soft_cap is not None:
            mixed.div_(self.soft_cap).tanh_().mul_(self.soft_cap)
        return mixed

    def _slope(self, capped: Tensor) -> Tensor:
        assert self.soft_cap is not None
        return 1 - (capped / self.soft_cap).square()

    def _target(self) -> Tensor:
        """z of the target [T, L]."""
        index = self.targets[:, None, None].expand(-1, self.planes.shape[1], 1)
        found = self.planes.gather(2, index).to(self.wide)
        mixed = (found if self.mix is None else torch.bmm(self.mix, found))[..., 0]
        return mixed if self.soft_cap is None else self.soft_cap * torch.tanh(mixed / self.soft_cap)

    def _parts(self) -> Iterator[slice]:
        """Tokens in pieces of PIECE_NUMBERS mixed logits."""
        numbers = PIECE_NUMBERS.get(self.planes.device.type, PIECE_NUMBERS["cuda"])
        size = max(1, numbers // (max(self.num_conditions, self.planes.shape[1]) * self.planes.shape[2]))
        for start in range(0, len(self.planes), size):
            yield slice(start, start + size)
