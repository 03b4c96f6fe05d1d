"""Prefixes: keys and values of prompts that were read before, in blocks of tokens, the longest unused going first.

A block is known by all the tokens up to its end **and** by what the steering does before the head (`Steering.cache_key`):
under attention steering, two weights have two caches of one prompt.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK = 16
"""Tokens of a block."""
Known = list[tuple[Tensor, Tensor]]
"""Keys and values [H, tokens, D] of every layer."""


class Prefixes:
    """Blocks of at most `tokens` tokens in all (0: nothing is kept). `hits`, `misses` count tokens of prompts."""

    def __init__(self, tokens: int) -> None:
        self.room = tokens // BLOCK
        self.blocks: OrderedDict[bytes, Known] = OrderedDict()
        self.hits = self.misses = 0

    def find(self, prompt: Sequence[int], key: Hashable) -> Known:
        """What is known of the longest known beginning; never of the whole prompt, whose last token must be read."""
        found: list[Known] = []
        for name in _names(prompt[:-1], key):
            block = self.blocks.get(name)
            if block is None:
                break
            self.blocks.move_to_end(name)
            found.append(block)
        known = BLOCK * len(found)
        self.hits, self.misses = self.hits + known, self.misses + len(prompt) - known
        return [_joined(parts) for parts in zip(*found, strict=True)]

    def missing(self, prompt: Sequence[int], key: Hashable) -> int:
        """Tokens of its whole blocks, if one of these is not known yet; else 0."""
        names = _names(prompt, key) if self.room else []
        return BLOCK * len(names) if any(name not in self.blocks for name in names) else 0

    def keep(self, prompt: Sequence[int], key: Hashable, known: Known) -> None:
        """Remember whole blocks of a prompt from its keys and values [H, tokens, D], as many as fit."""
        for place, name in enumerate(_names(prompt, key)[: self.room]):
            if name not in self.blocks:
                part = slice(place * BLOCK, (place + 1) * BLOCK)
                self.blocks[name] = [(keys[:, part].clone(), values[:, part].clone()) for keys, values in known]
            self.blocks.move_to_end(name)
        while len(self.blocks) > self.room:
            self.blocks.popitem(last=False)


def _names(prompt: Sequence[int], key: Hashable) -> list[bytes]:
    """Of each whole block a digest of everything up to its end, each made from the one before."""
    names: list[bytes] = []
    before = repr(key).encode()
    for end in range(BLOCK, len(prompt) + 1, BLOCK):
        block = np.asarray(prompt[end - BLOCK : end], dtype=np.int64).tobytes()
        before = hashlib.blake2b(before + block, digest_size=32).digest()
        names.append(before)
    return names


def _joined(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    keys, values = zip(*parts, strict=True)
    return torch.cat(keys, dim=1), torch.cat(values, dim=1)
