"""The least arithmetic that a step needs, and how fast this machine multiplies matrices.

Counted are products of matrices, two operations per multiplication; elementwise work, LoRA's own (below 3 %) and the
optimiser are left out. The trunk's weights are frozen: forward and the gradient of the inputs cost 2 each per weight
and token. Attention reads what stands before it: 4 d operations forward and 8 d backward for each of these pairs of tokens.

    trunk      4 · (weights of all layers) · tokens  +  12 · d · layers · pairs of tokens
    plain head 4 · d · V · response tokens              (logits, gradient of the hidden states)
    full       6 · d · V · min(m, L) · response tokens  (besides: gradient of the weights; m active heads, L weights)
    low rank   4 · d · V + 6 · m · r · V, times response tokens
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pluralign.bench.models import Shape
from pluralign.bench.timing import Clock

if TYPE_CHECKING:
    from pluralign.data.group import Group


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of a step. With a shared prefix a prompt counts once, otherwise once per reply; `pairs`: of attention."""

    tokens: int
    response_tokens: int
    pairs: int


@dataclass(frozen=True, slots=True)
class HeadWork:
    """What the head does: `active` heads m, `weights` vectors L, `rank` (None: full); no active head is a plain one."""

    active: int = 0
    weights: int = 1
    rank: int | None = None


def work(groups: Sequence[Group], encoder: Any, shared: bool) -> Work:
    """The tokens of groups; each response costs the prompt again unless the prefix is shared."""
    tokens = answers = pairs = 0
    for group in groups:
        encoded = [encoder.pair(group.messages, text) for text in group.responses]
        prompt = len(encoded[0][0])
        lengths = [len(answer) for _, answer in encoded]
        reads = 1 if shared else len(lengths)
        tokens += reads * prompt + sum(lengths)
        answers += sum(lengths)
        pairs += reads * prompt * (prompt + 1) // 2
        pairs += sum(length * prompt + length * (length + 1) // 2 for length in lengths)
    return Work(tokens, answers, pairs)


def least_flops(shape: Shape, done: Work, head: HeadWork) -> float:
    """Floating-point operations of one training step, as the module's text counts them."""
    trunk = 4.0 * shape.layers * shape.layer_parameters * done.tokens + 12.0 * shape.width * shape.layers * done.pairs
    matrix = float(shape.width * shape.vocabulary)
    if not head.active:
        return trunk + 4 * matrix * done.response_tokens
    if head.rank is None:
        return trunk + 6 * matrix * min(head.active, head.weights) * done.response_tokens
    low = 6.0 * head.active * head.rank * shape.vocabulary
    return trunk + (4 * matrix + low) * done.response_tokens


def peak(shape: Shape, device: str, dtype: str = "float32", repeats: int = 5) -> float:
    """Operations per second of the fastest matrix product of a few sizes, the head's among them, and back-ends."""
    import torch

    kind, clock = getattr(torch, dtype), Clock("cpu" if device == "cpu" else "cuda")
    best = 0.0
    for rows, inner, columns in ((1024, 1024, 1024), (2048, 2048, 2048), (768, shape.width, shape.vocabulary)):
        left = torch.randn(rows, inner, device=device, dtype=kind)
        right = torch.randn(columns, inner, device=device, dtype=kind)
        out = torch.empty(rows, columns, device=device, dtype=kind)
        products: list[Callable[[], object]] = [partial(torch.mm, left, right.t(), out=out)]
        if device == "cpu" and torch.backends.mkldnn.is_available():
            products.append(partial(onednn, left, right))
        for product in products:
            product()
            seconds = statistics.median(clock(product) for _ in range(repeats))
            best = max(best, 2.0 * rows * inner * columns / seconds)
    return best


def onednn(left: Any, right: Any) -> Any:
    """left [N, d] times right [V, d] transposed, by oneDNN."""
    import torch

    return torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
