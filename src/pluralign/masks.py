"""Attention masks of packed rows, in the form that a model takes.

A token sees the tokens of its own prompt and its own branch that do not come after it, and itself even where it is
hidden from others. Windows and chunks count by
positions, not by places in the packed row. Scaled dot-product attention takes the mask as booleans; the eager attention
of transformers adds it, and would add booleans as 0 and 1, so it gets 0 and the smallest number; FlexAttention (on
GPUs) takes the rule itself, and skips the blocks in which nobody sees anything. A model whose layers differ (Gemma,
Qwen, Olmo) takes one mask per type of layer.

Letters: B packed rows, T tokens of a packed row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from pluralign.packing import Layout

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
LIMITS = {SLIDING: "sliding_window", CHUNKED: "attention_chunk_size"}
"""Where a configuration says how long a window or a chunk is."""

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(row, head, query, key), integer tensors that broadcast -> whether the query sees the key."""


@dataclass(frozen=True, slots=True)
class Masks:
    """How a model takes masks: the `kinds` of attention its layers have; whether masks go by kind in a dict (`named`);
    the `form`: asked, added or blocks (see the module's text)."""

    kinds: tuple[str, ...]
    named: bool = False
    form: Literal["asked", "added", "blocks"] = "asked"

    def of(self, layout: Layout, config: Any, like: Tensor) -> Any:
        """A layout's mask, or a dict of them: [B, 1, T, T] on the device and (where added) of the dtype of `like`."""
        made = {
            kind: self._one(layout, rule(layout, kind, limit(config, kind), like.device), like) for kind in self.kinds
        }
        return made if self.named else made[self.kinds[0]]

    def _one(self, layout: Layout, sees: Rule, like: Tensor) -> Any:
        rows, width = layout.ids.shape
        if self.form == "blocks":
            from torch.nn.attention.flex_attention import create_block_mask

            return create_block_mask(sees, rows, None, width, width, device=str(like.device))
        seen = visible(layout, sees, like.device)[:, None]
        if self.form == "asked":
            return seen
        return torch.zeros_like(seen, dtype=like.dtype).masked_fill_(~seen, torch.finfo(like.dtype).min)


def limit(config: Any, kind: str) -> int | None:
    """Tokens of a window or a chunk; None where attention is full."""
    return getattr(config, LIMITS[kind], None) if kind in LIMITS else None


def rule(layout: Layout, kind: str, limit: int | None, device: torch.device) -> Rule:
    """Who sees whom; padding sees padding, so that no row of attention is empty."""
    prompt, branch, position = (
        torch.from_numpy(array).to(device) for array in (layout.prompt, layout.branch, layout.positions)
    )

    hidden = None if layout.hidden is None else torch.from_numpy(layout.hidden).to(device)

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        asking, asked = position[row, query], position[row, key]
        seen = (prompt[row, query] == prompt[row, key]) & (asked <= asking)
        seen = seen & ((branch[row, key] == 0) | (branch[row, query] == branch[row, key]))
        if hidden is not None:
            seen = seen & (~hidden[row, key] | (query == key))
        if limit is not None and kind == SLIDING:
            seen = seen & (asked > asking - limit)
        elif limit is not None and kind == CHUNKED:
            seen = seen & (asked // limit == asking // limit)
        return seen

    return sees


def visible(layout: Layout, sees: Rule, device: torch.device) -> Bool[Tensor, "B T T"]:
    """The whole mask, (query, key)."""
    rows, width = layout.ids.shape
    row, place = torch.arange(rows, device=device), torch.arange(width, device=device)
    return sees(row[:, None, None], row[:0], place[None, :, None], place[None, None, :])
