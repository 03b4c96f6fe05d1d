"""Whether a policy can leave as GGUF, asked before anything is written."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from pluralign.errors import ConfigError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from pluralign.policy import Policy

GgufKind = Literal["none", "f32", "f16"]
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}
"""our model types -> GGUF's; what is written for each is exact"""


def check_gguf(policy: Policy, kind: GgufKind, *, words: bool = True) -> None:
    """Raise at once what writing GGUF would raise later: MissingExtraError, ModelError, ConfigError.

    `words`: whether the tokenizer goes along, as it does with a model and not with an adapter.
    """
    if kind not in ("none", "f32", "f16"):
        raise ConfigError(f"gguf is none, f32 or f16, got {kind!r}")
    if kind == "none":
        return
    if find_spec("gguf") is None:
        raise MissingExtraError("GGUF files need gguf; pip install 'pluralign[gguf]'")
    check_architecture(policy.model.config)
    if words:
        from pluralign.export.gguf_tokens import vocabulary

        vocabulary(policy.encoder, policy.model.get_input_embeddings().num_embeddings)


def check_architecture(config: Any) -> None:
    """ModelError for models whose GGUF form is not known here to be exact, with what stands in the way."""
    kind = config.model_type
    if kind not in ARCHITECTURES:
        _refuse(f"its architecture is {kind!r}, written are {', '.join(ARCHITECTURES)}")
    if config.hidden_act != "silu":
        _refuse(f"its activation is {config.hidden_act!r}, and GGUF's {ARCHITECTURES[kind]} has silu")
    if _slides(config):
        _refuse("its attention slides over a window")
    rope = (config.rope_parameters or {}).get("rope_type", "default")
    if rope not in ("default", *(("linear", "llama3") if ARCHITECTURES[kind] == "llama" else ())):
        _refuse(f"its rotary positions are scaled in the way {rope!r}")
    if (config.rope_parameters or {}).get("partial_rotary_factor", 1.0) != 1.0:
        _refuse("its rotary positions turn only a part of each head")


def _slides(config: Any) -> bool:
    if hasattr(config, "use_sliding_window"):
        return bool(config.use_sliding_window)
    return getattr(config, "sliding_window", None) is not None


def _refuse(reason: str) -> None:
    raise ModelError(
        f"this model has no exact GGUF form here: {reason}. Export without gguf and try llama.cpp's own converter on it"
    )
