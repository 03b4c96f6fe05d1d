"""Trials: whether a model reads packed rows as it reads rows alone, and which kernel reads them sooner.

Nothing is believed of a model's masks. When a policy is made, shared and unshared states must agree on a few short
rows, with windows made short enough to show. Models that fail (recurrent and linear attention, positions by distance
without `position_ids`, windows of a kind unknown here) read every response with its own copy of the prompt.

On a GPU, the first rows to be read settle whether FlexAttention takes the place of the boolean mask: it must give the
same states, and sooner.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pluralign.masks import CHUNKED, FULL, LIMITS, SLIDING, Masks, limit
from pluralign.packing import Ints, pack
from pluralign.sharing import Sharing, run, text_config
from pluralign.steering.contract import Steering, reference_coefficients

if TYPE_CHECKING:
    from pluralign.policy import Policy

LINEAR_PER_WIDTH = 4
"""Tokens at which masked attention costs as much as the linear layers, per unit of width: measured on one CPU core,
float32, forward and backward: 4.5 at width 288, 2.5 at width 512."""
_SHORT = 4  # windows while a model is tried
_TOLERANCE = 1e-4  # of the largest state, float32; wrong masks show at 1e-2
_COARSE = 0.03  # the same for states of half precision

Timed = Callable[["Policy", Sharing], tuple[Tensor, float]]
"""A policy and how it shares -> (states, seconds)."""

log = logging.getLogger("pluralign")


def sharing_of(model: Any, steering: Steering, num_changes: int, fused: bool) -> Sharing | None:
    """How the model takes masks, tried out; None, with a log line, for a model that does not."""
    reason = _obstacle(model, fused)
    for sharing in () if reason else _candidates(model):
        reason = _disagreement(model, steering, sharing, num_changes, fused)
        if reason is None:
            return sharing
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
        if name.endswith(("window", "window_size")) and name not in LIMITS.values() and _is_size(value)
    ]
    return f"it has a {unknown[0]}" if unknown else None


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


def _candidates(model: Any) -> Iterator[Sharing]:
    config = text_config(model)
    form = "added" if config._attn_implementation == "eager" else "asked"
    linear = float(LINEAR_PER_WIDTH * model.get_input_embeddings().embedding_dim)
    types = tuple(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if types:
        yield Sharing(Masks(types, True, form), linear)  # type: ignore[arg-type]
    for kind in (SLIDING, FULL) if limit(config, SLIDING) else (FULL,):
        yield Sharing(Masks((kind,), False, form), linear)  # type: ignore[arg-type]


@torch.no_grad()
def _disagreement(model: Any, steering: Steering, sharing: Sharing, num_changes: int, fused: bool) -> str | None:
    """Why the states of short rows are not the same, shared and alone; None where they are."""
    embeddings = model.get_input_embeddings()
    ids, starts, lengths = _trial(model, embeddings.num_embeddings)
    rows = reference_coefficients(len(ids), num_changes).to(embeddings.weight.device)
    together, alone = (pack(ids, starts, lengths, [b""] * len(ids), linear) for linear in (100.0, None))
    was_training = model.training
    model.eval()
    try:
        with _short_windows(text_config(model)):
            found, expected = (
                run(model, steering, sharing, fused, layout, rows).flatten(0, 1).float() for layout in (together, alone)
            )
    except Exception as error:  # whatever a model does with a mask it does not know
        return f"it does not take a mask of ours ({error})"
    finally:
        model.train(was_training)
    read = [(row, column) for row, length in enumerate(lengths) for column in range(length)]
    found, expected = (
        states[[int(layout.places[place]) for place in read]]
        for states, layout in ((found, together), (expected, alone))
    )
    return None if _same(found, expected, embeddings.weight.dtype) else "shared and unshared rows disagree"


def _same(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    tolerance = _TOLERANCE if dtype in (torch.float32, torch.float64) else _COARSE
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def _trial(model: Any, vocabulary: int) -> tuple[Ints, list[int], list[int]]:
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
    before = {name: value for name in LIMITS.values() if _is_size(value := getattr(config, name, None))}
    try:
        for name in before:
            setattr(config, name, _SHORT)
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


# -- the kernel on a GPU ------------------------------------------------------------------------------------------


def settle(policy: Policy) -> None:
    """On a GPU, before the first rows: the faster of the model's attention and FlexAttention reads packed rows."""
    if policy.sharing is not None and not policy.sharing.settled and policy.device.type == "cuda":
        policy.sharing = settled(policy, policy.sharing, long_row)


def settled(policy: Policy, sharing: Sharing, timed: Timed) -> Sharing:
    """The sharing with the faster kernel; what fails, differs or is slower is left."""
    own = replace(sharing, settled=True)
    if own.masks.form != "asked" or not getattr(policy.model, "_supports_flex_attn", False):
        return own
    flex = replace(own, masks=replace(own.masks, form="blocks"))
    try:
        (expected, own_seconds), (found, seconds) = (timed(policy, each) for each in (own, flex))
    except Exception as error:  # compilers fail in ways of their own
        log.info("FlexAttention cannot be used here (%s); attention takes boolean masks", str(error).split("\n")[0])
        return own
    if not _same(found, expected, policy.model.get_input_embeddings().weight.dtype) or seconds >= own_seconds:
        return own
    log.info("FlexAttention reads packed rows in %.0f %% of the time", 100 * seconds / own_seconds)
    return flex


@torch.no_grad()
def long_row(policy: Policy, sharing: Sharing) -> tuple[Tensor, float]:
    """The states of four prompts with four responses each, packed, and the least seconds of three runs."""
    model = policy.model
    limit = int(getattr(model.config, "max_position_embeddings", None) or 448)
    start, length = min(256, max(1, limit // 2)), min(448, limit)
    vocabulary = model.get_input_embeddings().num_embeddings
    ids = np.arange(16 * length).reshape(16, length) % vocabulary
    ids[:, :start] = ids[::4].repeat(4, axis=0)[:, :start]
    layout = pack(ids, [start] * 16, [length] * 16, [b""] * 16, 1e9)
    rows = policy.reference_coefficients(16)
    seconds = []
    for _ in range(4):  # the first one compiles
        began = time.perf_counter()
        states = run(model, policy.steering, sharing, policy.fused, layout, rows).float()
        states.sum().item()  # waits for the device
        seconds.append(time.perf_counter() - began)
    return states, min(seconds[1:])
