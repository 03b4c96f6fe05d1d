"""Gradient checkpointing: activations are computed again in the backward pass instead of being kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from pluralign.errors import ConfigError, ModelError
from pluralign.steering.surgery import checkpoint_gradients, plural_layers

if TYPE_CHECKING:
    from pluralign.training.trainable import Trainable


@contextlib.contextmanager
def recomputing(policy: Trainable, dropout: bool = False) -> Iterator[None]:
    """Gradient checkpointing for as long as the context lasts; the same gradients for less memory and more time.

    `dropout`: whether the model trains with its dropout on. Raises ConfigError where nothing would be recomputed (a
    frozen trunk) or a model's own dropout could not be kept off, ModelError where the model knows no checkpointing.
    """
    if policy.frozen_trunk:
        raise ConfigError(
            "gradient_checkpointing has nothing to recompute: only the head is trained, and the trunk's activations are "
            "not kept anyway; leave it out, or train the trunk too"
        )
    model: Any = policy.model
    state = next((layer.state for layer in plural_layers(model).values()), None)
    try:
        checkpoint_gradients(model, state)
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f"{type(model).__name__} knows no gradient checkpointing: {error}; train without it"
        ) from error
    try:
        if not dropout:
            _check_mode(model)
        yield
    finally:
        (getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable)()


def set_mode(model: torch.nn.Module, training: bool, dropout: bool) -> None:
    """Train or evaluation mode. Without dropout everything stays in evaluation mode, but for the layers that are
    recomputed, which are only while they train."""
    model.train(training and dropout)
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = training  # not its parts: their dropout stays off


@torch.no_grad()
def _check_mode(model: Any) -> None:
    """A layer that drops out by itself, not through a part, cannot be recomputed without dropout."""
    ids = torch.arange(4, device=model.get_input_embeddings().weight.device)[None]
    ids = ids % model.get_input_embeddings().num_embeddings
    logits = []
    for training in (True, False):
        set_mode(model, training, dropout=False)
        logits.append(model(input_ids=ids, use_cache=False).logits.float())
    if not torch.allclose(logits[0], logits[1], atol=1e-3, rtol=1e-3):
        raise ConfigError(
            f"the layers of {type(model).__name__} drop out by themselves when they are recomputed; set its dropout to 0 "
            "in config.json, or leave gradient_checkpointing out"
        )
