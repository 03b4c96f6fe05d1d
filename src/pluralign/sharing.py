"""Shared prefixes: the trunk over packed rows, its masks in the form that a model takes, and the proof that they hold.

A mask is built from what stands in a `packing.Layout`: a token sees the tokens of its own prompt and its own branch
that do not come after it. Windows and chunks count by positions, not by places in the packed row. Scaled dot-product
attention takes it as booleans; the eager attention of transformers adds its mask, and would add booleans as 0 and 1, so
it gets 0 and the smallest number. A model whose layers differ (Gemma, Qwen, Olmo) takes one mask per type of layer.

Whether a model takes its masks so is not believed but tried, when a policy is made: shared and unshared states must
agree on a few short rows, with windows made short enough to show. Models that fail (recurrent and linear attention,
positions by distance without `position_ids`, windows of a kind unknown here) read their rows unshared.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.packing import Layout, pack
from pluralign.steering.contract import Steering, reference_coefficients

if TYPE_CHECKING:
    from pluralign.policy import Policy

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
LINEAR_PER_WIDTH = 4
"""Tokens at which masked attention costs as much as the linear layers, per unit of width: measured on one CPU core,
float32, forward and backward: 4.5 at width 288, 2.5 at width 512."""
_LIMITS = {SLIDING: "sliding_window", CHUNKED: "attention_chunk_size"}
_SHORT = 4  # windows while a model is tried
_TOLERANCE = 1e-4  # of the largest state, float32; wrong masks show at 1e-2
_COARSE = 0.03  # the same for states of half precision

log = logging.getLogger("pluralign")


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a model takes masks: `kinds` of attention its layers have, whether masks go by kind in a dict (`named`),
    are added instead of asked (`added`); `linear` of `packing.pack`."""

    kinds: tuple[str, ...]
    named: bool
    added: bool
    linear: float

    def masks(self, layout: Layout, config: Any, like: Tensor) -> Tensor | dict[str, Tensor]:
        """The layout's masks [B, 1, T, T], on the device and (where added) of the dtype of `like`."""
        made = {kind: self._mask(layout, _limit(config, kind), kind, like) for kind in self.kinds}
        return made if self.named else made[self.kinds[0]]

    def _mask(self, layout: Layout, limit: int | None, kind: str, like: Tensor) -> Tensor:
        seen = visible(layout, kind, limit, like.device)[:, None]
        if not self.added:
            return seen
        return torch.zeros_like(seen, dtype=like.dtype).masked_fill_(~seen, torch.finfo(like.dtype).min)


def visible(layout: Layout, kind: str, limit: int | None, device: torch.device) -> Tensor:
    """Which tokens [B, T, T] (query, key) see which; padding sees padding, so that no row of attention is empty."""
    prompt, branch, position = (
        torch.from_numpy(array).to(device) for array in (layout.prompt, layout.branch, layout.positions)
    )
    query, key = position[:, :, None], position[:, None, :]
    seen = (prompt[:, :, None] == prompt[:, None, :]) & (key <= query)
    seen &= (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    if limit is not None and kind == SLIDING:
        seen &= key > query - limit
    elif limit is not None and kind == CHUNKED:
        seen &= key // limit == query // limit
    return seen


def _limit(config: Any, kind: str) -> int | None:
    return getattr(config, _LIMITS[kind], None) if kind in _LIMITS else None


def read(
    policy: Policy,
    input_ids: Int[Tensor, "R T"],
    targets_mask: Bool[Tensor, "R T"],
    coefficients: Float[Tensor, "R C"],
) -> Float[Tensor, "N d"]:
    """Last hidden states at the N positions that predict a token of targets_mask, row after row (differentiable).

    input_ids right-padded; row r is read under coefficients[r]. Of a model whose head is not known (`policy.fused`
    false), its logits [N, V] instead.
    """
    layout = layout_of(policy, input_ids, targets_mask, coefficients)
    states = _run(policy.model, policy.steering, policy.sharing, policy.fused, layout, coefficients)
    rows, columns = targets_mask[:, 1:].nonzero(as_tuple=True)
    places = torch.from_numpy(layout.places).to(rows.device)[rows, columns]
    return states.flatten(0, 1)[places]


def _run(
    model: Any, steering: Steering, sharing: Sharing | None, fused: bool, layout: Layout, coefficients: Tensor
) -> Tensor:
    device = coefficients.device
    inputs: dict[str, Any] = {"input_ids": torch.from_numpy(layout.ids).to(device), "use_cache": False}
    if layout.shared:
        assert sharing is not None, "only a model that takes masks is given shared rows"
        inputs["attention_mask"] = sharing.masks(layout, text_config(model), model.get_input_embeddings().weight)
        inputs["position_ids"] = torch.from_numpy(layout.positions).to(device)
    columns = steering.trunk_columns() if fused else list(range(coefficients.shape[1]))
    with steering.steered(model, *_owned(layout, coefficients, columns)):
        if fused:
            return model.get_decoder()(**inputs).last_hidden_state
        return model(**inputs).logits


def _owned(layout: Layout, coefficients: Tensor, columns: list[int]) -> tuple[Tensor, Tensor | None]:
    """(coefficients, index): one row for all where that is enough, one per packed row, or one per token."""
    deciding = coefficients[:, columns]
    if bool((deciding == deciding[:1]).all()):
        return coefficients[:1], None
    owner = torch.from_numpy(layout.owner).to(coefficients.device)
    return (coefficients, owner) if layout.shared else (coefficients[owner[:, 0]], None)


def layout_of(policy: Policy, input_ids: Tensor, targets_mask: Tensor, coefficients: Tensor) -> Layout:
    """The layout of right-padded rows input_ids [R, T] whose response tokens are targets_mask [R, T]; coefficients
    [R, C]. The last token of a response is read by nobody, so it is left out."""
    ids, mask = input_ids.cpu().numpy(), targets_mask.cpu().numpy()
    ends = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    lengths = np.where(mask.any(1), np.maximum(ends, 1), 1)
    starts = np.minimum(mask.argmax(1), lengths)
    columns = policy.steering.trunk_columns() if policy.fused else list(range(coefficients.shape[1]))
    deciding = coefficients[:, columns].cpu().numpy()
    keys = [row.tobytes() for row in deciding]
    linear = None if policy.sharing is None else policy.sharing.linear
    return pack(ids, starts.tolist(), lengths.tolist(), keys, linear)


# -- whether a model takes masks ----------------------------------------------------------------------------------


def text_config(model: Any) -> Any:
    """The configuration of the decoder (that of the text, in models that also see)."""
    return model.config.get_text_config(decoder=True)


def sharing_of(model: Any, steering: Steering, num_objectives: int, fused: bool) -> Sharing | None:
    """How the model takes masks, tried out; None, with a log line, for a model that does not."""
    reason = _obstacle(model, fused)
    if reason is None:
        for sharing in _candidates(model):
            if _agrees(model, steering, sharing, num_objectives, fused):
                return sharing
        reason = "shared and unshared rows disagree"
    log.warning("%s reads every response with its own copy of the prompt: %s", _name(model), reason)
    return None


def _name(model: Any) -> str:
    return next(kind.__name__ for kind in type(model).__mro__ if not kind.__module__.startswith("pluralign"))


def _obstacle(model: Any, fused: bool) -> str | None:
    """Why the model cannot share prefixes, where its configuration says so."""
    config = text_config(model)
    reader = model.get_decoder() if fused else model
    if not {"attention_mask", "position_ids"} <= set(inspect.signature(reader.forward).parameters):
        return "it takes no position_ids"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"its attention, {config._attn_implementation}, takes no mask of ours"
    others = sorted(set(getattr(config, "layer_types", None) or ()) - {FULL, SLIDING, CHUNKED})
    if others:
        return f"it has layers of {', '.join(others)}"
    unknown = [
        name
        for name, value in config.to_dict().items()
        if name.endswith(("window", "window_size")) and name not in _LIMITS.values() and _is_size(value)
    ]
    return f"it has a {unknown[0]}" if unknown else None


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


def _candidates(model: Any) -> Iterator[Sharing]:
    config = text_config(model)
    added = config._attn_implementation == "eager"
    linear = float(LINEAR_PER_WIDTH * model.get_input_embeddings().embedding_dim)
    types = tuple(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if types:
        yield Sharing(types, True, added, linear)
    if _limit(config, SLIDING):
        yield Sharing((SLIDING,), False, added, linear)
    yield Sharing((FULL,), False, added, linear)


@torch.no_grad()
def _agrees(model: Any, steering: Steering, sharing: Sharing, num_objectives: int, fused: bool) -> bool:
    """Whether the states of short rows are the same, shared and alone."""
    embeddings = model.get_input_embeddings()
    ids, starts, lengths = _trial(model, embeddings.num_embeddings)
    rows = reference_coefficients(len(ids), num_objectives).to(embeddings.weight.device)
    together, alone = (pack(ids, starts, lengths, [b""] * len(ids), linear) for linear in (100.0, None))
    was_training = model.training
    model.eval()
    try:
        with _short_windows(text_config(model)):
            found, expected = (
                _run(model, steering, sharing, fused, layout, rows).flatten(0, 1).float()
                for layout in (together, alone)
            )
    except Exception as error:  # whatever a model does with a mask it does not know
        log.debug("%s does not take %s: %s", _name(model), sharing, error)
        return False
    finally:
        model.train(was_training)
    read = [(row, column) for row, length in enumerate(lengths) for column in range(length)]
    found, expected = (
        states[[int(layout.places[place]) for place in read]]
        for states, layout in ((found, together), (expected, alone))
    )
    tolerance = _TOLERANCE if embeddings.weight.dtype in (torch.float32, torch.float64) else _COARSE
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def _trial(model: Any, vocabulary: int) -> tuple[np.ndarray, list[int], list[int]]:
    """(ids, starts, lengths) of five rows on three prompts, of at most 16 tokens or as many as the model reads."""
    width = min(16, int(getattr(model.config, "max_position_embeddings", None) or 16))
    starts = [max(1, width * share // 16) for share in (8, 8, 6, 6, 4)]
    lengths = [max(1, width * share // 16) for share in (16, 13, 13, 7, 7)]
    ids = np.arange(1, 5 * width + 1).reshape(5, width) % vocabulary
    ids[1, : starts[1]], ids[3, : starts[3]] = ids[0, : starts[0]], ids[2, : starts[2]]
    return ids, starts, lengths


@contextlib.contextmanager
def _short_windows(config: Any) -> Iterator[None]:
    """Windows and chunks of a few tokens, so that a mask that forgets them is found out."""
    before = {name: value for name in _LIMITS.values() if _is_size(value := getattr(config, name, None))}
    try:
        for name in before:
            setattr(config, name, _SHORT)
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)
